"""Whether an exported graph can be trusted with a measurement: valid, finite, not constant, alike at any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pytest_edgeai.operators import BuildError, Job
from pytest_edgeai.serving.protocol import Array
from pytest_edgeai.serving.repository import GRAPH_NAME

_SAMPLES = 8
# Kernels are chosen by shape, so sums are added up in another order: a few units in the last place a layer.
_BATCH_TOLERANCE = 1e-3


def verify(job: Job) -> None:
    """Check the graph in a job's folder on calibration samples.

    Raises
    ------
    BuildError
        The graph is broken; says in which way.
    """
    import onnx
    import onnxruntime

    path = job.folder / GRAPH_NAME
    if not path.is_file():
        raise BuildError(f"the operator wrote no {GRAPH_NAME}")
    try:
        onnx.checker.check_model(str(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # the checkers have no common class
        raise BuildError(f"the graph is not valid ONNX: {error}") from None
    numbers = range(min(_SAMPLES, len(job.calibration)))
    whole = _run(session, job, list(numbers))
    if not np.isfinite(whole).all():
        raise BuildError("the graph returns NaN or infinity on calibration samples: it has collapsed")
    if len(numbers) > 1 and np.ptp(whole, axis=0).max() == 0:
        raise BuildError(f"the graph returns the same for {len(numbers)} different samples: it has collapsed")
    single = np.concatenate([_run(session, job, [number]) for number in numbers])
    difference = float(np.abs(whole - single).max() / max(1.0, float(np.abs(whole).max())))
    if difference > _BATCH_TOLERANCE:
        raise BuildError(
            f"the graph's outputs differ by {difference:.2g} of their size between batch 1 and batch {len(numbers)}"
        )


def _run(session: object, job: Job, numbers: list[int]) -> Array:
    feeds = job.feeds(job.calibration, numbers)
    output: Array = session.run(None, feeds)[0]  # type: ignore[attr-defined]  # ONNX Runtime has no types
    return output


def graph_size(path: Path) -> dict[str, int]:
    """Parameters of a graph and how many of them are not zero, counted from its initializers."""
    import onnx
    from onnx import numpy_helper

    parameters = nonzero = 0
    for tensor in onnx.load(path).graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size > 1 and array.dtype != np.int64:  # shapes, axes and indices are int64 and nobody trained them
            parameters += array.size
            nonzero += int(np.count_nonzero(array))
    return {"parameters": parameters, "nonzero_parameters": nonzero}
