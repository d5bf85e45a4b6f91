"""All cuts of a graph, one for each position in its topological order, in one pass over its nodes.

A cut is the set of tensors that are alive between two main nodes: made before (or graph inputs) and used after.
What depends on inputs and small constants alone (an attention mask brought into shape) either crosses or is computed
again from the inputs, whichever is fewer bytes. Positions at which a weight would be on both sides are left out, and
in a quantized graph those inside what the runtime computes as one quantized operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from pytest_edgeai.partition.graph import LIGHT_BYTES, Graph, PartitionError, Role

_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut in two parts.

    Parameters
    ----------
    name
        The last tensor that the first part computes; a cut is asked for by it.
    position
        Main nodes in the first part.
    crossing
        The tensors that cross.
    crossing_bytes
        Their size for the example that the graph was read with, uncompressed.
    size_bytes, parameters, macs
        Of either part: size of its weights, their number, multiply-accumulates for that example.
    """

    name: str
    position: int
    crossing: tuple[str, ...]
    crossing_bytes: int
    size_bytes: tuple[int, int]
    parameters: tuple[int, int]
    macs: tuple[int, int]


def find_cuts(graph: Graph, *, light_bytes: int = LIGHT_BYTES) -> tuple[Cut, ...]:
    """All cuts, in topological order.

    Parameters
    ----------
    graph
        What to cut.
    light_bytes
        Initializers up to this size may be in both parts.

    Raises
    ------
    PartitionError
        The shape of a tensor that would cross is not known.
    """
    return tuple(_Search(graph, light_bytes).cuts())


def what_ties(graph: Graph, *, light_bytes: int = LIGHT_BYTES) -> str:
    """Why a graph has no cut, in a sentence that names nodes by the tensors that they make."""
    return _Search(graph, light_bytes).what_ties()


@dataclass(frozen=True, slots=True)
class _Tie:
    """Main nodes, by place, that have to be in one part, and why."""

    first: int
    final: int
    reason: str


