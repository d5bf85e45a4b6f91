"""A session against an earlier one, strategy by strategy: what is worse, better, new, missing or not comparable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.settings import Settings
from pytest_edgeai.subjects.metrics import PERCENT
from pytest_edgeai.verdicts import Outcome, Verdict
from pytest_edgeai.verdicts.apart import judge_apart, window_remarks
from pytest_edgeai.verdicts.artifacts import ArtifactChanges, Limits, artifact_changes
from pytest_edgeai.verdicts.component_changes import ComponentChange
from pytest_edgeai.verdicts.control import control_shifts
from pytest_edgeai.verdicts.regression import LatencyChange, Rule, judge_changes
from pytest_edgeai.versions.recording import RecordedStrategy, Recording


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy.

    Parameters
    ----------
    strategy
        Its id.
    outcome, reasons
        What became of it, and why.
    latency
        The change of its latency, where both sides have trials.
    medians_s
        Median latency before and after, NaN where it was not measured.
    trial_medians_s
        The median latency of each trial before and after, where both sides have trials.
    accuracy_gain, accuracy_unit
        By how much the first metric got better (below 0: worse), in its unit; None where it is not known on both
        sides.
    size, memory
        Relative growth of the artifact and of peak memory; None likewise.
    same
        Whether both versions have one artifact, byte for byte, so that it was measured once.
    control
        Relative change of the reference computation on its tiers; None where it was not measured in both sessions.
    tolerated
        Whether it does not fail although it is not green.
    components
        What became of its components, where a window of sessions was judged by.
    spread
        Standard deviation between these sessions of the logarithm of compute, by measure.
    """

    strategy: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    latency: LatencyChange | None = None
    medians_s: tuple[float, float] = (float("nan"), float("nan"))
    accuracy_gain: float | None = None
    accuracy_unit: str = PERCENT
    size: float | None = None
    memory: float | None = None
    same: bool = False
    control: float | None = None
    tolerated: bool = False
    trial_medians_s: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    components: tuple[ComponentChange, ...] = ()
    spread: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The outcome with its reasons in one sentence."""
        return Verdict(self.outcome, "; ".join(self.reasons), self.tolerated)

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        medians = [value if np.isfinite(value) else None for value in self.medians_s]
        return {
            "strategy": self.strategy,
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            "median_s": medians,
            "trial_medians_s": [list(side) for side in self.trial_medians_s],
            "latency": None if self.latency is None else self.latency.as_json(),
            "accuracy_gain": self.accuracy_gain,
            "accuracy_unit": self.accuracy_unit,
            "size": self.size,
            "memory": self.memory,
            "same_artifact": self.same,
            "reference": self.control,
            "fails": self.verdict.fails,
            "components": [one.as_json() for one in self.components],
            "spread": dict(self.spread),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All strategies of two sessions.

    Parameters
    ----------
    before, after
        What the sessions are called.
    rows
        In the order of the later session, then those that are missing in it.
    differences
        What the sessions do not have in common; then nothing is comparable.
    remarks
        Sentences about the comparison as a whole.
    window
        The earlier sessions by whose spread it was judged, the oldest first; empty where it was not.
    compute_by
        The measure by which compute was judged in that case.
    """

    before: str
    after: str
    rows: tuple[Row, ...]
    differences: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    window: tuple[str, ...] = ()
    compute_by: str = ""

    @property
    def green(self) -> bool:
        """Whether there is something to compare and all of it is green."""
        return bool(self.rows) and all(row.verdict.green for row in self.rows)

    @property
    def fails(self) -> bool:
        """Whether it ends with exit code 1: what is not green fails, unless it is tolerated."""
        return not self.rows or any(row.verdict.fails for row in self.rows)

    def count(self, outcome: Outcome) -> int:
        """How many strategies have an outcome."""
        return sum(row.outcome == outcome for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "before": self.before,
            "after": self.after,
            "green": self.green,
            "fails": self.fails,
            "differences": list(self.differences),
            "remarks": list(self.remarks),
            "window": list(self.window),
            "compute_by": self.compute_by or None,
            "strategies": [row.as_json() for row in self.rows],
        }


