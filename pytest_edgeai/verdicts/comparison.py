"""A session against an earlier one, strategy by strategy: what is worse, better, new, missing or not comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from pytest_edgeai.recording import RecordedArtifact, RecordedStrategy, Recording
from pytest_edgeai.settings import Settings
from pytest_edgeai.verdicts.regression import LatencyChange, Rule, judge_changes

GateOutcome: TypeAlias = Literal[
    "pass", "improvement", "new", "inconclusive", "regression", "missing", "incomparable", "invalid"
]
GREEN: frozenset[GateOutcome] = frozenset(("pass", "improvement", "new", "inconclusive"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as worse beside latency.

    Parameters
    ----------
    accuracy_drop_pp
        The largest drop of the model's first metric, in percentage points.
    size_growth, memory_growth
        The largest relative growth of an artifact, and of the peak memory of its server.
    """

    accuracy_drop_pp: float = 0.5
    size_growth: float = 0.02
    memory_growth: float = 0.10


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
        Median latency before and after, NaN where there is none.
    accuracy_pp, size, memory
        Change of the first metric in percentage points, relative growth of the artifact and of peak memory; None
        where they are not known on both sides.
    same
        Whether both versions have one artifact, byte for byte, so that it was measured once.
    """

    strategy: str
    outcome: GateOutcome
    reasons: tuple[str, ...] = ()
    latency: LatencyChange | None = None
    medians_s: tuple[float, float] = (float("nan"), float("nan"))
    accuracy_pp: float | None = None
    size: float | None = None
    memory: float | None = None
    same: bool = False

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        medians = [value if np.isfinite(value) else None for value in self.medians_s]
        return {
            "strategy": self.strategy,
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            "median_s": medians,
            "latency": None if self.latency is None else self.latency.as_json(),
            "accuracy_pp": self.accuracy_pp,
            "size": self.size,
            "memory": self.memory,
            "same_artifact": self.same,
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
    """

    before: str
    after: str
    rows: tuple[Row, ...]
    differences: tuple[str, ...] = ()

    @property
    def green(self) -> bool:
        """Whether nothing is worse, missing, invalid or incomparable."""
        return bool(self.rows) and all(row.outcome in GREEN for row in self.rows)

    def count(self, outcome: GateOutcome) -> int:
        """How many strategies have an outcome."""
        return sum(row.outcome == outcome for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "before": self.before,
            "after": self.after,
            "green": self.green,
            "differences": list(self.differences),
            "strategies": [row.as_json() for row in self.rows],
        }


def rules(settings: Settings) -> tuple[Rule, Limits]:
    """What counts as worse, from the settings."""
    gate = settings.gate
    return (
        Rule(settings.alpha, settings.p_adjust, gate.min_change, gate.must_see, gate.trial_spread, gate.session_spread),
        Limits(gate.accuracy_drop_pp, gate.size_growth, gate.memory_growth),
    )


def compare(before: Recording, after: Recording, rule: Rule, limits: Limits, *, together: bool = False) -> Comparison:
    """Compare two sessions.

    Parameters
    ----------
    before, after
        The earlier and the later version.
    rule, limits
        What counts as worse.
    together
        Whether both were measured in one session, trial by trial.
    """
    differences = () if together else tuple(_differences(before.conditions, after.conditions))
    common = [name for name in after.strategies if name in before.strategies]
    usable = [name for name in common if not differences and _why_unusable(name, before, after) is None]
    same = [name for name in usable if before.strategies[name].same]
    sides = {
        name: (before.strategies[name].latencies_s, after.strategies[name].latencies_s)
        for name in usable
        if name not in same
    }
    alike = [after.strategies[name].latencies_s for name in same]
    changes = judge_changes(sides, rule, together=together, lending=alike) if sides else {}
    rows = []
    for name in after.strategies:
        if name in changes:
            rows.append(_row(name, before, after, changes[name], limits))
        elif name in same:
            median_s = float(np.median(after.strategies[name].latencies_s))
            rows.append(Row(name, "pass", medians_s=(median_s, median_s), accuracy_pp=0.0, size=0.0, same=True))
        elif name not in before.strategies:
            rows.append(Row(name, "new", (f"{before.label} does not have it",)))
        elif differences:
            rows.append(Row(name, "incomparable", differences))
        else:
            outcome, reason = _why_unusable(name, before, after) or ("invalid", "it has no trials")
            if outcome == "invalid":  # its artifact is compared all the same
                accuracy_pp, size, worse = _of_artifacts(name, before, after, limits)
                rows.append(Row(name, outcome, (reason, *worse), accuracy_pp=accuracy_pp, size=size))
            else:
                rows.append(Row(name, outcome, (reason,)))
    rows += [
        Row(name, "missing", (f"{before.label} has it, and {after.label} does not",))
        for name in before.strategies
        if name not in after.strategies
    ]
    return Comparison(before.label, after.label, tuple(rows), differences)


def _why_unusable(name: str, before: Recording, after: Recording) -> tuple[GateOutcome, str] | None:
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


def _row(name: str, before: Recording, after: Recording, change: LatencyChange, limits: Limits) -> Row:
    was, now = before.strategies[name], after.strategies[name]
    worse: list[str] = []
    better: list[str] = []
    if change.outcome == "regression":
        worse.append(f"latency {change.reason}")
    elif change.outcome == "improvement":
        better.append(f"latency {change.reason}")
    accuracy_pp, size, grave = _of_artifacts(name, before, after, limits)
    worse += grave
    memory = _growth(was, now)
    if memory is not None and memory > limits.memory_growth:
        worse.append(f"peak memory grew by {memory:.1%} (limit {limits.memory_growth:.0%})")
    outcome: GateOutcome = "regression" if worse else "improvement" if better else change.outcome
    reasons = tuple(worse or better or ([change.reason] if change.reason else []))
    medians = (float(np.median(was.latencies_s)), float(np.median(now.latencies_s)))
    return Row(name, outcome, reasons, change, medians, accuracy_pp, size, memory)


def _of_artifacts(
    name: str, before: Recording, after: Recording, limits: Limits
) -> tuple[float | None, float | None, list[str]]:
    """Change of accuracy in percentage points and of size, as far as they are known, and what is worse."""
    was = before.artifacts.get(before.artifact_of.get(name, ""))
    now = after.artifacts.get(after.artifact_of.get(name, ""))
    if was is None or now is None:
        return None, None, []
    accuracy_pp, worse = None, []
    if was.metrics and now.metrics:
        accuracy_pp, sentence = _accuracy(was, now)
        if accuracy_pp < -limits.accuracy_drop_pp:
            worse.append(sentence)
    elif was.metrics or now.metrics:  # with random weights it is not, in either session
        worse.append("accuracy is measured in only one of the sessions")
    size = now.size_bytes / was.size_bytes - 1
    if size > limits.size_growth:
        worse.append(f"the artifact grew by {size:.1%} (limit {limits.size_growth:.0%})")
    return accuracy_pp, size, worse


def _accuracy(was: RecordedArtifact, now: RecordedArtifact) -> tuple[float, str]:
    """Change in percentage points, and what it would be worse by."""
    from pytest_edgeai.stats import mcnemar_exact

    metric = next(iter(now.metrics))
    change_pp = now.metrics[metric] - was.metrics.get(metric, float("nan"))
    sentence = f"{metric} fell by {-change_pp:.2f} pp, from {was.metrics.get(metric, float('nan')):.2f} %"
    if was.correct.shape == now.correct.shape:
        sentence += f" (McNemar's p {mcnemar_exact(was.correct, now.correct).p:.2g})"
    return change_pp, sentence


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
