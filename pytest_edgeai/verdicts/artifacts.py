"""What became of a strategy's artifact between two versions: its accuracy and its size, and what counts as worse."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_edgeai.subjects.figures import amount, points
from pytest_edgeai.subjects.metrics import PERCENT
from pytest_edgeai.versions.recording import RecordedArtifact, Recording


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as worse beside latency, and what becomes of what cannot be decided.

    Parameters
    ----------
    accuracy_drop_pp
        The largest drop of the model's first metric, in percentage points.
    metric_drop
        The largest drop of a first metric that is no percentage, as a share of its value before.
    size_growth, memory_growth
        The largest relative growth of an artifact, and of the peak memory of its server.
    inconclusive_fails
        Whether a strategy fails that is slower by more than matters where the trials cannot decide it.
    """

    accuracy_drop_pp: float = 0.5
    metric_drop: float = 0.005
    size_growth: float = 0.02
    memory_growth: float = 0.10
    inconclusive_fails: bool = True


@dataclass(frozen=True, slots=True)
class ArtifactChanges:
    """What became of a strategy's artifact.

    Parameters
    ----------
    worse, unknown
        A sentence for each thing that is worse, and for each that is known of one version only.
    accuracy_gain, accuracy_unit
        By how much the first metric got better, in its unit; None where it is not known on both sides.
    size
        Relative growth; None likewise.
    """

    worse: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    accuracy_gain: float | None = None
    accuracy_unit: str = PERCENT
    size: float | None = None


def artifact_changes(name: str, before: Recording, after: Recording, limits: Limits) -> ArtifactChanges:
    """Compare the artifacts of a strategy."""
    was = before.artifacts.get(before.artifact_of.get(name, ""))
    now = after.artifacts.get(after.artifact_of.get(name, ""))
    if was is None and now is None:
        return ArtifactChanges()
    if was is None or now is None:
        lacking = before.label if was is None else after.label
        return ArtifactChanges(unknown=(f"accuracy and size of its artifact are not recorded in {lacking}",))
    worse, unknown, gain, unit = [], [], None, PERCENT
    if was.metrics or now.metrics:  # with random weights accuracy is not measured, in either session
        metric = next(iter(now.metrics or was.metrics))
        if metric in was.metrics and metric in now.metrics:
            gain, unit = _gain(metric, was, now), now.kind(metric).unit
            limit = limits.accuracy_drop_pp if unit == PERCENT else limits.metric_drop * abs(was.metrics[metric])
            if gain < -limit:
                worse.append(_sentence(metric, -gain, was, now))
        else:
            unknown.append(f"accuracy ({metric}) is measured in only one of the sessions")
    size = now.size_bytes / was.size_bytes - 1
    if size > limits.size_growth:
        worse.append(f"the artifact grew by {size:.1%} (limit {limits.size_growth:.0%})")
    return ArtifactChanges(tuple(worse), tuple(unknown), gain, unit, size)


def _gain(metric: str, was: RecordedArtifact, now: RecordedArtifact) -> float:
    difference = now.metrics[metric] - was.metrics[metric]
    return difference if now.kind(metric).higher_is_better else -difference


def _sentence(metric: str, drop: float, was: RecordedArtifact, now: RecordedArtifact) -> str:
    """What it is worse by."""
    from pytest_edgeai.stats import mcnemar_exact

    kind = now.kind(metric)
    moved = "fell" if kind.higher_is_better else "rose"
    before = amount(was.metrics[metric], kind.unit, digits=2)
    sentence = f"{metric} {moved} by {points(drop, kind.unit)}, from {before}"
    if was.correct is not None and now.correct is not None and was.correct.shape == now.correct.shape:
        sentence += f" (McNemar's p {mcnemar_exact(was.correct, now.correct).p:.2g})"
    return sentence