def rules(settings: Settings) -> tuple[Rule, Limits]:
    """What counts as worse, from the settings."""
    gate = settings.gate
    return (
        Rule(settings.alpha, settings.p_adjust, gate.min_change, gate.must_see, gate.trial_spread, gate.session_spread),
        Limits(
            gate.accuracy_drop_pp, gate.metric_drop, gate.size_growth, gate.memory_growth, gate.inconclusive == "fail"
        ),
    )


def compare(
    before: Recording,
    after: Recording,
    rule: Rule,
    limits: Limits,
    *,
    together: bool = False,
    with_servers: bool = False,
) -> Comparison:
    """Compare two sessions.

    Parameters
    ----------
    before, after
        The earlier and the later version; where sessions before the earlier one are known, they tell the spread.
    rule, limits
        What counts as worse.
    together
        Whether both were measured in one session, trial by trial.
    with_servers
        Whether each of them then ran on servers and tiers of its own.
    """
    unlike = tuple(_differences(before.conditions, after.conditions))
    differences = () if together else unlike
    common = [name for name in after.strategies if name in before.strategies]
    usable = [name for name in common if not differences and _why_unusable(name, before, after) is None]
    same = [name for name in usable if before.strategies[name].same]
    sides = {
        name: _sides(before.strategies[name], after.strategies[name], together=together)
        for name in usable
        if name not in same
    }
    alike = [after.strategies[name].latencies_s for name in same]
    controls = {} if together else control_shifts(before.strategies, after.strategies)
    earlier = () if together else tuple(one for one in before.earlier if one.conditions == after.conditions)
    apart = judge_apart([*earlier, before], after, tuple(sides), rule)
    rest = {name: both for name, both in sides.items() if name not in apart.changes}
    changes = judge_changes(rest, rule, together=together, lending=alike, controls=controls) if rest else {}
    changes.update(apart.changes)
    shared = _shared_code(before, after, with_servers=with_servers) if together else ""
    rows = []
    for name in after.strategies:
        if name in changes:
            row = _row(name, before, after, changes[name], limits)
            control = math.expm1(controls[name]) if name in controls else None
            components, spread = apart.components.get(name, ()), apart.spreads.get(name, {})
            rows.append(replace(row, control=control, components=components, spread=spread))
        elif name in same:
            rows.append(_same_row(name, before, after, limits, shared))
        elif name not in before.strategies:
            rows.append(Row(name, "new", (f"{before.label} does not have it",)))
        elif differences:
            rows.append(Row(name, "incomparable", differences))
        else:
            outcome, reason = _why_unusable(name, before, after) or ("invalid", "it has no trials")
            found = ArtifactChanges()
            if outcome == "invalid":  # what is known without its trials
                found = artifact_changes(name, before, after, limits)
            reasons = (reason, *found.worse, *found.unknown)
            rows.append(
                Row(
                    name,
                    outcome,
                    reasons,
                    accuracy_gain=found.accuracy_gain,
                    accuracy_unit=found.accuracy_unit,
                    size=found.size,
                )
            )
    rows += [
        Row(name, "missing", (f"{before.label} has it, and {after.label} does not",))
        for name in before.strategies
        if name not in after.strategies
    ]
    remarks = [*before.remarks, *after.remarks]
    if with_servers:
        remarks += [f"outside the artifacts, {sentence}" for sentence in unlike]
    if shared and changes:
        remarks.append(shared)
    if not together and changes and len(controls) < len(changes):
        remarks.append(
            f"the reference computation was not measured in both sessions for {len(changes.keys() - controls.keys())} "
            "of the strategies: a change of the machine cannot be told from one of the code there"
        )
    if before.earlier and sides:
        remarks += window_remarks(before, after, apart, len(earlier) + 1, len(rest))
    window = tuple(one.label for one in (*earlier, before)) if apart.changes else ()
    return Comparison(before.label, after.label, tuple(rows), differences, tuple(remarks), window, apart.measure)


