"""What a session leaves for later ones to be compared with: a document inside pytest-benchmark's own files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import VersionError
from pytest_edgeai.measure.attempts import InvalidTrial, void_strategy
from pytest_edgeai.versions.components import components_of, read_components
from pytest_edgeai.versions.conditions import code_digest, session_conditions, tier_conditions

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.measure.accuracy import Evaluation
    from pytest_edgeai.measure.records import TrialRecord
    from pytest_edgeai.measured import Measured, OtherVersion
    from pytest_edgeai.operators.preparation import Prepared

KEY: Final = "edgeai"
_FORMAT = 1


class RecordingError(VersionError, ValueError):
    """A document that cannot be compared with; one sentence."""


class MetricKind(NamedTuple):
    """Unit and direction of a metric; sessions that were saved before there were others have percentages alone."""

    unit: str = "%"
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class RecordedArtifact:
    """An artifact: what is in it, and how it did on the validation samples.

    Parameters
    ----------
    content
        Hash of its files.
    size_bytes
        Of its files.
    metrics
        Values by metric, the most important first.
    correct
        For each validation example, whether it is right by the first metric, shape (examples,); None where there is
        no right and wrong.
    kinds
        Unit and direction by metric, where they are not those of a percentage.
    """

    content: str
    size_bytes: int
    metrics: Mapping[str, float]
    correct: Array | None
    kinds: Mapping[str, MetricKind] = field(default_factory=dict)

    def kind(self, metric: str) -> MetricKind:
        """Unit and direction of a metric."""
        return self.kinds.get(metric, MetricKind())


@dataclass(frozen=True, slots=True)
class RecordedStrategy:
    """The trials of a strategy.

    Parameters
    ----------
    inputs
        The numbers of the samples that were sent.
    latencies_s
        Of the valid trials, shape (trials, inputs, passes).
    peak_memory_bytes
        Of the servers that ran the model, where they said so.
    invalid
        Why trials are invalid or not there, if the strategy cannot be judged for it.
    same
        Whether it has no trials because its artifact is that of the version it is compared with, byte for byte.
    failure
        Why it could not be measured at all, as what is said of the version; or empty.
    reference_s
        Of each valid trial, seconds of CPU that the reference computation took, by tier or node; empty where it was
        not measured.
    places
        Of each valid trial, its place among the strategy's trials: those of two versions at one place are neighbours.
    components
        Of each valid trial, by name (`compute`, `cpu`, `instructions`, `unhindered`, `transmit`), what its requests
        took, of the shape of the latencies, and `load`, shape (trials, 1, 1); what is not known of all is not there.
    reference_components
        By name likewise (`compute`, `cpu`), what the reference computation took, by tier or node, of each valid trial.
    """

    inputs: tuple[int, ...]
    latencies_s: Array
    peak_memory_bytes: tuple[int, ...] = ()
    invalid: tuple[str, ...] = ()
    same: bool = False
    failure: str = ""
    reference_s: tuple[Mapping[str, float], ...] = ()
    places: tuple[int, ...] = ()
    components: Mapping[str, Array] = field(default_factory=dict)
    reference_components: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)

    def is_short(self, trials: int) -> bool:
        """Whether it was measured, with fewer trials than these."""
        return not (self.same or self.failure or self.invalid) and len(self.latencies_s) < trials


@dataclass(frozen=True, slots=True)
class Recording:
    """A session.

    Parameters
    ----------
    label
        What to call it.
    conditions
        All that two sessions have to have in common.
    strategies
        By id.
    artifacts
        By the strategy's `model-operator`.
    artifact_of
        The name of the artifact of each strategy.
    code
        Digest of the code that measured, or that would measure where it is another version's; empty where unknown.
    remarks
        Sentences about where it comes from.
    no_counters
        Why instructions were not counted, as part of a sentence; empty where they were, or nothing is known of it.
    earlier
        Sessions before it, the oldest first, by which the spread between sessions is known.
    """

    label: str
    conditions: Mapping[str, Any]
    strategies: Mapping[str, RecordedStrategy]
    artifacts: Mapping[str, RecordedArtifact] = field(default_factory=dict)
    artifact_of: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    remarks: tuple[str, ...] = ()
    no_counters: str = ""
    earlier: tuple[Recording, ...] = ()


def record_session(measured: Measured) -> dict[str, Any]:
    """The document of a session; JSON values only."""
    return {
        "format": _FORMAT,
        "code": code_digest(),
        "conditions": session_conditions(measured.plan),
        "no_counters": _no_counters(measured),
        "artifacts": _artifacts(measured.prepared),
        "strategies": {
            strategy.id: {
                "artifact": "-".join(strategy.artifact),
                "trials": _trials(measured, [trial for trial in measured.plan.trials if trial.strategy == strategy]),
            }
            for strategy in measured.plan.strategies
        },
    }


def record_other(measured: Measured, other: OtherVersion) -> dict[str, Any]:
    """The document of the other version that a session has measured.

    What is the same in both versions has no trials of its own, what the other version could not make has a reason,
    and what it alone would measure is there without trials, so that it is missed.
    """
    strategies: dict[str, Any] = {}
    for strategy in measured.plan.strategies:
        wanted = strategy.artifact
        trials = [trial for trial in measured.baseline_trials if trial.strategy == strategy]
        if wanted in other.failures:
            reason = f"could not make its artifact: {other.failures[wanted]}"
            found: dict[str, Any] = {"trials": [], "failure": reason}
        elif wanted in other.prepared and trials:
            found = {"trials": _trials(measured, trials)}
        elif wanted in other.prepared:
            ours = measured.prepared.get(wanted)
            if ours is None or other.has_our_samples(wanted, ours):
                found = {"trials": [], "same": ours is not None}
            else:
                found = {"trials": [], "failure": "has other samples to send"}
        else:
            continue
        strategies[strategy.id] = {"artifact": "-".join(wanted), **found}
    for name in other.strategies if measured.plan.is_whole else ():
        strategies.setdefault(name, {"artifact": "", "trials": []})
    conditions = session_conditions(measured.plan)
    if other.servers is not None:
        conditions |= tier_conditions(other.servers.topology, other.servers.allotments, other.servers.code)
    return {
        "format": _FORMAT,
        "code": other.code,
        "conditions": conditions,
        "artifacts": _artifacts(other.prepared),
        "strategies": strategies,
    }


def _no_counters(measured: Measured) -> str:
    """Why a tier did not count instructions; empty where all did, or none says."""
    states = (said["after"] for record in measured.records.values() for said in record.tiers.values())
    return next((str(state["no_counters"]) for state in states if state.get("no_counters")), "")


def _artifacts(prepared: Mapping[tuple[str, str], Prepared]) -> dict[str, Any]:
    """Artifacts with their evaluations by `model-operator`."""
    return {
        "-".join(wanted): {
            "content": ready.artifact.entry.content,
            "size_bytes": ready.artifact.entry.size_bytes,
            "metrics": ready.evaluation.metrics,
            "kinds": {name: [score.unit, score.higher_is_better] for name, score in ready.evaluation.scores.items()},
            "correct": _digits(ready.evaluation),
        }
        for wanted, ready in prepared.items()
    }


def recorded_artifacts(prepared: Mapping[tuple[str, str], Prepared]) -> dict[str, RecordedArtifact]:
    """Artifacts by `model-operator`, as a saved session would have them."""
    return {name: _artifact(one) for name, one in _artifacts(prepared).items()}


def _digits(evaluation: Evaluation) -> str | None:
    """Which examples are right by the first metric, a digit each; None where there is no right and wrong."""
    correct = evaluation.first.correct if evaluation.scores else None
    return None if correct is None else "".join("01"[int(right)] for right in correct)


def _trials(measured: Measured, trials: Sequence[PlannedTrial]) -> list[dict[str, Any]]:
    described = []
    for trial in trials:
        record = measured.records.get(trial)
        if record is None:
            described.append({"invalid": measured.why_unmade(trial.strategy) or "no trial was made"})
        else:
            described.append(_trial(record) | ({"cause": ""} if trial in measured.waiting else {}))
    return described


def _trial(record: TrialRecord) -> dict[str, Any]:
    if record.status != "valid":
        return {"invalid": record.reason, "cause": record.cause}
    peaks = [said["after"].get("peak_memory_bytes") for said in list(record.tiers.values())[:1]]
    return {
        "input": [one.input for one in record.measurements],
        "latency_s": [one.latency_s for one in record.measurements],
        "peak_memory_bytes": peaks[0] if peaks else None,
        "reference_s": {place: seconds["cpu_s"] for place, seconds in record.reference.items()},
        "reference_wall_s": {place: seconds["wall_s"] for place, seconds in record.reference.items()},
        **components_of(record),
    }


def read_recording(document: Any, label: str) -> Recording:
    """The session of a document.

    Parameters
    ----------
    document
        The content of a file that pytest-benchmark wrote.
    label
        What to call the session in messages.

    Raises
    ------
    RecordingError
        It is not one of ours, or not whole.
    """
    if not isinstance(document, dict) or KEY not in document:
        raise RecordingError(
            f"{label} holds no session of pytest-edgeai to compare with; save one by pytest … --benchmark-save NAME"
        )
    ours = document[KEY]
    try:
        if ours["format"] != _FORMAT:
            raise RecordingError(
                f"{label} has format {ours['format']}, and this version reads {_FORMAT}: measure it again"
            )
        return Recording(
            label=label,
            conditions=ours["conditions"],
            strategies={name: _strategy(name, one) for name, one in ours["strategies"].items()},
            artifacts={name: _artifact(one) for name, one in ours["artifacts"].items()},
            artifact_of={name: str(one["artifact"]) for name, one in ours["strategies"].items()},
            code=str(ours.get("code", "")),
            no_counters=str(ours.get("no_counters", "")),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RecordingError(f"{label} is not whole ({type(error).__name__}: {error}): measure it again") from None
    except ValueError as error:
        raise (
            error if isinstance(error, RecordingError) else RecordingError(f"{label}: {error}: measure it again")
        ) from None


def _artifact(one: Mapping[str, Any]) -> RecordedArtifact:
    digits = one["correct"]
    correct = None if digits is None else np.array([digit == "1" for digit in digits], dtype=bool)
    kinds = {name: MetricKind(str(unit), bool(higher)) for name, (unit, higher) in one.get("kinds", {}).items()}
    return RecordedArtifact(str(one["content"]), int(one["size_bytes"]), dict(one["metrics"]), correct, kinds)


def _strategy(name: str, recorded: Mapping[str, Any]) -> RecordedStrategy:
    trials = recorded["trials"]
    spoiled = [InvalidTrial(str(one["invalid"]), str(one.get("cause", ""))) for one in trials if "invalid" in one]
    valid = [one for one in trials if "invalid" not in one]
    invalid = tuple(one.reason for one in spoiled) if void_strategy(spoiled, len(valid)) else ()
    inputs = tuple(dict.fromkeys(int(number) for number in valid[0]["input"])) if valid else ()
    rows: list[Array] = []
    for one in valid:
        numbers, latencies_s = np.array(one["input"]), np.array(one["latency_s"], dtype=float)
        if numbers.shape != latencies_s.shape or set(numbers.tolist()) != set(inputs):
            raise RecordingError(f"{name}: its trials have different inputs")
        if not (np.isfinite(latencies_s) & (latencies_s > 0)).all():
            raise RecordingError(f"{name}: it has latencies that are not positive numbers")
        passes = {int(np.count_nonzero(numbers == number)) for number in inputs}
        if len(passes) != 1 or (rows and passes != {rows[0].shape[1]}):
            raise RecordingError(f"{name}: its inputs were not sent equally often")
        rows.append(np.array([latencies_s[numbers == number] for number in inputs]))
    peaks = tuple(int(one["peak_memory_bytes"]) for one in valid if one.get("peak_memory_bytes"))
    latencies = np.array(rows) if rows else np.empty((0, 0, 0))
    same, failure = bool(recorded.get("same")), str(recorded.get("failure", ""))
    references = tuple(_reference(name, one.get("reference_s") or {}) for one in valid)
    walls = tuple(_reference(name, one.get("reference_wall_s") or {}) for one in valid)
    places = tuple(place for place, one in enumerate(trials) if "invalid" not in one)
    beside = {"cpu": references, "compute": walls}
    components = read_components(name, valid, inputs)
    return RecordedStrategy(inputs, latencies, peaks, invalid, same, failure, references, places, components, beside)


def _reference(name: str, recorded: Mapping[str, Any]) -> dict[str, float]:
    found = {str(tier): float(seconds) for tier, seconds in recorded.items()}
    if not all(math.isfinite(seconds) and seconds > 0 for seconds in found.values()):
        raise RecordingError(f"{name}: a reference computation took no time that can be compared")
    return found