class _Search:
    """The state of the pass."""

    def __init__(self, graph: Graph, light_bytes: int) -> None:
        self._graph = graph
        self._main = [number for number, role in enumerate(graph.roles) if role is Role.MAIN]
        self._place = {number: place for place, number in enumerate(self._main)}
        self._producers = graph.producers()
        # Through what goes with its users: the tensors and the weights that a name stands for.
        self._carriers: dict[str, frozenset[str]] = {name: frozenset([name]) for name in graph.inputs}
        self._weights = {name: frozenset([name]) for name in graph.weights}
        self._sources: dict[str, frozenset[str]] = {name: frozenset([name]) for name in graph.inputs}
        self._side: set[str] = set()
        self._expand()
        last = len(self._main)
        self._last_use: dict[str, int] = {}
        self._weight_uses: dict[str, tuple[int, int]] = {}
        for place, number in enumerate(self._main):
            for name in graph.nodes[number].inputs:
                self._use(name, place)
        for name in graph.outputs:
            self._use(name, last)
        self._ties = [
            _Tie(first, final, f"weight {name!r} is used by {{}} and by {{}}")
            for name, (first, final) in self._weight_uses.items()
            if graph.weights[name].size_bytes > light_bytes and first < min(final, last - 1)
        ]
        self._ties += [
            _Tie(self._place[producer], self._place[quantizer], "{} and {} run as one quantized operator")
            for producer, quantizer in graph.quantized_spans()
            if producer in self._place and quantizer in self._place
        ]
        self._blocked = [0] * (last + 1)
        for tie in self._ties:
            self._block(tie.first, tie.final)

    def cuts(self) -> Iterator[Cut]:
        graph, count = self._graph, len(self._main)
        sizes, parameters, macs = [0] * count, [0] * count, [0] * count
        for name, (first, _) in self._weight_uses.items():
            place = min(first, count - 1)
            sizes[place] += graph.weights[name].size_bytes
            parameters[place] += graph.weights[name].parameters
        for place, number in enumerate(self._main):
            macs[place] = graph.macs(graph.nodes[number])
        totals = [list(accumulate(values)) for values in (sizes, parameters, macs)]
        blocked = list(accumulate(self._blocked))
        alive = dict.fromkeys(name for name in graph.inputs if name in self._last_use)
        sides = sorted(name for name in self._side if name in self._last_use)
        for place, number in enumerate(self._main[:-1]):
            node = graph.nodes[number]
            alive.update(dict.fromkeys(name for name in node.outputs if self._last_use.get(name, -1) > place))
            for name in [name for name in alive if self._last_use[name] <= place]:
                del alive[name]
            sides = [name for name in sides if self._last_use[name] > place]
            if blocked[place + 1]:
                continue
            crossing = self._crossing(alive, sides)
            if not crossing:  # the second part would be a constant
                continue
            halves = [(total[place], total[-1] - total[place]) for total in totals]
            yield Cut(node.outputs[0], place + 1, crossing, sum(map(self._bytes, crossing)), *halves)

    def what_ties(self) -> str:
        count = len(self._main)
        if count < 2:
            alone = "".join(f", {self._graph.described(number)}" for number in self._main)
            return f"the graph has no cut: it has only one node that computes with weights{alone}"
        reasons, place = list[str](), 0
        while place < count - 1:  # the fewest ties that reach from the first node to the last
            here = [tie for tie in self._ties if tie.first <= place < tie.final]
            tie = max(here, key=lambda one: one.final, default=None)
            if tie is None:  # it could be cut here, but for what would cross
                after = self._graph.described(self._main[place])
                reasons.append(f"what follows {after} depends on no input")
                break
            ends = [self._graph.described(self._main[min(end, count - 1)]) for end in (tie.first, tie.final)]
            reasons.append(tie.reason.format(*ends))
            place = tie.final
        more = f", and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        return f"the graph has no cut: {'; '.join(reasons[:_MOST_REASONS])}{more}"

    def _expand(self) -> None:
        graph = self._graph
        for node, role in zip(graph.nodes, graph.roles, strict=True):
            inputs = node.inputs
            if role is Role.CONSTANT:
                weights = frozenset[str]().union(*(self._weights.get(name, frozenset()) for name in inputs))
                self._weights.update(dict.fromkeys(node.outputs, weights))
            elif role is Role.DEQUANTIZE:  # of a tensor with scale and zero point, which are constants
                self._carriers.update(dict.fromkeys(node.outputs, self._carriers[inputs[0]]))
                weights = frozenset[str]().union(*(self._weights.get(name, frozenset()) for name in inputs))
                self._weights.update(dict.fromkeys(node.outputs, weights))
            else:
                self._carriers.update({name: frozenset([name]) for name in node.outputs})
            if role is Role.SIDE:
                sources = frozenset[str]().union(*(self._sources.get(name, frozenset()) for name in inputs))
                self._sources.update(dict.fromkeys(node.outputs, sources))
                self._side.update(node.outputs)
                weights = frozenset[str]().union(*(self._weights.get(name, frozenset()) for name in inputs))
                self._weights.update(dict.fromkeys(node.outputs, weights))

    def _use(self, name: str, place: int) -> None:
        for carrier in self._carriers.get(name, ()):
            self._last_use[carrier] = place  # places come in order
        for weight in self._weights.get(name, ()):
            first, _ = self._weight_uses.get(weight, (place, place))
            self._weight_uses[weight] = (first, place)

    def _block(self, first: int, final: int) -> None:
        """Block positions that have place `first` before and place `final` after them."""
        if first < final:
            self._blocked[first + 1] += 1
            if final + 1 < len(self._blocked):
                self._blocked[final + 1] -= 1

    def _crossing(self, alive: dict[str, None], sides: list[str]) -> tuple[str, ...]:
        crossing = dict(alive)
        groups: dict[frozenset[str], list[str]] = {}
        for name in sides:
            groups.setdefault(self._sources[name], []).append(name)
        for sources, names in sorted(groups.items(), key=lambda group: (len(group[0]), sorted(group[0]))):
            missing = [name for name in sorted(sources) if name not in crossing]
            if missing and sum(map(self._bytes, missing)) >= sum(map(self._bytes, names)):
                missing = names
            crossing.update(dict.fromkeys(missing))
        return tuple(crossing)

    def _bytes(self, name: str) -> int:
        tensor = self._graph.tensors.get(name)
        if tensor is None:
            raise PartitionError(f"the shape of {name!r} is not known: it takes an example of the graph's inputs")
        return tensor.size_bytes
