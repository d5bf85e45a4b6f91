"""An ONNX graph read for cutting: which nodes decide where a cut can be, and which go wherever they are needed.

Shapes are those of an example (`shapes`); how a graph is taken apart is in `splitting`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.partition.shapes import Tensor, bytes_of, infer_shapes

if TYPE_CHECKING:
    import onnx

LIGHT_BYTES = 16 * 1024
"""Initializers up to this size (scales, axes, masks, small tables) may be in several parts; weights may not."""

_WITH_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "Attention")
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
# ONNX Runtime computes these inside the quantized operator before them.
_FUSED_INTO_QUANTIZED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Mul", "HardSwish")


class PartitionError(EdgeAIError, ValueError):
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
        Names of tensors without those that are left out; inputs include what subgraphs take from around them, and last,
        where the node holds weights itself (a constant, or in subgraphs), a name for these.
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
        By name: initializers, and what nodes hold themselves.
    tensors
        Type and shape for an example, as far as shape inference knows them.
    """

    nodes: tuple[Node, ...]
    roles: tuple[Role, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Weight]
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(
        cls,
        model: onnx.ModelProto,
        *,
        example: Mapping[str, tuple[int, ...]] | None = None,
        light_bytes: int = LIGHT_BYTES,
        main_inputs: Collection[str] = (),
    ) -> Graph:
        """Read a model, whose weights need not be loaded.

        Parameters
        ----------
        model
            A valid model.
        example
            Shapes of inputs by name, which sizes are then for; an input without one is a batch of one, and of unknown
            size where the model leaves more than its first dimension open.
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
        held = {_held_name(one): _held(one) for one in model.graph.node}
        weights |= {name: weight for name, weight in held.items() if weight.size_bytes}
        nodes = tuple(_alive([_node(one, weights) for one in model.graph.node], outputs))
        heavy = {name for name, weight in weights.items() if weight.size_bytes > light_bytes}
        roles = _roles(nodes, inputs, heavy, set(main_inputs))
        return cls(nodes, roles, inputs, outputs, weights, infer_shapes(model, example or {}))

    def with_tensors(self, found: Mapping[str, Tensor]) -> Graph:
        """The graph with types and shapes that inference did not find."""
        return replace(self, tensors={**found, **self.tensors})

    def described(self, number: int) -> str:
        """A node for people: the tensor that it makes, and its ONNX operator."""
        node = self.nodes[number]
        return f"{node.outputs[0]!r} ({node.op_type})"

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
        """Multiply-accumulates of a node for the example; 0 where it has none or shapes are unknown."""
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


def inputs_of(proto: onnx.NodeProto) -> tuple[str, ...]:
    """Names of the tensors that a node takes, by its subgraphs as well; without optional inputs that are left out."""
    return tuple(filter(None, dict.fromkeys([*proto.input, *_captured(proto)])))


def _node(proto: onnx.NodeProto, weights: Mapping[str, Weight]) -> Node:
    held = (_held_name(proto),) if _held_name(proto) in weights else ()
    return Node(proto.op_type, (*inputs_of(proto), *held), tuple(filter(None, proto.output)))


def _held_name(proto: onnx.NodeProto) -> str:
    """The name for all weights that a node holds: no tensor has such a one in a graph that exporters write."""
    return f"{next(filter(None, proto.output), '')} (inside)"


def _held(proto: onnx.NodeProto) -> Weight:
    """The weights that a node holds: the value of a constant, and the initializers and constants of subgraphs."""
    found = [_weight(one.t) for one in proto.attribute if proto.op_type == "Constant" and math.prod(one.t.dims) > 1]
    for attribute in proto.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
            found += [_weight(one) for one in graph.initializer]
            found += [_held(one) for one in graph.node]
    return Weight(sum(one.size_bytes for one in found), sum(one.parameters for one in found))


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
    return Weight(bytes_of(tensor.data_type, tensor.dims), elements if trained else 0)
