"""ONNX files of other people's making: the files that belong to one, its inputs, and whether its batch can change.

A file is parsed once, and again after it has changed: every operator of a session asks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_edgeai.errors import EdgeAIError

if TYPE_CHECKING:
    import onnx


class GraphError(EdgeAIError, ValueError):
    """A file that is not an ONNX graph, or lacks its weights; names the file."""


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """What a graph takes.

    Parameters
    ----------
    shapes
        By name, in order; None is a dimension of any size.
    """

    shapes: Mapping[str, tuple[int | None, ...]]

    @property
    def has_batch(self) -> bool:
        """Whether several examples can be put into one run: dimension 0 of every input may have any size."""
        return bool(self.shapes) and all(shape and shape[0] is None for shape in self.shapes.values())


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is asked about a file again and again: its inputs, the files of its weights by name, its operator set."""

    inputs: GraphInputs
    weights: tuple[str, ...]
    opset: int


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without its external weights.

    Raises
    ------
    GraphError
        It is not one.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # noqa: BLE001  # protobuf's errors have no common class
        raise GraphError(f"{path} is not an ONNX file: {' '.join(str(error).split())[:200]}") from None
    if not model.graph.output:
        raise GraphError(f"{path} is not an ONNX file with a graph that has outputs")
    return model


def inputs_of(path: Path) -> GraphInputs:
    """What the graph in a file takes; initializers that are listed as inputs are not.

    Raises
    ------
    GraphError
        It is not an ONNX file.
    """
    return _facts(path).inputs


def opset_of(path: Path) -> int:
    """The version of the ONNX operator set that a file uses.

    Raises
    ------
    GraphError
        It is not an ONNX file.
    """
    return _facts(path).opset


def fed(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a run has to give: initializers may be listed as inputs, too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [one for one in graph.input if one.name not in weights]


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX file that hold its weights; none where they are in it.

    Raises
    ------
    GraphError
        It is not an ONNX file, or such a file is missing or elsewhere than beside it.
    """
    names = _facts(path).weights
    for name in names:
        if Path(name).name != name or not (path.parent / name).is_file():
            raise GraphError(f"{path} has weights in the file {name!r}, which is not beside it")
    return tuple(path.parent / name for name in names)


def copy_graph(path: Path, target: Path) -> None:
    """Copy an ONNX file: byte for byte, unless its weights are in other files, which become one beside the copy.

    Raises
    ------
    GraphError
        It is not an ONNX file, or lacks weights.
    """
    import shutil

    import onnx

    if not weight_files(path):
        shutil.copyfile(path, target)
        return
    model = onnx.load(path)
    onnx.save(model, target, save_as_external_data=True, all_tensors_to_one_file=True, location=f"{target.name}.data")


def _facts(path: Path) -> _Facts:
    try:
        found = path.stat()
    except OSError:
        return _parsed(path, ())  # reading it says what is wrong
    return _parsed(path, (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))


@functools.lru_cache(maxsize=64)
def _parsed(path: Path, version: tuple[int, ...]) -> _Facts:  # noqa: ARG001  # a file that changed is parsed again
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    model = read_graph(path)
    graph = model.graph
    inputs = {one.name: tuple(_size(dimension) for dimension in one.type.tensor_type.shape.dim) for one in fed(graph)}
    tensors = [*graph.initializer, *(one.t for node in graph.node for one in node.attribute if one.HasField("t"))]
    weights = dict.fromkeys(ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor))
    opsets = {one.domain: one.version for one in model.opset_import}
    return _Facts(GraphInputs(inputs), tuple(weights), opsets.get("", opsets.get("ai.onnx", 1)))


def _size(dimension: Any) -> int | None:
    return dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value > 0 else None
