"""A graph taken apart at a cut: two standalone ONNX models, whose chain computes what the whole does.

The first part's outputs are the second's inputs, by name. A graph input that crosses, or a graph output that is
computed before the cut, crosses as `name@1`, since neither part may have one name for two things. Tensors that cross
may be compressed by nodes of the graphs themselves, so that whoever runs a part needs to know nothing of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pytest_edgeai.partition.graph import Graph, PartitionError, inputs_of
from pytest_edgeai.partition.shapes import infer_types
from pytest_edgeai.serving.repository import GRAPH_NAME

if TYPE_CHECKING:
    import onnx

INLINE_BYTES = 1_500_000_000
"""Protobuf ends at 2 GB: larger models have their weights in a file beside the graph."""

WEIGHTS_NAME = f"{GRAPH_NAME}.data"


@dataclass(frozen=True, slots=True)
class Half:
    """A float tensor crosses as a 16-bit float."""


@dataclass(frozen=True, slots=True)
class Byte:
    """A float tensor crosses as an unsigned 8-bit integer: `scale * (integer - zero_point)`."""

    scale: float
    zero_point: int

    @classmethod
    def spanning(cls, least: float, most: float) -> Byte:
        """The one that reaches from the least to the most value seen; zero stays zero."""
        least, most = min(least, 0.0), max(most, 0.0)
        scale = (most - least) / 255 or 1.0
        return cls(scale, round(-least / scale))


Coding: TypeAlias = Half | Byte


def split(
    model: onnx.ModelProto, graph: Graph, crossing: Sequence[str], codings: Mapping[str, Coding] | None = None
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Take a model apart.

    Parameters
    ----------
    model
        The whole, with its weights.
    graph
        The same, as it was read.
    crossing
        The tensors of a cut.
    codings
        How float tensors among them are compressed, by name.

    Returns
    -------
    first, second
        Models with the nodes and weights that each needs.

    Raises
    ------
    PartitionError
        The tensors do not separate the outputs from the inputs.
    """
    types = infer_types(model)
    first, second = _Part(model, "parts before the cut"), _Part(model, "parts after the cut")
    inputs = [one for one in model.graph.input if one.name not in first.weights]
    first.keep(crossing, until={one.name for one in inputs})
    second.keep([one.name for one in model.graph.output], until=set(crossing))
    produced = {name for node in model.graph.node for name in node.output}
    astray = second.reached.intersection(one.name for one in inputs) - set(crossing)
    if astray or not set(crossing) <= produced | {one.name for one in inputs}:
        raise PartitionError(f"these tensors do not cut the graph: what follows them needs {', '.join(sorted(astray))}")
    first.model.graph.input.extend(inputs)
    second.model.graph.output.extend(model.graph.output)
    ends = {one.name for one in (*inputs, *model.graph.output)}
    taken = produced | ends | first.weights.keys()
    for name in crossing:
        coding = (codings or {}).get(name)
        wire = name if coding is None and name not in ends else _alias(name, taken)
        described = _coded(wire, _type_of(name, types, graph), coding)
        first.model.graph.output.append(described)
        second.model.graph.input.append(described)
        if wire != name:
            first.encode(name, wire, coding)
            second.decode(wire, name, coding)
    return first.finish(), second.finish()


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, its weights beside it where they are too large for one file, and have it checked.

    Raises
    ------
    PartitionError
        The checker refuses it.
    """
    import onnx

    size_bytes = sum(len(one.raw_data) for one in model.graph.initializer)
    if size_bytes > INLINE_BYTES:
        onnx.save_model(model, str(path), save_as_external_data=True, location=WEIGHTS_NAME)
    else:
        onnx.save_model(model, str(path))
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise PartitionError(f"{path.name} is not valid ONNX: {error}") from None


class _Part:
    """A part that is being put together."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        import onnx

        self._whole = model
        self.weights = {one.name: one for one in model.graph.initializer}
        self.reached: set[str] = set()
        self.model = onnx.ModelProto()
        self.model.ir_version = model.ir_version
        self.model.producer_name = model.producer_name
        self.model.opset_import.extend(model.opset_import)
        self.model.functions.extend(model.functions)
        self.model.graph.name = name
        self._before: list[onnx.NodeProto] = []
        self._after: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def keep(self, ends: Iterable[str], until: set[str]) -> None:
        """Keep what `ends` depend on, back to the tensors `until`."""
        self.reached = set(ends)
        for node in reversed(self._whole.graph.node):
            if self.reached.intersection(node.output) - until:
                self.reached.update(inputs_of(node))
                self._nodes.append(node)
        self._nodes.reverse()

    def encode(self, name: str, wire: str, coding: Coding | None) -> None:
        """Add nodes from a tensor to what crosses."""
        self._after += self._coder(name, wire, coding, "QuantizeLinear", "FLOAT16")

    def decode(self, wire: str, name: str, coding: Coding | None) -> None:
        """Add nodes from what crosses to the tensor."""
        self._before += self._coder(wire, name, coding, "DequantizeLinear", "FLOAT")

    def finish(self) -> onnx.ModelProto:
        """Return the model."""
        graph = self.model.graph
        graph.node.extend([*self._before, *self._nodes, *self._after])
        graph.initializer.extend(one for name, one in self.weights.items() if name in self.reached)
        graph.initializer.extend(self._constants)
        return self.model

    def _coder(
        self, source: str, target: str, coding: Coding | None, quantizer: str, cast: str
    ) -> list[onnx.NodeProto]:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        if coding is None:
            return [helper.make_node("Identity", [source], [target])]
        if isinstance(coding, Half):
            return [helper.make_node("Cast", [source], [target], to=getattr(TensorProto, cast))]
        scale, zero_point = f"{target}.scale", f"{target}.zero_point"
        self._constants.append(numpy_helper.from_array(np.array(coding.scale, np.float32), scale))
        self._constants.append(numpy_helper.from_array(np.array(coding.zero_point, np.uint8), zero_point))
        return [helper.make_node(quantizer, [source, scale, zero_point], [target])]


def _alias(name: str, taken: set[str]) -> str:
    base, at, number = name.rpartition("@")
    base = base if at and number.isdigit() else name
    alias = next(f"{base}@{number}" for number in itertools.count(1) if f"{base}@{number}" not in taken)
    taken.add(alias)
    return alias


def _type_of(name: str, types: Mapping[str, onnx.TypeProto], graph: Graph) -> onnx.TypeProto:
    """The type with dimensions of any size as the model names them, or without where inference does not know them."""
    from onnx import helper

    kind = types.get(name)
    if kind is not None and kind.tensor_type.HasField("shape"):
        return kind
    tensor = graph.tensors[name]
    return helper.make_tensor_type_proto(tensor.element_type, [None] * len(tensor.shape))


def _coded(wire: str, kind: onnx.TypeProto, coding: Coding | None) -> onnx.ValueInfoProto:
    import onnx

    described = onnx.ValueInfoProto()
    described.name = wire
    described.type.CopyFrom(kind)
    if coding is not None:
        coded = onnx.TensorProto.FLOAT16 if isinstance(coding, Half) else onnx.TensorProto.UINT8
        described.type.tensor_type.elem_type = coded
    return described
