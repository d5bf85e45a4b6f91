"""Whether an artifact can be trusted with a measurement: valid, finite, not constant, alike at any batch, no guesses.

And what is in its graph, counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.operators import BuildError, Job
from pytest_edgeai.operators.macs import COUNTED, multiply_accumulates, observe_shapes
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.subjects.predictions import References, integers

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
    try:
        singles = [_run(session, job, [number]) for number in numbers]
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's own classes
        raise BuildError(f"the graph cannot run on calibration examples: {_one_line(error)}") from None
    for outputs in singles:
        if not all(np.isfinite(output).all() for output in outputs.values() if output.dtype.kind == "f"):
            raise BuildError("the graph returns NaN or infinity on calibration samples: it has collapsed")
    # Answers of random weights hardly differ, and not at all in int8: nobody takes them for accurate.
    if len(numbers) > 1 and not job.subject.unmeasured and all(_same(singles[0], one) for one in singles[1:]):
        raise BuildError(f"the graph returns the same for {len(numbers)} different samples: it has collapsed")
    if job.has_batch and _are_alike([job.feeds(job.calibration, [number]) for number in numbers]):
        _check_batch(_run(session, job, list(numbers)), singles)


def _check_batch(whole: Mapping[str, Array], singles: Sequence[Mapping[str, Array]]) -> None:
    """A batch has the outputs of its examples."""
    for name, together in whole.items():
        if together.dtype.kind != "f":
            continue
        apart = [one[name] for one in singles]
        if not _are_alike([{name: one} for one in apart]) or together.shape != (len(apart), *apart[0].shape[1:]):
            raise BuildError(
                f"the graph's output {name!r} has shape {list(together.shape)} for a batch of {len(apart)} and "
                f"{list(apart[0].shape)} for one example: its first dimension is not the batch. Give the graph's "
                "inputs a fixed first dimension, and requests of one example are all that is sent"
            )
        difference = float(np.abs(together - np.concatenate(apart)).max(initial=0))
        difference /= max(1.0, float(np.abs(together).max(initial=0)))
        if difference > _BATCH_TOLERANCE:
            raise BuildError(
                f"the graph's outputs differ by {difference:.2g} of their size between batch 1 and batch {len(apart)}"
            )


def _run(session: Any, job: Job, numbers: list[int]) -> dict[str, Array]:
    feeds = job.feeds(job.calibration, numbers)
    names = [one.name for one in session.get_outputs()]
    wanted = [one.name for one in session.get_inputs()]
    return dict(zip(names, session.run(names, {name: feeds[name] for name in wanted}), strict=True))


def _same(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def _are_alike(rows: Sequence[Mapping[str, Array]]) -> bool:
    """Whether tensors of one example each make a batch."""
    return len({tuple((name, array.shape) for name, array in row.items()) for row in rows}) == 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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


def refuse_collapse(evaluation: Evaluation, references: References) -> None:
    """Refuse an artifact that has collapsed: its answers are no numbers, all the same, or no better than guesses.

    Guessing is defined for a classifier: a guess is the most frequent class. As many right answers or more as those of
    the artifact have to be unlikely (below 1 %) where every answer is a guess: a binomial test.

    Parameters
    ----------
    evaluation
        Of the artifact.
    references
        Of the validation examples.

    Raises
    ------
    BuildError
        Says in which way.
    """
    predictions = evaluation.predictions
    floats = [
        np.asarray(row)
        for output in predictions.outputs.values()
        for row in output
        if np.asarray(row).dtype.kind == "f"
    ]
    if not all(np.isfinite(row).all() for row in floats):
        raise BuildError("the artifact returns NaN or infinity on validation samples: it has collapsed")
    truth = integers(references)
    if predictions.has_classes and truth is not None:
        _refuse_guessing(predictions.ranked, truth)
        return
    rows = list(zip(*predictions.outputs.values(), strict=True))
    if len(rows) > 1 and all(all(map(np.array_equal, row, rows[0])) for row in rows[1:]):
        raise BuildError(f"the artifact returns the same for all {len(rows)} validation samples: it has collapsed")


def _refuse_guessing(ranked: Array, truth: Array) -> None:
    from scipy.special import bdtrc  # scipy.stats takes a second to import, which every process that builds would pay

    count = len(truth)
    right = int(np.sum(ranked[:, 0] == truth))
    chance = float(np.unique(truth, return_counts=True)[1].max() / count)
    if bdtrc(right - 1, count, chance) >= _UNLIKELY:
        raise BuildError(
            f"{right} of {count} validation samples are answered rightly, no better than always guessing the most "
            f"frequent class ({chance:.1%}): the artifact has collapsed"
        )
