"""Types and shapes of a graph's tensors, by shape inference from the shapes of an example.

It is done on a skeleton without weights, so that the size of a model does not matter. What inference does not find is
not there: it takes a run (`running`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_edgeai.arrays import Array

if TYPE_CHECKING:
    import onnx

_SMALL = 64  # elements of a tensor that may be a shape, so that inference has to know its values


@dataclass(frozen=True, slots=True)
class Tensor:
    """Element type as ONNX numbers it, and shape for the example that a graph was read with."""

    element_type: int
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return bytes_of(self.element_type, self.shape)


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large initializers as inputs: all that shape inference needs, in kilobytes."""
    import onnx
    from onnx import helper

    graph = onnx.GraphProto()
    given = {one.name for one in model.graph.input}
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        elif tensor.name not in given:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    result = onnx.ModelProto()
    result.ir_version = model.ir_version
    result.opset_import.extend(model.opset_import)
    result.functions.extend(model.functions)
    result.graph.CopyFrom(graph)
    return result


def infer_types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Types by tensor as shape inference finds them, dimensions of any size as they are named in the model."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(skeleton(model), data_prop=True).graph
    return {one.name: one.type for one in (*graph.input, *graph.value_info, *graph.output)}


def infer_with(
    model: onnx.ModelProto, values: Mapping[str, Array], example: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Types and shapes, given the values of some tensors inside the graph.

    Parameters
    ----------
    model
        The model.
    values
        By name; what makes them is left out, so every output of such a node has to be there.
    example
        Shapes of inputs by name.
    """
    from onnx import helper, numpy_helper

    part = skeleton(model)
    rest = [node for node in part.graph.node if not values.keys() & set(node.output)]
    del part.graph.node[:]
    part.graph.node.extend(rest)
    for name, value in values.items():
        if value.size <= _SMALL:
            part.graph.initializer.append(numpy_helper.from_array(value, name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            part.graph.input.append(helper.make_tensor_value_info(name, kind, list(value.shape)))
    found = {name: Tensor(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in values.items()}
    return {**infer_shapes(part, example), **found}


def infer_shapes(model: onnx.ModelProto, example: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Types and shapes as far as they follow from those of the inputs.

    Parameters
    ----------
    model
        The model.
    example
        Shapes of inputs by name. An input without one is a batch of one: its first dimension is 1 where the model
        leaves it open, and further dimensions that it leaves open are not known.
    """
    from onnx import shape_inference

    sized = skeleton(model)
    symbols: dict[str, int] = {}
    for described in sized.graph.input:
        _size(described, example.get(described.name), symbols)
    for described in (*sized.graph.input, *sized.graph.output):
        for size in described.type.tensor_type.shape.dim:
            if size.dim_param in symbols:
                size.dim_value = symbols[size.dim_param]
    graph = shape_inference.infer_shapes(sized, data_prop=True).graph
    tensors = {one.name: Tensor(one.data_type, tuple(one.dims)) for one in model.graph.initializer}
    for described in (*graph.input, *graph.value_info, *graph.output):
        kind = described.type.tensor_type
        sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
        if kind.HasField("shape") and -1 not in sizes:
            tensors[described.name] = Tensor(kind.elem_type, sizes)
    return tensors


def _size(described: onnx.ValueInfoProto, shape: tuple[int, ...] | None, symbols: dict[str, int]) -> None:
    """Give an input the shape of an example, or of a batch of one; collect what names of dimensions stand for."""
    kind = described.type.tensor_type
    if shape is not None and len(shape) != len(kind.shape.dim):  # the model leaves the rank open
        del kind.shape.dim[:]
        for _ in shape:
            kind.shape.dim.add()
    for axis, size in enumerate(kind.shape.dim):
        value = shape[axis] if shape is not None else 1 if axis == 0 and not size.HasField("dim_value") else None
        if value is not None:
            if size.dim_param:
                symbols.setdefault(size.dim_param, value)
            size.dim_value = value


def bytes_of(element_type: int, shape: Iterable[int]) -> int:
    """Bytes of a tensor, of an element type as ONNX numbers it."""
    from onnx import helper

    kind: Any = helper.tensor_dtype_to_np_dtype(element_type)
    return math.prod(shape) * int(kind.itemsize)
