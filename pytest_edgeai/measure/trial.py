"""The trial: one replicate of a strategy, from the first probe to the last, and the record it leaves.

It proves the limits, warms up, has requests sent one at a time (pytest-benchmark drives them), proves the limits again
and compares every prediction with the local one. What is not proven or not equal makes the trial invalid; an invalid
trial has a reason and no numbers.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.matrix.strategies import PlannedTrial
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.contention import Wait, judge_contention, judge_speed, marked
from pytest_edgeai.measure.host_watch import HostWatch, needed_cores, reference
from pytest_edgeai.measure.link_errors import Crossing, LinkErrors, estimate_link_errors, judge_link_errors
from pytest_edgeai.protocols import Profile, Tolerances
from pytest_edgeai.subjects.samples import Samples
from pytest_edgeai.tiers.backend import Cause, Deployment, TierError, TierState
from pytest_edgeai.tiers.probe import Probe, check_concurrent_rate, probe_link
from pytest_edgeai.tiers.specs import Hop, tier_of
from pytest_edgeai.wire.client import Answer, RequestError, Requests
from pytest_edgeai.wire.timing import SPAN_NAMES, Span

Status: TypeAlias = Literal["valid", "invalid"]
# A clock that differs by more than this from the client's own at every request is not measuring wall time.
_CLOCK_TOLERANCE = 0.1
_CLOCK_TOLERANCE_S = 1e-3
_NODE = re.compile(r"\[[0-9]+\]")


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


class Stopwatch(Protocol):
    """What drives and times the requests: pytest-benchmark's fixture in pedantic mode."""

    def __call__(
        self,
        send: Callable[[Mapping[str, Array]], Answer],
        arguments: Callable[[], tuple[tuple[Mapping[str, Array]], dict[str, Any]]],
        rounds: int,
        warmup_rounds: int,
    ) -> Sequence[float]:
        """Call `send` with fresh arguments for each round; the seconds of each measured round."""


