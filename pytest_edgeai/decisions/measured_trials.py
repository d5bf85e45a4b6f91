"""What the trials of a report tell a prediction: requests by tier and by link, and what the host itself takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError


class PredictionError(EdgeAIError, ValueError):
    """Something that cannot be known from what was measured; one sentence."""


@dataclass(frozen=True, slots=True)
class MeasuredTrial:
    """A valid trial.

    Parameters
    ----------
    latency_s
        Of each request, shape [requests].
    computed_s
        Compute of each request, by tier.
    sent_bytes, received_bytes
        Of each request and answer, by hop, in the order in which requests cross them.
    scales
        The compute scale of each tier that computed.
    """

    latency_s: Array
    computed_s: Mapping[str, Array]
    sent_bytes: Mapping[str, Array]
    received_bytes: Mapping[str, Array]
    scales: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HostTime:
    """What the host takes to deliver a message where no link slows it, as a line over its length.

    Parameters
    ----------
    fixed_s, s_per_byte
        The line.
    error_s
        By how much probes of the link differ from the larger of this and the link's own time: nine of ten by less.
    """

    fixed_s: float = 0.0
    s_per_byte: float = 0.0
    error_s: float = 0.0

    def of(self, size_bytes: Array) -> Array:
        """Seconds for messages of some lengths."""
        return self.fixed_s + self.s_per_byte * size_bytes


@dataclass(frozen=True, slots=True)
class HostTimes:
    """The same for the requests and the answers of a hop."""

    up: HostTime = HostTime()
    down: HostTime = HostTime()


def measured_trials(
    strategy: Mapping[str, Any], trials: Iterable[Mapping[str, Any]], origin: str
) -> tuple[MeasuredTrial, ...]:
    """The valid trials of a strategy.

    Parameters
    ----------
    strategy, trials
        As `results.json` has them; trials of other strategies are left out.
    origin
        The tier at which requests begin.

    Raises
    ------
    PredictionError
        The hops that they cross do not tell the lengths of messages.
    """
    key = (strategy["model"], strategy["operator"], strategy["tier"])
    ours = [one for one in trials if (one["model"], one["operator"], one["tier"]) == key and one["status"] == "valid"]
    return tuple(_trial(one, strategy["id"], origin) for one in ours if one["latency_s"])


def _trial(trial: Mapping[str, Any], strategy: str, origin: str) -> MeasuredTrial:
    crossed = {name.partition(" ")[2] for name in trial["spans_s"] if name.startswith("transmit ")}
    lengths = trial["sent_bytes"].keys() & trial["received_bytes"].keys()
    told = {hop for hop in lengths if None not in (*trial["sent_bytes"][hop], *trial["received_bytes"][hop])}
    if not crossed <= told or "exchange" in trial["spans_s"]:
        raise PredictionError(
            f"{strategy} cannot be predicted: a server on its way does not tell how long messages were on the links"
        )
    hops = _in_order(crossed, origin)
    return MeasuredTrial(
        np.array(trial["latency_s"], dtype=float),
        {tier: np.array(values, dtype=float) for tier, values in trial["computed_s"].items()},
        {hop: np.array(trial["sent_bytes"][hop], dtype=float) for hop in hops},
        {hop: np.array(trial["received_bytes"][hop], dtype=float) for hop in hops},
        {
            place.partition("[")[0]: state["after"]["compute_scale"]
            for place, state in trial["tiers"].items()
            if state["after"].get("compute_scale") is not None
        },
    )


def _in_order(hops: Iterable[str], origin: str) -> list[str]:
    """Hops in the order in which a request crosses them."""
    left, ordered, here = {hop.split("-")[0]: hop for hop in hops}, list[str](), origin
    while here in left:
        hop = left.pop(here)
        ordered.append(hop)
        here = hop.split("-")[1]
    return ordered


def host_times(trials: Iterable[Mapping[str, Any]]) -> dict[str, HostTimes]:
    """What the host takes on each hop, from the probes of all valid trials of a session.

    Parameters
    ----------
    trials
        As `results.json` has them.
    """
    probes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for trial in trials:
        for probe in trial["probes"] if trial["status"] == "valid" else ():
            near, far = (place.partition("[")[0] for place in probe["link"].split("-"))
            probes.setdefault((f"{near}-{far}", probe["direction"]), []).append(probe)
    hops = dict.fromkeys(hop for hop, _ in probes)
    return {
        hop: HostTimes(_host_time(probes.get((hop, "up"), ())), _host_time(probes.get((hop, "down"), ())))
        for hop in hops
    }


def _host_time(probes: Sequence[Mapping[str, Any]]) -> HostTime:
    """Half of the exchange with the small message is the other direction's."""
    if not probes:
        return HostTime()
    (small, small_s), (large, large_s) = (
        (
            np.median([probe[size]["size_bytes"] for probe in probes]),
            np.median([probe[size]["host_s"] for probe in probes]),
        )
        for size in ("small", "large")
    )
    slope = max(0.0, float((large_s - small_s) / (large - small))) if large > small else 0.0
    errors_s = [
        abs(probe[size]["took_s"] - max(probe[size]["ideal_s"], float(host_s)))
        for probe in probes
        for size, host_s in (("small", small_s), ("large", large_s))
    ]
    return HostTime(max(0.0, float(small_s) / 2 - slope * float(small)), slope, float(np.percentile(errors_s, 90)))
