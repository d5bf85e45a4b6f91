"""Whether an artifact can be trusted with a measurement: valid, finite, not constant, alike at any batch, no guesses.

And what is in its graph, counted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.operators import BuildError, Job
from pytest_edgeai.operators.macs import COUNTED, multiply_accumulates, observe_shapes
from pytest_edgeai.serving.repository import GRAPH_NAME

_SAMPLES = 8
_UNLIKELY = 0.01
# What may lie between a stored weight and the node that takes it.
_WEIGHT_STEPS = ("DequantizeLinear", "Transpose", "Identity")
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
    # Answers of random weights hardly differ, and not at all in int8: nobody takes them for accurate.
    if len(numbers) > 1 and not job.subject.unmeasured and np.ptp(whole, axis=0).max() == 0:
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


def graph_size(job: Job) -> dict[str, int | float]:
    """What there is in the graph in a job's folder, counted.

    Returns
    -------
    dict
        `parameters` and `nonzero_parameters` of all initializers; `sparsity`, the share of zeros among the weights of
        convolutions and matrix products; `macs`, the multiply-accumulates of one sample.
    """
    import onnx
    from onnx import numpy_helper

    path = job.folder / GRAPH_NAME
    model = onnx.load(path)
    parameters = nonzero = 0
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size > 1 and array.dtype != np.int64:  # shapes, axes and indices are int64 and nobody trained them
            parameters += array.size
            nonzero += int(np.count_nonzero(array))
    weights, zeros = weight_counts(path)
    return {
        "parameters": parameters,
        "nonzero_parameters": nonzero,
        "sparsity": zeros / weights if weights else 0.0,
        "macs": multiply_accumulates(model, observe_shapes(model, job.feeds(job.calibration, [0]))),
    }


def weight_counts(path: Path) -> tuple[int, int]:
    """Weights of a graph's convolutions and matrix products, and how many of them are zero.

    Parameters
    ----------
    path
        Of a float graph, or an int8 one of QuantizeLinear/DequantizeLinear pairs.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    weights = zeros = 0
    counted = set()
    for node in graph.node:
        for name in node.input[:2] if node.op_type in COUNTED else ():
            while name not in initializers and name in makers and makers[name].op_type in _WEIGHT_STEPS:
                name = makers[name].input[0]  # back to where it is stored
            if name in initializers and name not in counted:
                counted.add(name)
                array = numpy_helper.to_array(initializers[name])
                weights, zeros = weights + array.size, zeros + array.size - int(np.count_nonzero(array))
    return weights, zeros


def refuse_guessing(evaluation: Evaluation) -> None:
    """Refuse an artifact that has collapsed: its answers are no numbers, or no better than guesses.

    A guess is the most frequent class. As many right answers or more as those of the artifact have to be unlikely
    (below 1 %) where every answer is a guess: a binomial test.

    Raises
    ------
    BuildError
        Says how many answers are right.
    """
    from scipy.stats import binom

    if not np.isfinite(evaluation.scores).all():
        raise BuildError("the artifact returns NaN or infinity on validation samples: it has collapsed")
    count = len(evaluation.truth)
    right = int(np.sum(evaluation.ranked[:, 0] == evaluation.truth))
    chance = float(np.bincount(evaluation.truth).max() / count)
    if binom.sf(right - 1, count, chance) >= _UNLIKELY:
        raise BuildError(
            f"{right} of {count} validation samples are answered rightly, no better than always guessing the most "
            f"frequent class ({chance:.1%}): the artifact has collapsed"
        )