def _shared_code(before: Recording, after: Recording, *, with_servers: bool) -> str:
    """What to say where the versions would not be measured by the same code; empty where they would."""
    if before.code and before.code == after.code:
        return ""
    if with_servers:
        return (
            "the code that starts servers and sends requests differs between the versions and only that of "
            f"{after.label} ran, so that what it costs is not compared"
        )
    return (
        f"the code that measures (pytest_edgeai itself) differs between the versions and only that of {after.label} "
        "ran, so that what it costs is not compared: save a session at each version and compare them by edgeai compare"
    )


def _sides(was: RecordedStrategy, now: RecordedStrategy, *, together: bool) -> tuple[Array, Array]:
    """Latencies before and after; of one session only trials whose neighbour is valid, too."""
    shared = set(was.places) & set(now.places)
    if not together or not shared:
        return was.latencies_s, now.latencies_s
    both = [one.latencies_s[[place in shared for place in one.places]] for one in (was, now)]
    return both[0], both[1]


def _why_unusable(name: str, before: Recording, after: Recording) -> tuple[Outcome, str] | None:
    was = before.strategies[name]
    if was.failure:
        return "incomparable", f"{before.label} {was.failure}"
    for side in (after,) if was.same else (after, before):
        invalid = side.strategies[name].invalid
        if invalid:
            return (
                "invalid",
                f"{len(invalid)} of its trials in {side.label} are invalid, the first because {invalid[0]}",
            )
        if not len(side.strategies[name].latencies_s):
            return "invalid", f"it has no trials in {side.label}"
    if not was.same and was.inputs != after.strategies[name].inputs:
        return "incomparable", "other samples were sent"
    return None


def _same_row(name: str, before: Recording, after: Recording, limits: Limits, shared: str) -> Row:
    """Of a strategy that was measured once, because both versions have one artifact."""
    found = artifact_changes(name, before, after, limits)
    outcome: Outcome = "pass"
    reasons = found.worse
    if found.worse:
        outcome = "regression"
    elif found.unknown:
        outcome, reasons = "incomparable", found.unknown
    elif shared:
        outcome, reasons = "inconclusive", (shared,)
    tolerated = outcome == "inconclusive" and not limits.inconclusive_fails
    medians_s = (math.nan, float(np.median(after.strategies[name].latencies_s)))
    return Row(
        name,
        outcome,
        reasons,
        None,
        medians_s,
        found.accuracy_gain,
        found.accuracy_unit,
        found.size,
        same=True,
        tolerated=tolerated,
    )


def _row(name: str, before: Recording, after: Recording, change: LatencyChange, limits: Limits) -> Row:
    was, now = before.strategies[name], after.strategies[name]
    found = artifact_changes(name, before, after, limits)
    worse = [f"{change.subject} {change.reason}"] if change.outcome == "regression" else []
    worse += found.worse
    memory = _growth(was, now)
    if memory is not None and memory > limits.memory_growth:
        worse.append(f"peak memory grew by {memory:.1%} (limit {limits.memory_growth:.0%})")
    outcome: Outcome
    if found.unknown:
        outcome, reasons = "incomparable", [*found.unknown, *worse]
    elif worse:
        outcome, reasons = "regression", worse
    else:
        outcome, reasons = change.outcome, [f"{change.subject} {change.reason}"] if change.reason else []
    tolerated = outcome == "inconclusive" and not (limits.inconclusive_fails and change.slower)
    medians_s = (float(np.median(was.latencies_s)), float(np.median(now.latencies_s)))
    return Row(
        name,
        outcome,
        tuple(reasons),
        change,
        medians_s,
        found.accuracy_gain,
        found.accuracy_unit,
        found.size,
        memory,
        tolerated=tolerated,
        trial_medians_s=(_trial_medians(was), _trial_medians(now)),
    )


def _trial_medians(side: RecordedStrategy) -> tuple[float, ...]:
    return tuple(float(np.median(trial)) for trial in side.latencies_s)


def _growth(was: RecordedStrategy, now: RecordedStrategy) -> float | None:
    if not was.peak_memory_bytes or not now.peak_memory_bytes:
        return None
    return float(np.median(now.peak_memory_bytes) / np.median(was.peak_memory_bytes) - 1)


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """A sentence for each condition that is not the same."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*was, *now)):
            yield from _differences(was.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif was != now:
        yield f"{name} was {was} and is {now}"
