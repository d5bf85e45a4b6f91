"""Intel Neural Compressor 3.7.1 beside current torch and onnx: every shim it needs, with the upstream reason.

3.7.1 is the last release with quantization-aware training, pruning, distillation and quantization of ONNX graphs.
Nothing outside this package imports it.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.operators import BuildError
from pytest_edgeai.operators.extras import installing

LIBRARY = "neural-compressor"
# What decides its results besides itself: it runs calibration in ONNX Runtime and rewrites graphs with onnx.
LIBRARIES = (LIBRARY, "onnx", "onnxruntime", "numpy")
SOURCES = Path(__file__).parent


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
            f"Intel Neural Compressor cannot be imported ({error}): {installing('neural_compressor')}"
        ) from None
    package.set_workspace(f"{workspace}/")
    # It seeds `random` and numpy's global generator with 1978 whenever a configuration is made.
    states = random.getstate(), np.random.get_state()
    try:
        yield package
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


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
