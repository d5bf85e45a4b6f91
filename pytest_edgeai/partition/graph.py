"""An ONNX graph read for cutting: which nodes decide where a cut can be, and which go wherever they are needed.

Shapes, bytes and multiply-accumulates come from shape inference for a batch of one on a skeleton without weights, so
that the size of a model does not matter; how a graph is taken apart is in `splitting`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from pytest_edgeai.serving.protocol import Array

if TYPE_CHECKING:
    import onnx

LIGHT_BYTES = 16 * 1024
"""Initializers up to this size (scales, axes, masks, small tables) may be in several parts; weights may not."""

_SMALL = 64  # elements of a tensor that may be a shape, so that inference has to know its values
_WITH_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "Attention")
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
# ONNX Runtime computes these inside the quantized operator before them.
_FUSED_INTO_QUANTIZED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Mul", "HardSwish")


class PartitionError(ValueError):
    """A graph that cannot be read or cut; one sentence."""


class Role(Enum):
    """What a node means for cuts."""

    MAIN = "main"
    """In one part only; cuts lie between main nodes."""
    CONSTANT = "constant"
    """Depends on no input: it goes with those that use it."""
    DEQUANTIZE = "dequantize"
    """Goes with those that use it, so that what crosses is the quantized tensor."""
    SIDE = "side"
    """Depends on inputs and small constants alone (masks, positions, shapes): sent or computed again, as is less."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph.

    Parameters
    ----------
    op_type
        The ONNX operator.
    inputs, outputs
        Names of tensors without those that are left out; inputs include what subgraphs take from around them.
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """An initializer: its size and its number of elements, if these are what was trained."""

    size_bytes: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """Element type as ONNX numbers it, and shape for a batch of one."""

    element_type: int
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return _bytes_of(self.element_type, self.shape)


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph read for cutting.

    Parameters
    ----------
    nodes
        Those that outputs depend on, in topological order.
    roles
        Of each node.
    inputs, outputs
        Names, without initializers.
    weights
        By name.
    tensors
        Type and shape for a batch of one, as far as shape inference knows them.
    """

    nodes: tuple[Node, ...]
    roles: tuple[Role, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Weight]
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(
        cls, model: onnx.ModelProto, *, light_bytes: int = LIGHT_BYTES, main_inputs: Collection[str] = ()
    ) -> Graph:
        """Read a model, whose weights need not be loaded.

        Parameters
        ----------
        model
            A valid model.
        light_bytes
            Initializers up to this size may be in several parts.
        main_inputs
            Inputs that main nodes of a larger graph have made, whether they come as themselves or decoded.

        Raises
        ------
        PartitionError
            The graph has something that cannot be cut.
        """
        if model.graph.sparse_initializer:
            raise PartitionError("the graph has sparse initializers, which partition does not read")
        weights = {one.name: _weight(one) for one in model.graph.initializer}
        inputs = tuple(one.name for one in model.graph.input if one.name not in weights)
        outputs = tuple(one.name for one in model.graph.output)
        nodes = tuple(_alive([_node(one) for one in model.graph.node], outputs))
        heavy = {name for name, weight in weights.items() if weight.size_bytes > light_bytes}
        return cls(nodes, _roles(nodes, inputs, heavy, set(main_inputs)), inputs, outputs, weights, _infer(model))

    def with_tensors(self, found: Mapping[str, Tensor]) -> Graph:
        """The graph with types and shapes that inference did not find."""
        return replace(self, tensors={**found, **self.tensors})

    def is_main(self, name: str) -> bool:
        """Whether a main node makes a tensor."""
        number = self.producers().get(name)
        return number is not None and self.roles[number] is Role.MAIN

    def producers(self) -> dict[str, int]:
        """Return the number of the node that makes a tensor, by name."""
        return {name: number for number, node in enumerate(self.nodes) for name in node.outputs}

    def quantized_spans(self) -> Iterator[tuple[int, int]]:
        """Node numbers (producer, QuantizeLinear) between which ONNX Runtime computes in one quantized operator.

        A cut in between would leave a float operator on one side and round elsewhere than the whole graph does.
        """
        producers = self.producers()
        for number, node in enumerate(self.nodes):
            if node.op_type != "QuantizeLinear" or self.roles[number] is not Role.MAIN:
                continue
            at = producers.get(node.inputs[0])
            while at is not None:
                before = [producers.get(name) for name in self.nodes[at].inputs]
                if any(one is not None and self.roles[one] is Role.DEQUANTIZE for one in before):
                    yield at, number
                    break
                at = before[0] if self.nodes[at].op_type in _FUSED_INTO_QUANTIZED else None

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of a node for a batch of one; 0 where it has none or shapes are unknown."""
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm") or len(node.inputs) < 2:
            return 0
        first, second = self.tensors.get(node.inputs[0]), self.tensors.get(node.inputs[1])
        result = self.tensors.get(node.outputs[0])
        if first is None or second is None or result is None or not first.shape or not result.shape:
            return 0
        if node.op_type == "Conv":  # weight [out, in / groups, …]
            return math.prod(result.shape) * math.prod(second.shape[1:])
        if node.op_type == "ConvTranspose":  # weight [in, out / groups, …]
            return math.prod(first.shape) * math.prod(second.shape[1:])
        inner = math.prod(second.shape) // max(1, result.shape[-1]) if len(second.shape) <= 2 else second.shape[-2]
        return math.prod(result.shape) * inner


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


