"""The trial: one replicate of a strategy, from the first probe to the last.

It proves the limits, warms up, has requests sent one at a time (pytest-benchmark drives them), proves the limits again
and compares every prediction with the local one. What is not proven or not equal makes the trial invalid; an invalid
trial has a reason and no numbers.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.matrix.strategies import PlannedTrial
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.answers import (
    check_nodes,
    check_parity,
    computed_of,
    cpu_of,
    crossed_of,
    crossings_of,
    instructions_of,
    spans_of,
    wait_of,
)
from pytest_edgeai.measure.contention import judge_contention, judge_speed, marked
from pytest_edgeai.measure.energy import EnergyWatch, watch_energy
from pytest_edgeai.measure.host_watch import HostWatch, needed_cores, reference
from pytest_edgeai.measure.link_errors import LinkErrors, estimate_link_errors, judge_link_errors
from pytest_edgeai.measure.records import MeasuredRequest, TrialInvalid, TrialRecord, Unproven
from pytest_edgeai.protocols import Profile, Tolerances
from pytest_edgeai.subjects.examples import Examples
from pytest_edgeai.tiers.backend import Deployment, TierError, TierState
from pytest_edgeai.tiers.probe import Probe, check_concurrent_rate, probe_link
from pytest_edgeai.tiers.specs import Hop, tier_of
from pytest_edgeai.wire.client import Answer, RequestError, Requests

# A clock that differs by more than this from the client's own at every request is not measuring wall time.
_CLOCK_TOLERANCE = 0.1
_CLOCK_TOLERANCE_S = 1e-3


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
class Assignment:
    """What a trial is to do.

    Parameters
    ----------
    trial
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

    trial: PlannedTrial
    model: str
    profile: Profile
    tolerances: Tolerances
    validation: Examples
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
        with watch_energy(before) as energy, deployment.client() as client, _apart_from(deployment.cores):
            watch.mark()
            measurements, first, answers = _send(client, assignment, stopwatch, energy)
            watch.mark()
        references = reference(reference_before, deployment.reference())
        after = deployment.states()
        watch.mark()
    except TierError as error:
        raise TrialInvalid(str(error), error.cause) from None
    except RequestError as error:
        raise TrialInvalid(deployment.diagnose() or str(error)) from None
    foreign = watch.foreign_use(before, after)
    told = (wait_of(answer, one.latency_s) for answer, one in zip(answers, measurements, strict=True))
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
    load_s = {state.tier: sum(state.limits["load_s"].values()) for state in before if "load_s" in state.limits}
    return TrialRecord(
        trial=assignment.trial,
        status="valid",
        measurements=measurements,
        probes=tuple(probes),
        link_errors=link_errors,
        remarks=remarks,
        tiers={now.tier: {"before": then.limits, "after": now.limits} for then, now in zip(before, after, strict=True)},
        unproven=(*(Unproven(state.tier, what) for state in after for what in state.unproven), *unproven),
        load_s=load_s,
        cold_start_s=_cold_start_s(first, load_s, before),
        energy=energy.energy(len(measurements)),
        started_at=started_at,
        duration_s=time.perf_counter() - started,
        host=host,
        reference=references,
    )


def _check_graphs(states: Sequence[TierState], assignment: Assignment) -> list[Unproven]:
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
        if loaded is None and tier_of(state.tier) in assignment.trial.strategy.placement.tiers:
            unproven.append(Unproven(state.tier, "graph files"))
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
    crossings = [crossings_of(answer) for answer in answers]
    errors = estimate_link_errors(crossings, [one.late_s for one in measurements], shapes, probes)
    if errors is None:
        return None, "", ()
    latency_s = float(np.median([one.latency_s for one in measurements]))
    tolerances = assignment.tolerances
    return errors, *judge_link_errors(errors, latency_s, tolerances.link_share, tolerances.link_floor_s, probes)


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


def _cold_start_s(first: Answer, load_s: Mapping[str, float], states: Sequence[TierState]) -> float | None:
    """What loading and the first request take, or None where a tier does not tell how long it loaded."""
    if any(span.name == "load" for span in first.spans):  # each request loads, the first one as well
        return first.latency_s
    return first.latency_s + sum(load_s.values()) if len(load_s) == len(states) else None


def _send(
    client: Requests, assignment: Assignment, stopwatch: Stopwatch, energy: EnergyWatch
) -> tuple[tuple[MeasuredRequest, ...], Answer, tuple[Answer, ...]]:
    """Send all requests; what was measured, the first answer of all, and those that count."""
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

    def arguments() -> tuple[tuple[Mapping[str, Array]], dict[str, Any]]:
        if len(answers) == profile.warmup:
            energy.begin()
        return (next(turn),), {}

    gc.collect(1)  # what the last trial left; all that pytest has piled up takes as long to walk through as a trial
    gc.freeze()  # so that nothing of it is walked through in the middle of a request
    try:
        timed_s = stopwatch(send, arguments, profile.requests, profile.warmup)
        energy.end()
    finally:
        gc.unfreeze()
    every, answers = answers, answers[profile.warmup :]
    if len(timed_s) != profile.requests or len(answers) != profile.requests:
        raise TrialInvalid(f"{len(timed_s)} of {profile.requests} requests were timed")
    _compare_clocks(timed_s, answers)
    measurements = []
    for run, (latency_s, answer) in enumerate(zip(timed_s, answers, strict=True)):
        number = numbers[run % len(numbers)]
        check_nodes(answer)
        check_parity(answer, number, assignment.evaluation, assignment.tolerances)
        spans_s, wait = spans_of(answer, latency_s), wait_of(answer, latency_s)
        waited_s = None if wait is None else wait.waited_s
        measurements.append(
            MeasuredRequest(
                run,
                number,
                latency_s,
                spans_s,
                answer.slowest,
                answer.late_s,
                cpu_of(answer),
                waited_s,
                computed_of(answer),
                crossed_of(answer),
                instructions_of(answer),
            )
        )
    return tuple(measurements), every[0], tuple(answers)


def _compare_clocks(timed_s: Sequence[float], answers: Sequence[Answer]) -> None:
    """The benchmark's timer is a clock; a busy host may stop this process between the two, but not every time."""
    both_s = [(timer_s, answer.latency_s) for timer_s, answer in zip(timed_s, answers, strict=True)]
    timer_s, own_s = min(both_s, key=lambda one: abs(one[0] - one[1]) - _CLOCK_TOLERANCE * one[1])
    if abs(timer_s - own_s) > _CLOCK_TOLERANCE_S + _CLOCK_TOLERANCE * own_s:
        raise TrialInvalid(
            f"the benchmark's timer says {timer_s:.6f} s for requests of {own_s:.6f} s: "
            "leave --benchmark-timer at its default"
        )