@dataclass(frozen=True, slots=True)
class MeasuredRequest:
    """One request of a trial: a sample in the words of the design.

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
    """

    run: int
    input: int
    latency_s: float
    spans_s: Mapping[str, float]
    slowest: str = ""
    late_s: float = 0.0
    cpu_s: float | None = None
    waited_s: float | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What a trial leaves: valid with its measurements, or invalid with a reason and none.

    Parameters
    ----------
    cell
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
        What was asked of the tiers and could not be read back.
    load_s
        Seconds until a tier had loaded its models, by tier; only of those that tell.
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

    cell: PlannedTrial
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
    unproven: tuple[str, ...] = ()
    load_s: Mapping[str, float] = field(default_factory=dict)
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
        del document["cell"], document["measurements"]
        document["probes"] = [probe.as_json() for probe in self.probes]
        strategy = self.cell.strategy
        names = _span_columns(self.measurements)
        return {
            "id": self.cell.id,
            "model": strategy.model,
            "operator": strategy.operator,
            "tier": str(strategy.placement),
            "replicate": self.cell.replicate,
            **document,
            "run": [one.run for one in self.measurements],
            "input": [one.input for one in self.measurements],
            "latency_s": [one.latency_s for one in self.measurements],
            "late_s": [one.late_s for one in self.measurements],
            "spans_s": {name: [one.spans_s.get(name) for one in self.measurements] for name in names},
            "cpu_s": [one.cpu_s for one in self.measurements],
            "waited_s": [one.waited_s for one in self.measurements],
            **({"slowest": [one.slowest for one in self.measurements]} if strategy.placement.nodes > 1 else {}),
        }


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a trial is to do.

    Parameters
    ----------
    cell
        Strategy and replicate.
    model
        The model's name on its tier.
    profile, tolerances
        How much is measured and what is within tolerance.
    validation
        The samples of which the largest are sent.
    evaluation
        The local predictions to compare with.
    graphs
        SHA-256 of the files of each of the artifact's graphs, by name.
    references
        What the reference took in the session's other trials so far, by tier (`contention.slower_references`).
    """

    cell: PlannedTrial
    model: str
    profile: Profile
    tolerances: Tolerances
    validation: Samples
    evaluation: Evaluation
    graphs: Sequence[Mapping[str, str]]
    references: Mapping[str, Sequence[float]] = field(default_factory=dict)


def run_trial(deployment: Deployment, assignment: Assignment, stopwatch: Stopwatch, started: float) -> TrialRecord:
    """Measure one trial.

    Parameters
    ----------
    deployment
        Fresh, of the assignment's artifact and placement.
    assignment
        What to do.
    stopwatch
        Drives and times the requests.
    started
        `time.perf_counter` when the deployment was begun.

    Returns
    -------
    TrialRecord
        Valid.

    Raises
    ------
    TrialInvalid
        Something was not proven, or a request failed.
    """
    started_at = time.time() - (time.perf_counter() - started)
    watch = HostWatch()
    try:
        before = deployment.states()
        unproven = _check_graphs(before, assignment)
        reference_before = deployment.reference()
        probes = _probe(deployment, assignment)
        with deployment.client() as client, _apart_from(deployment.cores):
            watch.mark()
            measurements, answers = _send(client, assignment, stopwatch)
            watch.mark()
        references = reference(reference_before, deployment.reference())
        after = deployment.states()
        watch.mark()
    except TierError as error:
        raise TrialInvalid(str(error), error.cause) from None
    except RequestError as error:
        raise TrialInvalid(deployment.diagnose() or str(error)) from None
    foreign = watch.foreign_use(before, after)
    told = (_wait(answer, one.latency_s) for answer, one in zip(answers, measurements, strict=True))
    waits = [wait for wait in told if wait is not None]
    host = {
        **watch.record(before, after),
        "foreign_cores": None if foreign is None else foreign.cores,
        "marked_requests": marked(waits, assignment.tolerances) if waits else None,
    }
    busy = judge_contention(waits, foreign, needed_cores(after), host["load_average"] or 0.0, assignment.tolerances)
    spoiled = busy or judge_speed(references, assignment.references, assignment.tolerances.slow_host)
    link_errors, wrong_links, remarks = _judge_links(deployment, assignment, measurements, answers, probes)
    if spoiled or wrong_links:
        raise TrialInvalid(spoiled or wrong_links, "host", host, references)
    return TrialRecord(
        cell=assignment.cell,
        status="valid",
        measurements=measurements,
        probes=tuple(probes),
        link_errors=link_errors,
        remarks=remarks,
        tiers={now.tier: {"before": then.limits, "after": now.limits} for then, now in zip(before, after, strict=True)},
        unproven=(*(f"{state.tier}: {what}" for state in after for what in state.unproven), *unproven),
        load_s={state.tier: sum(state.limits["load_s"].values()) for state in before if "load_s" in state.limits},
        started_at=started_at,
        duration_s=time.perf_counter() - started,
        host=host,
        reference=references,
    )


def _check_graphs(states: Sequence[TierState], assignment: Assignment) -> list[str]:
    """Every tier that computes has loaded the artifact's own files; those that do not say what they loaded."""
    unproven = []
    for state in states:
        loaded = state.limits.get("digests", {}).get(assignment.model)
        if loaded is not None and loaded not in assignment.graphs:
            told = ", ".join(f"{name} {digest[:12]}" for name, digest in loaded.items())
            raise TrialInvalid(
                f"tier {state.tier} has loaded files of {assignment.model} other than the artifact's (SHA-256 {told}): "
                "they were changed meanwhile, or are of another build"
            )
        if loaded is None and tier_of(state.tier) in assignment.cell.strategy.placement.tiers:
            unproven.append(f"{state.tier}: graph files")
    return unproven


def _probe(deployment: Deployment, assignment: Assignment) -> list[Probe]:
    """Probe every link that requests cross."""
    probes: list[Probe] = []
    for hop in deployment.hops:
        lines = deployment.probe(hop)
        if lines is not None:
            with lines:
                probes += probe_link(lines, hop, assignment.profile.probe_s)
    _check_concurrent_rates(deployment, assignment)
    return probes