def light_part(model: onnx.ModelProto, graph: Graph) -> onnx.ModelProto | None:
    """What a model computes of its inputs and small constants alone, as a model with all its tensors as outputs."""
    import onnx

    roles = {name: role for node, role in zip(graph.nodes, graph.roles, strict=True) for name in node.outputs}
    part = skeleton(model)
    known = {"", *graph.inputs, *(one.name for one in part.graph.initializer)}
    nodes = []
    for node in part.graph.node:
        if roles.get(node.output[0]) in (Role.SIDE, Role.CONSTANT) and known.issuperset(inputs_of(node)):
            nodes.append(node)
            known.update(node.output)
    if not nodes:
        return None
    needed = {name for node in nodes for name in inputs_of(node)}
    inputs = [one for one in part.graph.input if one.name in needed]
    del part.graph.node[:], part.graph.input[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for node in nodes for name in node.output if name)
    return part


def infer_with(model: onnx.ModelProto, values: Mapping[str, Array]) -> dict[str, Tensor]:
    """Types and shapes for a batch of one, given the values of some tensors inside the graph.

    Parameters
    ----------
    model
        The model.
    values
        By name; what makes them is left out, so every output of such a node has to be there.
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
    return {**_infer(part), **found}


def _infer(model: onnx.ModelProto) -> dict[str, Tensor]:
    """Types and shapes for a batch of one."""
    from onnx import shape_inference

    single = skeleton(model)
    for described in (*single.graph.input, *single.graph.output):
        for size in described.type.tensor_type.shape.dim:
            if not size.HasField("dim_value"):
                size.dim_value = 1
    graph = shape_inference.infer_shapes(single, data_prop=True).graph
    tensors = {one.name: Tensor(one.data_type, tuple(one.dims)) for one in model.graph.initializer}
    for described in (*graph.input, *graph.value_info, *graph.output):
        kind = described.type.tensor_type
        sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
        if kind.HasField("shape") and -1 not in sizes:
            tensors[described.name] = Tensor(kind.elem_type, sizes)
    return tensors


def inputs_of(proto: onnx.NodeProto) -> tuple[str, ...]:
    """Names of the tensors that a node takes, by its subgraphs as well; without optional inputs that are left out."""
    return tuple(filter(None, dict.fromkeys([*proto.input, *_captured(proto)])))


def _node(proto: onnx.NodeProto) -> Node:
    return Node(proto.op_type, inputs_of(proto), tuple(filter(None, proto.output)))


def _captured(proto: onnx.NodeProto) -> Iterator[str]:
    """Names that the subgraphs of a node (If, Loop, Scan) take from around them."""
    for attribute in proto.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
            own = {one.name for one in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in (*inner.input, *_captured(inner)) if name and name not in own)
                own.update(inner.output)
            yield from (one.name for one in graph.output if one.name not in own)


def _alive(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    """Drop nodes that no output depends on."""
    needed = set(outputs)
    alive = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            alive.append(node)
    return alive[::-1]


def _roles(nodes: tuple[Node, ...], inputs: Iterable[str], heavy: set[str], main: set[str]) -> tuple[Role, ...]:
    varying = set(inputs)
    roles = []
    for node in nodes:
        if not varying.intersection(node.inputs) and node.op_type not in _RANDOM:
            role = Role.CONSTANT
            heavy.update(node.outputs if heavy.intersection(node.inputs) else ())
        elif node.op_type == "DequantizeLinear":
            role = Role.DEQUANTIZE
            main.update(node.outputs)
        elif (
            node.op_type in (*_WITH_PRODUCTS, *_RANDOM)
            or main.intersection(node.inputs)
            or heavy.intersection(node.inputs)
        ):
            role = Role.MAIN
            main.update(node.outputs)
        else:
            role = Role.SIDE
        if role is not Role.CONSTANT:
            varying.update(node.outputs)
        roles.append(role)
    if Role.MAIN not in roles:  # nothing weighs anything: any node may end a part
        roles = [Role.MAIN if role is Role.SIDE else role for role in roles]
    return tuple(roles)


def _weight(tensor: onnx.TensorProto) -> Weight:
    import onnx

    elements = math.prod(tensor.dims)
    trained = len(tensor.dims) > 0 and elements > 1 and tensor.data_type != onnx.TensorProto.INT64
    return Weight(_bytes_of(tensor.data_type, tensor.dims), elements if trained else 0)


def _bytes_of(element_type: int, shape: Iterable[int]) -> int:
    from onnx import helper

    kind: Any = helper.tensor_dtype_to_np_dtype(element_type)
    return math.prod(shape) * int(kind.itemsize)
