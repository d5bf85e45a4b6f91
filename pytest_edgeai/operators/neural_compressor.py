"""Intel Neural Compressor 3.7.1 beside current torch and onnx: every shim it needs, with the upstream reason.

3.7.1 is the last release with quantization-aware training, pruning, distillation and quantization of ONNX graphs.
Nothing else in this package imports it.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.operators import BuildError
from pytest_edgeai.serving.protocol import Array

LIBRARY = "neural-compressor"
# What decides its results besides itself: it runs calibration in ONNX Runtime and rewrites graphs with onnx.
LIBRARIES = (LIBRARY, "onnx", "onnxruntime", "numpy")


class UnavailableError(BuildError):
    """Neural Compressor cannot be imported; says which extra to install."""


@contextlib.contextmanager
def imported(workspace: Path) -> Iterator[types.ModuleType]:
    """The package, with its side effects on this process undone afterwards.

    Parameters
    ----------
    workspace
        Where it may write its snapshots; it would use `./nc_workspace` (no way to turn that off).

    Raises
    ------
    UnavailableError
        It is not installed, or does not work beside what is.
    """
    _restore_onnx_mapping()
    try:
        package = importlib.import_module("neural_compressor")
    except ImportError as error:
        raise UnavailableError(
            f"Intel Neural Compressor cannot be imported ({error}): install pytest-edgeai[operators]"
        ) from None
    package.set_workspace(f"{workspace}/")
    # It seeds `random` and numpy's global generator with 1978 whenever a configuration is made.
    states = random.getstate(), np.random.get_state()
    try:
        yield package
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def quantize_static(
    graph: Path,
    batches: Sequence[Mapping[str, Array]],
    workspace: Path,
    operator_types: Sequence[str] | None = None,
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


def _restore_onnx_mapping() -> None:
    """Bring back `onnx.mapping`, which it reads at import and which onnx removed in 1.19."""
    import onnx

    if hasattr(onnx, "mapping"):
        return
    to_numpy: dict[int, np.dtype[Any]] = {}
    for number in onnx.TensorProto.DataType.values():
        with contextlib.suppress(KeyError, TypeError, ValueError):  # UNDEFINED has no numpy type
            to_numpy[number] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    from_numpy = {dtype: number for number, dtype in reversed(to_numpy.items())}
    onnx.mapping = types.SimpleNamespace(  # type: ignore[attr-defined]  # that it is missing is the point
        TENSOR_TYPE_TO_NP_TYPE=to_numpy, NP_TYPE_TO_TENSOR_TYPE=from_numpy
    )
