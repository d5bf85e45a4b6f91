"""Static quantization of ONNX graphs by Neural Compressor."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.operators import BuildError
from pytest_edgeai.operators.neural_compressor import imported


def quantize_static(
    graph: Path,
    batches: Sequence[Mapping[str, Array]],
    workspace: Path,
    operator_types: Sequence[str] | None = None,
    *,
    reduce_range: bool,
) -> Any:
    """Post-training static quantization of an ONNX graph to int8, as QuantizeLinear/DequantizeLinear pairs.

    Parameters
    ----------
    graph
        The float graph.
    batches
        Calibration batches, of equal size, by graph input in the graph's order.
    workspace
        See `imported`.
    operator_types
        The ONNX operators to quantize, or None for all that Neural Compressor knows.
    reduce_range
        Whether weights take 7 bits; left out, it would be decided by the processor of this host.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    BuildError
        It failed.
    """
    import onnx

    model = onnx.load(graph)
    # Its shape inference runs over the graph again and takes what the dynamo exporter wrote for a contradiction.
    del model.graph.value_info[:]
    size = len(next(iter(batches[0].values())))
    with imported(workspace) as package, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # it deprecates its own parts, to which there is no other way
        settings = package.PostTrainingQuantConfig(
            approach="static",
            calibration_sampling_size=[size * len(batches)],
            quant_format="QDQ",
            reduce_range=reduce_range,
            # Beyond BASIC, ONNX Runtime writes operators of its own into the graph, which then is no ONNX any more.
            recipes={"graph_optimization_level": "ENABLE_BASIC"},
            op_type_dict=None if operator_types is None else _only(operator_types, model),
        )
        quantization = importlib.import_module("neural_compressor.quantization")
        quantized = quantization.fit(model=model, conf=settings, calib_dataloader=_Loader(batches, size))
    if quantized is None:  # it logs what went wrong, and returns None
        raise BuildError("Intel Neural Compressor could not quantize the graph; its log is in the build log")
    return quantized.model


class _Loader:
    """Batches in the form that Neural Compressor iterates over: (inputs, labels), and `batch_size`."""

    def __init__(self, batches: Sequence[Mapping[str, Array]], batch_size: int) -> None:
        self.batch_size = batch_size
        self._batches = batches

    def __iter__(self) -> Iterator[tuple[Array | tuple[Array, ...], Array]]:
        for batch in self._batches:
            arrays = tuple(batch.values())
            yield (arrays[0] if len(arrays) == 1 else arrays), np.zeros(self.batch_size)


def _only(operator_types: Sequence[str], model: Any) -> dict[str, Any]:
    keep_float = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}
    present = {node.op_type for node in model.graph.node}
    return dict.fromkeys(sorted(present - set(operator_types)), keep_float)