def _judge_links(
    deployment: Deployment,
    assignment: Assignment,
    measurements: Sequence[MeasuredRequest],
    answers: Iterable[Answer],
    probes: Sequence[Probe],
) -> tuple[LinkErrors | None, str, tuple[str, ...]]:
    """What links did to the requests, why that makes the trial invalid, and remarks about it."""
    shapes = {hop.name: hop.link.shape for hop in deployment.hops}
    crossings = [_crossings(answer) for answer in answers]
    errors = estimate_link_errors(crossings, [one.late_s for one in measurements], shapes, probes)
    if errors is None:
        return None, "", ()
    latency_s = float(np.median([one.latency_s for one in measurements]))
    return errors, *judge_link_errors(errors, latency_s, assignment.tolerances.link_share, probes)


@contextlib.contextmanager
def _apart_from(cores: frozenset[int]) -> Iterator[None]:
    """Keep the thread that sends off the cores on which tiers compute, where there are others."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    if not cores or cores >= allowed:
        yield
        return
    os.sched_setaffinity(0, allowed - cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _check_concurrent_rates(deployment: Deployment, assignment: Assignment) -> None:
    """Prove that links to several nodes have their rate when requests cross them at the same time."""
    alike: dict[str, list[Hop]] = {}
    for hop in deployment.hops:
        alike.setdefault(hop.tiers, []).append(hop)
    size_bytes = int(assignment.validation.sizes_bytes.max())
    for link, hops in alike.items():
        if len(hops) == 1:
            continue
        with ExitStack() as stack:
            lines = [stack.enter_context(lines) for lines in map(deployment.probe, hops) if lines is not None]
            sentence = check_concurrent_rate([one.link for one in lines], link, size_bytes) if lines else None
        if sentence is not None:
            raise TrialInvalid(sentence, cause="host")


def _send(
    client: Requests, assignment: Assignment, stopwatch: Stopwatch
) -> tuple[tuple[MeasuredRequest, ...], tuple[Answer, ...]]:
    """Send all requests; what was measured, and the answers."""
    profile = assignment.profile
    numbers = assignment.validation.largest(profile.inputs)
    if len(numbers) < profile.inputs:
        raise TrialInvalid(f"the profile sends {profile.inputs} inputs, but there are {len(numbers)} samples")
    inputs = [assignment.validation[number].inputs for number in numbers]
    turn: Iterator[Mapping[str, Array]] = itertools.chain(
        itertools.islice(itertools.cycle(inputs), profile.warmup), itertools.cycle(inputs)
    )
    answers: list[Answer] = []

    def send(tensors: Mapping[str, Array]) -> Answer:
        answer = client.infer(assignment.model, tensors)
        answers.append(answer)
        return answer

    gc.collect()
    gc.freeze()  # what pytest has piled up is not worth walking through in the middle of a request
    try:
        timed_s = stopwatch(send, lambda: ((next(turn),), {}), profile.requests, profile.warmup)
    finally:
        gc.unfreeze()
    answers = answers[profile.warmup :]
    if len(timed_s) != profile.requests or len(answers) != profile.requests:
        raise TrialInvalid(f"{len(timed_s)} of {profile.requests} requests were timed")
    _compare_clocks(timed_s, answers)
    measurements = []
    for run, (latency_s, answer) in enumerate(zip(timed_s, answers, strict=True)):
        number = numbers[run % len(numbers)]
        _check_nodes(answer)
        _compare(answer, number, assignment)
        spans_s, wait = _spans(answer, latency_s), _wait(answer, latency_s)
        waited_s = None if wait is None else wait.waited_s
        measurements.append(
            MeasuredRequest(run, number, latency_s, spans_s, answer.slowest, answer.late_s, _cpu_s(answer), waited_s)
        )
    return tuple(measurements), tuple(answers)


def _crossings(answer: Answer) -> list[Crossing]:
    """The hops of a request whose lengths are told."""
    return [
        Crossing(span.place, span.duration_s, span.sent_bytes, span.received_bytes)
        for span in answer.spans
        if span.sent_bytes is not None and span.received_bytes is not None
    ]


def _compare_clocks(timed_s: Sequence[float], answers: Sequence[Answer]) -> None:
    """The benchmark's timer is a clock; a busy host may stop this process between the two, but not every time."""
    both_s = [(timer_s, answer.latency_s) for timer_s, answer in zip(timed_s, answers, strict=True)]
    timer_s, own_s = min(both_s, key=lambda one: abs(one[0] - one[1]) - _CLOCK_TOLERANCE * one[1])
    if abs(timer_s - own_s) > _CLOCK_TOLERANCE_S + _CLOCK_TOLERANCE * own_s:
        raise TrialInvalid(
            f"the benchmark's timer says {timer_s:.6f} s for requests of {own_s:.6f} s: "
            "leave --benchmark-timer at its default"
        )


