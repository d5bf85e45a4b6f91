"""Which cut to take: by name or number, by nearly equal halves, or by the latency that it is predicted to have.

Pure: the costs of nodes and the rates of links are given (`profiling` measures the former).
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_edgeai.partition.cuts import Cut
from pytest_edgeai.partition.graph import PartitionError
from pytest_edgeai.wire.links import LinkShape
from pytest_edgeai.wire.round_trips import Exchange, round_trip_s

MESSAGE_BYTES = 380
"""Of a request or an answer between tiers besides its tensors: the head of HTTP, and names and shapes as JSON."""

_NEARLY_EQUAL = 0.1
_LEAST_SHARE = 0.5  # of the smaller part in the most equal cut: below, a part with few bytes to send is hardly one


@dataclass(frozen=True, slots=True)
class Stage:
    """A tier of the chain, and the way to the next one.

    Parameters
    ----------
    prefix_s
        Seconds that the tier computes for the first 0, 1, 2, … main nodes, shape [main nodes + 1].
    rate_bps, delay_s
        Payload rate and one-way delay from this tier to the next, of all links on the way together; the last tier has
        none.
    """

    prefix_s: Sequence[float]
    rate_bps: float = float("inf")
    delay_s: float = 0.0


def by_name(cuts: Sequence[Cut], name: str) -> Cut:
    """The cut after a tensor.

    Raises
    ------
    PartitionError
        There is none; names the nearest.
    """
    for cut in cuts:
        if cut.name == name:
            return cut
    near = difflib.get_close_matches(name, [cut.name for cut in cuts], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {len(cuts)} others"
    raise PartitionError(f"no cut is after the tensor {name!r}: {hint}")


def by_number(cuts: Sequence[Cut], number: int) -> Cut:
    """The cut of a number, from 0 in the graph's order.

    Raises
    ------
    PartitionError
        There are not as many.
    """
    if not 0 <= number < len(cuts):
        raise PartitionError(f"there is no cut {number}: the graph has {len(cuts)}, numbered from 0")
    return cuts[number]


def halves(cuts: Sequence[Cut], parts: int = 2, *, first_not_larger: bool = False) -> tuple[Cut, ...]:
    """The cuts into parts of nearly equal size, the paper's rule; among nearly equal ones that with fewest bytes.

    Parameters
    ----------
    cuts
        All cuts of a graph.
    parts
        How many.
    first_not_larger
        Whether no part may be larger than the one after it, as the paper has it for text.

    Raises
    ------
    PartitionError
        There are too few cuts.
    """
    chosen: list[Cut] = []
    for number in range(1, parts):
        later = [cut for cut in cuts if not chosen or cut.position > chosen[-1].position]
        before = chosen[-1].size_bytes[0] if chosen else 0
        share = 1 / (parts - number + 1)

        def excess(cut: Cut, before: int = before, share: float = share) -> float:
            rest = sum(cut.size_bytes) - before
            return (cut.size_bytes[0] - before) / rest - share if rest else 0.0

        def smaller(cut: Cut, share: float = share) -> float:
            return min((share + excess(cut)) / share, (1 - share - excess(cut)) / (1 - share))

        fitting = [cut for cut in later if excess(cut) <= 0] if first_not_larger else later
        if not fitting:
            kind = ", the first of which is not the larger one, as text has it" if first_not_larger else ""
            raise PartitionError(f"the graph has {len(cuts)} cuts, none of which makes {parts} parts{kind}")
        most_equal = min(fitting, key=lambda cut: abs(excess(cut)))
        near = [
            cut
            for cut in fitting
            if abs(excess(cut)) <= abs(excess(most_equal)) + _NEARLY_EQUAL
            and smaller(cut) >= _LEAST_SHARE * smaller(most_equal)
        ]
        chosen.append(min(near, key=lambda cut: (cut.crossing_bytes, abs(excess(cut)), cut.position)))
    return tuple(chosen)


def predicted_s(
    chosen: Sequence[Cut], stages: Sequence[Stage], wire_ratio: float = 1.0, message_bytes: float = 0.0
) -> float:
    """Latency of a chain: what each tier computes, and what crosses between them.

    Parameters
    ----------
    chosen
        One cut fewer than there are stages, in order.
    stages
        The tiers.
    wire_ratio
        Bytes on the wire for a byte that crosses.
    message_bytes
        Of a request or an answer without its tensors.
    """
    ends = [0, *(cut.position for cut in chosen), len(stages[-1].prefix_s) - 1]
    spans = zip(stages, itertools.pairwise(ends), strict=True)
    compute_s = sum(stage.prefix_s[end] - stage.prefix_s[begin] for stage, (begin, end) in spans)
    exchanges = [
        Exchange(
            LinkShape(stage.rate_bps, stage.delay_s), cut.crossing_bytes * wire_ratio + message_bytes, message_bytes
        )
        for stage, cut in zip(stages, chosen, strict=False)
    ]
    return compute_s + float(round_trip_s(exchanges))


def best(
    cuts: Sequence[Cut], stages: Sequence[Stage], wire_ratio: float = 1.0, message_bytes: float = 0.0
) -> tuple[Cut, ...]:
    """The cuts with the least predicted latency: one fewer than there are stages.

    Parameters
    ----------
    cuts
        All cuts of a graph.
    stages, wire_ratio, message_bytes
        As for `predicted_s`.

    Raises
    ------
    PartitionError
        There are too few cuts.
    """
    chains = itertools.combinations(sorted(cuts, key=lambda cut: cut.position), len(stages) - 1)
    chosen = min(chains, key=lambda chain: predicted_s(chain, stages, wire_ratio, message_bytes), default=None)
    if chosen is None:
        raise PartitionError(f"the graph has {len(cuts)} cuts, which is too few for {len(stages)} tiers")
    return chosen
