"""How long the trials of a session take, computed from what one request costs and from the tiers. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_edgeai.tiers.probe import probing_s
from pytest_edgeai.tiers.specs import Hop

SERVER_S: Final[Mapping[str, float]] = {"process": 0.3, "docker": 0.5}
"""What it takes to start a server of a tier and to end it, by backend (`benchmarks/README.md`)."""
_HEAD_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class RequestCost:
    """What one request of a model costs where its links and tiers cost nothing.

    Parameters
    ----------
    compute_s, load_s
        Seconds to answer it, and to load the model, on this host without limits.
    sent_bytes, received_bytes
        Lengths of the request's body and of the answer's.
    """

    compute_s: float
    load_s: float = 0.0
    sent_bytes: float = 0.0
    received_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionTime:
    """Seconds, by what they are spent on.

    Parameters
    ----------
    computing_s
        Requests on tiers, stretch included.
    crossing_s
        Requests and answers on links.
    probing_s
        Probes of links.
    starting_s
        Starting and ending tiers, and loading models.
    """

    computing_s: float = 0.0
    crossing_s: float = 0.0
    probing_s: float = 0.0
    starting_s: float = 0.0

    @property
    def total_s(self) -> float:
        """The sum."""
        return self.computing_s + self.crossing_s + self.probing_s + self.starting_s

    def __add__(self, other: SessionTime) -> SessionTime:
        return SessionTime(
            self.computing_s + other.computing_s,
            self.crossing_s + other.crossing_s,
            self.probing_s + other.probing_s,
            self.starting_s + other.starting_s,
        )

    def times(self, count: int) -> SessionTime:
        """As long as so many alike take."""
        return SessionTime(
            self.computing_s * count, self.crossing_s * count, self.probing_s * count, self.starting_s * count
        )

    def sentence(self) -> str:
        """The whole, and what it is made up of."""
        parts = (
            (self.computing_s, "computing"),
            (self.crossing_s, "crossing links"),
            (self.probing_s, "probing links"),
            (self.starting_s, "starting tiers"),
        )
        return f"{duration(self.total_s)} ({' + '.join(f'{duration(seconds)} {what}' for seconds, what in parts)})"


def trial_time(
    cost: RequestCost,
    *,
    requests: int,
    probe_s: float,
    loads_each: bool,
    hops: Sequence[Hop],
    scale: float,
    servers: int,
    server_s: float,
) -> SessionTime:
    """How long one trial takes.

    Parameters
    ----------
    cost
        Of each request.
    requests
        How many there are, warm-up included.
    probe_s
        How long the larger message of a probe takes.
    loads_each
        Whether the model is loaded for every request.
    hops
        The links that a request crosses; the tensors between the parts of an artifact count as long as its inputs.
    scale
        The factor by which compute is stretched.
    servers
        How many are started.
    server_s
        What each takes to start and to end.
    """
    loads_s = cost.load_s * (requests if loads_each else 1)
    sent_bytes, received_bytes = cost.sent_bytes + _HEAD_BYTES, cost.received_bytes + _HEAD_BYTES
    one_s = sum(hop.link.shape.ideal_s(sent_bytes) + hop.link.shape.ideal_s(received_bytes) for hop in hops)
    return SessionTime(
        computing_s=cost.compute_s * scale * requests,
        crossing_s=one_s * requests,
        probing_s=sum(probing_s(hop.link.shape, probe_s) for hop in hops),
        starting_s=servers * server_s + loads_s,
    )


def duration(seconds: float) -> str:
    """Seconds as people write them: `0.4 s`, `12 s`, `3:05 min`, `2:10 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    whole, unit = (round(seconds), "min") if seconds < 3600 else (round(seconds / 60), "h")
    return f"{whole // 60}:{whole % 60:02} {unit}"