def _spans(answer: Answer, latency_s: float) -> dict[str, float]:
    """Seconds by span; what the benchmark's timer saw more than the client is transmission, too."""
    spans: dict[str, float] = {}
    for span in answer.spans:
        name = _column(span)
        spans[name] = spans.get(name, 0.0) + span.duration_s
    spans[_column(answer.spans[-1])] += latency_s - answer.latency_s
    return spans


def _cpu_s(answer: Answer) -> float | None:
    """CPU time of all that was computed, where every tier that did tells it."""
    told = [span.cpu_s for span in answer.spans if span.name == "compute"]
    known = [one for one in told if one is not None]
    return sum(known) if known and len(known) == len(told) else None


def _wait(answer: Answer, latency_s: float) -> Wait | None:
    """What a request waited for cores; None where no tier tells it."""
    known = [(span, span.waited_s) for span in answer.spans if span.waited_s is not None]
    if not known:
        return None
    stretch_s = {span.place: span.duration_s for span in answer.spans if span.name == "stretch"}
    effects_s = [
        waited_s * (1 + stretch_s.get(span.place, 0.0) / span.duration_s) if span.name == "compute" else waited_s
        for span, waited_s in known
        if span.duration_s > 0
    ]
    computed_s, waited_s = sum(span.duration_s for span, _ in known), sum(one for _, one in known)
    return Wait(latency_s, computed_s, waited_s, sum(effects_s))


def _column(span: Span) -> str:
    """The name of a span in a record, which is the same whichever node it is of."""
    return f"transmit {_NODE.sub('', span.place)}".rstrip() if span.name == "transmit" else span.name


def _check_nodes(answer: Answer) -> None:
    """Every node has answered, and computed when it was to."""
    for node, reason in answer.missing.items():
        raise TrialInvalid(f"node {node} is missing from an answer: {reason}")
    for span in answer.spans:
        if span.name == "wait":
            raise TrialInvalid(
                f"node {span.place} waited {span.duration_s * 1e3:.3g} ms longer for its turn on a core that nodes "
                "share than the stretch of its compute allows: raise the compute_scale of every tier alike "
                "(topology.tiers.*.compute_scale), or measure on a host with more cores"
            )


def _compare(answer: Answer, number: int, assignment: Assignment) -> None:
    """Parity: a prediction through the tiers equals the local one."""
    local = assignment.evaluation
    try:
        labels, scores = answer.outputs["labels"][0], answer.outputs["scores"][0]
    except (KeyError, IndexError):
        raise TrialInvalid("the answer has no labels and scores: the tier serves another model") from None
    expected, expected_scores = local.ranked[number], local.scores[number]
    tolerance = assignment.tolerances.score
    differ = np.abs(scores - expected_scores).max() if scores.shape == expected_scores.shape else np.inf
    # Two classes with equal scores may change places.
    tie = len(expected_scores) > 1 and expected_scores[0] - expected_scores[1] <= tolerance
    if not differ <= tolerance or (labels[0] != expected[0] and not tie):
        raise TrialInvalid(
            f"parity: sample {number} gets label {labels[0]} with score {scores[0]:.4f} through the tiers, but "
            f"{expected[0]} with {expected_scores[0]:.4f} locally"
        )


def _span_columns(measurements: Sequence[MeasuredRequest]) -> list[str]:
    """Every span that occurs, in the order of a request; hops of `transmit` last."""
    seen = {name for one in measurements for name in one.spans_s}
    hops = [name for name in sorted(seen) if name.startswith("transmit")]
    return [name for name in SPAN_NAMES if name in seen and name != "transmit"] + hops
