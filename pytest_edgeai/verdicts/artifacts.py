"""What became of a strategy's artifact between two versions: its accuracy and its size, and what counts as worse."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_edgeai.versions.recording import RecordedArtifact, Recording


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as worse beside latency, and what becomes of what cannot be decided.

    Parameters
    ----------
    accuracy_drop_pp
        The largest drop of the model's first metric, in percentage points.
    size_growth, memory_growth
        The largest relative growth of an artifact, and of the peak memory of its server.
    inconclusive_fails
        Whether a strategy fails that is slower by more than matters where the trials cannot decide it.
    """

    accuracy_drop_pp: float = 0.5
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
    accuracy_pp, size
        Change of the first metric in percentage points and relative growth; None where they are not known on both
        sides.
    """

    worse: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    accuracy_pp: float | None = None
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
    worse, unknown, accuracy_pp = [], [], None
    if was.metrics or now.metrics:  # with random weights accuracy is not measured, in either session
        metric = next(iter(now.metrics or was.metrics))
        if metric in was.metrics and metric in now.metrics:
            accuracy_pp, sentence = _accuracy(metric, was, now)
            if accuracy_pp < -limits.accuracy_drop_pp:
                worse.append(sentence)
        else:
            unknown.append(f"accuracy ({metric}) is measured in only one of the sessions")
    size = now.size_bytes / was.size_bytes - 1
    if size > limits.size_growth:
        worse.append(f"the artifact grew by {size:.1%} (limit {limits.size_growth:.0%})")
    return ArtifactChanges(tuple(worse), tuple(unknown), accuracy_pp, size)


def _accuracy(metric: str, was: RecordedArtifact, now: RecordedArtifact) -> tuple[float, str]:
    """Change in percentage points, and what it would be worse by."""
    from pytest_edgeai.stats import mcnemar_exact

    change_pp = now.metrics[metric] - was.metrics[metric]
    sentence = f"{metric} fell by {-change_pp:.2f} pp, from {was.metrics[metric]:.2f} %"
    if was.correct.shape == now.correct.shape:
        sentence += f" (McNemar's p {mcnemar_exact(was.correct, now.correct).p:.2g})"
    return change_pp, sentence
