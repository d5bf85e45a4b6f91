"""The configuration that Triton Inference Server reads beside a model: `config.pbtxt`, from the graph's own tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_edgeai.serving.extensions import PLATFORM
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.subjects.graphs import GraphError, fed, read_graph

FILE_NAME = "config.pbtxt"

_TYPES = {
    "BOOL": "TYPE_BOOL",
    "UINT8": "TYPE_UINT8",
    "UINT16": "TYPE_UINT16",
    "UINT32": "TYPE_UINT32",
    "UINT64": "TYPE_UINT64",
    "INT8": "TYPE_INT8",
    "INT16": "TYPE_INT16",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
    "FLOAT16": "TYPE_FP16",
    "FLOAT": "TYPE_FP32",
    "DOUBLE": "TYPE_FP64",
    "BFLOAT16": "TYPE_BF16",
    "STRING": "TYPE_STRING",
}


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output of a graph by Triton's words; -1 is a dimension of any size."""

    name: str
    data_type: str
    dims: tuple[int, ...]

    @property
    def has_batch(self) -> bool:
        """Whether dimension 0 has any size, and others follow it: Triton wants one beside the batch."""
        return len(self.dims) > 1 and self.dims[0] == -1

    def lines(self, key: str, *, batched: bool) -> Iterable[str]:
        """The tensor's message, an element of the list `key`."""
        dims = self.dims[1:] if batched else self.dims
        yield f"{key} {{"
        yield f"  name: {_quoted(self.name)}"
        yield f"  data_type: {self.data_type}"
        yield f"  dims: [ {', '.join(map(str, dims or (1,)))} ]"
        if not dims:  # a scalar, for which Triton has no dims
            yield "  reshape { shape: [ ] }"
        yield "}"


def configuration(name: str, graph: Path, batch: int, remark: str) -> str:
    """The content of `config.pbtxt`.

    Parameters
    ----------
    name
        Of the model, as its folder is called.
    graph
        The ONNX file.
    batch
        `max_batch_size` where dimension 0 of all inputs and outputs has any size. Elsewhere it is 0, which says that
        shapes are whole.
    remark
        Where the graph comes from, for a comment in the first line.

    Raises
    ------
    GraphError
        It has a tensor that a configuration cannot describe.
    """
    inputs, outputs = graph_tensors(graph)
    batched = bool(inputs) and all(one.has_batch for one in (*inputs, *outputs))
    lines = [
        f"# {' '.join(remark.split())}",
        f"name: {_quoted(name)}",
        f"platform: {_quoted(PLATFORM)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {_quoted(GRAPH_NAME)}",
        f"max_batch_size: {batch if batched else 0}",
    ]
    for key, tensors in (("input", inputs), ("output", outputs)):
        for one in tensors:
            lines.extend(one.lines(key, batched=batched))
    return "\n".join(lines) + "\n"


def graph_tensors(graph: Path) -> tuple[list[GraphTensor], list[GraphTensor]]:
    """The inputs and the outputs of an ONNX file.

    Raises
    ------
    GraphError
        It has a tensor that cannot be described.
    """
    model = read_graph(graph)
    return [_tensor(one, graph) for one in fed(model.graph)], [_tensor(one, graph) for one in model.graph.output]


def _tensor(described: Any, graph: Path) -> GraphTensor:
    from onnx import TensorProto

    if not described.type.HasField("tensor_type"):
        raise GraphError(f"{graph}: {described.name!r} is not a tensor, and Triton takes only tensors")
    tensor = described.type.tensor_type
    element = TensorProto.DataType.Name(tensor.elem_type)
    if element not in _TYPES:
        raise GraphError(f"{graph}: {described.name!r} has elements of type {element}, which Triton does not have")
    if not tensor.HasField("shape"):
        raise GraphError(f"{graph}: {described.name!r} has no shape: Triton needs to know how many dimensions it has")
    dims = tuple(one.dim_value if one.dim_value > 0 else -1 for one in tensor.shape.dim)
    return GraphTensor(described.name, _TYPES[element], dims)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
