"""Multiply-accumulate operations of a graph: those of its convolutions and matrix products, counted by shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_edgeai.arrays import Array

if TYPE_CHECKING:
    import onnx

Shapes: TypeAlias = Mapping[str, Sequence[int]]
COUNTED: Final = ("Conv", "Gemm", "MatMul")


def multiply_accumulates(model: onnx.ModelProto, shapes: Shapes) -> int:
    """Multiply-accumulates of a graph.

    Parameters
    ----------
    model
        A float graph, or an int8 one of QuantizeLinear/DequantizeLinear pairs.
    shapes
        Of the tensors that `COUNTED` nodes read and write, by name.

    Returns
    -------
    int
        The sum over Conv, Gemm and MatMul nodes.

    Raises
    ------
    KeyError
        A shape is missing.
    """
    return sum(_of_node(node, shapes) for node in model.graph.node if node.op_type in COUNTED)


def observe_shapes(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """Run a graph once, and return the shapes of the tensors that `COUNTED` nodes read and write.

    Parameters
    ----------
    model
        Its shapes cannot all be inferred: the masks of transformers depend on values.
    feeds
        One sample, so that the shapes are those of a single request.
    """
    import onnx
    import onnxruntime

    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    known = {value.name for value in (*model.graph.input, *model.graph.output)}
    wanted = [
        name for node in model.graph.node if node.op_type in COUNTED for name in (*node.input[:2], node.output[0])
    ]
    made = {name for node in model.graph.node for name in node.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(wanted) if name in made - known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it would fuse the nodes
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    shapes = {name: array.shape for name, array in zip(names, session.run(names, dict(feeds)), strict=True)}
    shapes.update({name: array.shape for name, array in feeds.items()})
    shapes.update({tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer})
    return shapes


def _of_node(node: onnx.NodeProto, shapes: Shapes) -> int:
    output = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return output * math.prod(shapes[node.input[1]][1:])  # each output sums a kernel over a group's channels
    first = shapes[node.input[0]]
    transposed = node.op_type == "Gemm" and any(one.name == "transA" and one.i for one in node.attribute)
    return output * (first[0] if transposed else first[-1])
