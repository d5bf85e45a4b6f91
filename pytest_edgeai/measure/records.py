"""What a trial leaves: its requests with their spans, what was proven, or why it is invalid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.matrix.strategies import PlannedTrial
from pytest_edgeai.measure.energy import Energy
from pytest_edgeai.measure.link_errors import LinkErrors
from pytest_edgeai.tiers.backend import Cause
from pytest_edgeai.tiers.probe import Probe
from pytest_edgeai.wire.timing import SPAN_NAMES

Status: TypeAlias = Literal["valid", "invalid"]


class Unproven(NamedTuple):
    """A limit that was asked of a tier or node and could not be read back."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class TrialInvalid(Exception):  # noqa: N818  # a verdict on a trial, in the words of the design
    """A trial that must not become a number; one sentence.

    Parameters
    ----------
    sentence
        Why.
    cause
        Whose fault it is: that of the host, which may do better at another time, or of what is measured.
    host, reference
        What is known of the host, as `TrialRecord` has it.
    """

    def __init__(
        self,
        sentence: str,
        cause: Cause = "product",
        host: Mapping[str, float | None] | None = None,
        reference: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.cause: Cause = cause
        self.host = host or {}
        self.reference = reference or {}


@dataclass(frozen=True, slots=True)
class MeasuredRequest:
    """One request of a trial.

    Parameters
    ----------
    run
        Its number in the trial, from 0.
    input
        The number of the validation sample that was sent.
    latency_s
        Round trip.
    spans_s
        Seconds by span, and by hop for `transmit` (`transmit mobile-edge`); they add up to the latency.
    slowest
        Of several nodes, the one that was waited for longest, whose spans these are.
    late_s
        By how many seconds the answer came later than held links would have delivered it.
    cpu_s
        CPU time of the computing threads in `compute`, or None where the tiers do not tell it.
    waited_s
        How much of pre-processing and compute passed while they waited for a core, or None.
    computed_s
        `compute` by tier, where a chain of tiers computes.
    crossed_bytes
        By hop, the lengths of the request and of the answer on it, heads included; of hops whose ends tell them.
    instructions
        How many the computing threads retired in `compute`, or None where a tier cannot count them.
    """

    run: int
    input: int
    latency_s: float
    spans_s: Mapping[str, float]
    slowest: str = ""
    late_s: float = 0.0
    cpu_s: float | None = None
    waited_s: float | None = None
    computed_s: Mapping[str, float] = field(default_factory=dict)
    crossed_bytes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    instructions: int | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What a trial leaves: valid with its measurements, or invalid with a reason and none.

    Parameters
    ----------
    trial
        Strategy and replicate.
    status, reason
        The outcome; the reason is empty when valid.
    cause
        `host` or `product` where it is invalid: what is to blame.
    attempt
        How often the trial was measured before, without a valid outcome.
    order
        Its place among all attempts of the session, from 0.
    measurements
        The requests, in order.
    probes
        What link probes found, before the requests.
    link_errors
        By how much the links could have changed these requests; None where they cross none.
    remarks
        What is not as it should be and changes nothing.
    tiers
        What the tiers said of themselves, before and after.
    unproven
        What was asked of tiers and could not be read back, each once.
    load_s
        Seconds until a tier had loaded its models, by tier; only of those that tell.
    cold_start_s
        Seconds of loading and of the first request together; None where a tier does not tell how long it loaded.
    energy
        Of a request, or why that is not known.
    started_at
        Seconds since the epoch.
    duration_s
        Of the whole trial, deployment included.
    host
        Load average, stolen CPU seconds, seconds in which something waited for a core (`pressure_s`), how long and how
        often quotas stopped tiers, cores that others took, and how many requests are marked (`Tolerances.cpu_wait`).
        What is not known is None.
    reference
        Seconds of the fixed computation by tier or node: `cpu_s` and `wall_s`, and the CPU time before and after the
        requests. Empty where servers are not ours.
    """

    trial: PlannedTrial
    status: Status
    reason: str = ""
    cause: str = ""
    attempt: int = 0
    order: int = -1
    measurements: tuple[MeasuredRequest, ...] = ()
    probes: tuple[Probe, ...] = ()
    link_errors: LinkErrors | None = None
    remarks: tuple[str, ...] = ()
    tiers: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    unproven: tuple[Unproven, ...] = ()
    load_s: Mapping[str, float] = field(default_factory=dict)
    cold_start_s: float | None = None
    energy: Energy = field(default_factory=Energy)
    started_at: float = 0.0
    duration_s: float = 0.0
    host: Mapping[str, float | None] = field(default_factory=dict)
    reference: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def latencies_s(self) -> Array:
        """Latencies in order, shape [requests]."""
        return np.array([one.latency_s for one in self.measurements])

    def as_json(self) -> dict[str, Any]:
        """A JSON object; the measurements as columns."""
        document = asdict(self)
        del document["trial"], document["measurements"]
        document["probes"] = [probe.as_json() for probe in self.probes]
        document["unproven"] = list(map(str, self.unproven))
        strategy = self.trial.strategy
        names = _span_columns(self.measurements)
        return {
            "id": self.trial.id,
            "model": strategy.model,
            "operator": strategy.operator,
            "tier": str(strategy.placement),
            "replicate": self.trial.replicate,
            **document,
            "run": [one.run for one in self.measurements],
            "input": [one.input for one in self.measurements],
            "latency_s": [one.latency_s for one in self.measurements],
            "late_s": [one.late_s for one in self.measurements],
            "spans_s": {name: [one.spans_s.get(name) for one in self.measurements] for name in names},
            "cpu_s": [one.cpu_s for one in self.measurements],
            "waited_s": [one.waited_s for one in self.measurements],
            "instructions": [one.instructions for one in self.measurements],
            "computed_s": _columns([one.computed_s for one in self.measurements]),
            "sent_bytes": _columns([_ends(one, 0) for one in self.measurements]),
            "received_bytes": _columns([_ends(one, 1) for one in self.measurements]),
            **({"slowest": [one.slowest for one in self.measurements]} if strategy.placement.nodes > 1 else {}),
        }


def _ends(one: MeasuredRequest, end: int) -> dict[str, int]:
    """By hop, the length of the request (0) or of the answer (1)."""
    return {hop: lengths[end] for hop, lengths in one.crossed_bytes.items()}


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Values of requests by their names, None where a request has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _span_columns(measurements: Sequence[MeasuredRequest]) -> list[str]:
    """Every span that occurs, in the order of a request; hops of `transmit` last."""
    seen = {name for one in measurements for name in one.spans_s}
    hops = [name for name in sorted(seen) if name.startswith("transmit")]
    return [name for name in SPAN_NAMES if name in seen and name != "transmit"] + hops
