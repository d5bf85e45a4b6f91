"""Which strategy meets constraints beyond doubt, which of these is the best, and what another one would take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from pytest_edgeai.decisions.candidates import Candidate
from pytest_edgeai.decisions.constraints import Constraints, Objective, Quantity
from pytest_edgeai.decisions.quantiles import CONFIDENCE, Interval, effective_size, percentile_interval, requests_needed

Level: TypeAlias = Literal["meets", "may", "fails"]

_ROUNDING: Final = 1e-9  # values are ratios of counts: a limit that is met exactly is met
_ORDERS: Final[dict[Objective, tuple[Quantity, ...]]] = {
    "latency": ("latency", "drop", "size", "memory"),
    "size": ("size", "latency", "drop", "memory"),
    "accuracy": ("drop", "latency", "size", "memory"),
}
_FRONT: Final[tuple[Quantity, ...]] = ("latency", "drop", "size")


@dataclass(frozen=True, slots=True)
class Assessment:
    """A strategy against the constraints.

    Parameters
    ----------
    candidate
        Which.
    values
        Its figures; None where one is not known.
    levels
        Of each constraint: whether it is met beyond doubt, may be met, or is not met beyond doubt.
    on_front
        Whether no other strategy that can be chosen is at least as good in latency, drop and size and better in one.
    """

    candidate: Candidate
    values: dict[Quantity, Interval | None]
    levels: dict[Quantity, Level]
    on_front: bool = False

    @property
    def level(self) -> Level:
        """The gravest of all constraints."""
        found = set(self.levels.values())
        return "fails" if "fails" in found else "may" if "may" in found else "meets"

    @property
    def broken(self) -> list[Quantity]:
        """The constraints that are not met beyond doubt."""
        return [name for name, level in self.levels.items() if level != "meets"]

    def estimate(self, name: Quantity) -> float:
        """A figure without its interval; infinite where it is not known."""
        value = self.values[name]
        return math.inf if value is None else value.estimate


@dataclass(frozen=True, slots=True)
class Relaxation:
    """What would have to give for a better strategy.

    Parameters
    ----------
    assessment
        The better strategy.
    limits
        The constraints that it needs, each with the limit that it meets beyond doubt.
    """

    assessment: Assessment
    limits: dict[Quantity, float]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is chosen for one model.

    Parameters
    ----------
    model
        Which.
    constraints, objective, confidence
        What was asked for, and with which confidence each bound holds.
    assessments
        Of all strategies that can be chosen, the best first.
    excluded
        The others, with their reason.
    choice
        The best that meets the constraints beyond doubt, or None.
    ties
        Others that do, and that the measurements do not tell from it by the objective.
    relaxations
        For each constraint that alone stands in the way of a better strategy, the least that it would have to give;
        else the least change of several together. The smallest change comes first.
    trials_needed
        Trials of a strategy with which the latency could be proven, where it is the number of requests that is too
        small; None where it is not.
    """

    model: str
    constraints: Constraints
    objective: Objective
    assessments: tuple[Assessment, ...]
    excluded: tuple[Candidate, ...]
    choice: Assessment | None
    ties: tuple[Assessment, ...]
    relaxations: tuple[Relaxation, ...]
    trials_needed: int | None
    confidence: float = CONFIDENCE


def decide(
    candidates: Iterable[Candidate], constraints: Constraints, objective: Objective = "latency"
) -> tuple[Decision, ...]:
    """Decide for each model, in the order in which they come.

    Parameters
    ----------
    candidates
        The strategies to choose from.
    constraints
        What they have to keep.
    objective
        What the best has least of: latency at the constraints' percentile, size, or drop of accuracy.
    """
    models: dict[str, list[Candidate]] = {}
    for one in candidates:
        models.setdefault(one.model, []).append(one)
    return tuple(_decide(model, ours, constraints, objective) for model, ours in models.items())


def _decide(model: str, ours: Sequence[Candidate], constraints: Constraints, objective: Objective) -> Decision:
    possible = [_assess(one, constraints) for one in ours if not one.excluded]
    assessed = sorted(
        (Assessment(one.candidate, one.values, one.levels, _is_on_front(one, possible)) for one in possible),
        key=lambda one: _rank(one, objective),
    )
    feasible = [one for one in assessed if one.level == "meets"]
    choice = feasible[0] if feasible else None
    better = assessed if choice is None else assessed[: assessed.index(choice)]
    return Decision(
        model=model,
        constraints=constraints,
        objective=objective,
        assessments=tuple(assessed),
        excluded=tuple(one for one in ours if one.excluded),
        choice=choice,
        ties=tuple(one for one in feasible[1:] if _ties(feasible[0], one, objective, constraints.percentile)),
        relaxations=_relaxations(better, constraints),
        trials_needed=_trials_needed(assessed, constraints) if choice is None else None,
    )


def _assess(candidate: Candidate, constraints: Constraints) -> Assessment:
    latency = percentile_interval(candidate.trials, constraints.percentile).widened(candidate.link_error_s)
    values: dict[Quantity, Interval | None] = {
        "latency": latency,
        "drop": candidate.drop,
        "size": _exact(candidate.size_bytes),
        "memory": _exact(candidate.memory_bytes),
    }
    return Assessment(
        candidate, values, {name: _level(values[name], limit) for name, limit in constraints.limits().items()}
    )


def _exact(value: int | None) -> Interval | None:
    return None if value is None else Interval(value, value, value)


def _level(value: Interval | None, limit: float) -> Level:
    if value is None:
        return "may"
    if value.high <= limit + _ROUNDING * abs(limit):
        return "meets"
    return "fails" if value.low > limit + _ROUNDING * abs(limit) else "may"


def _rank(one: Assessment, objective: Objective) -> tuple[float | str, ...]:
    return (*(one.estimate(name) for name in _ORDERS[objective]), one.candidate.id)


def _is_on_front(one: Assessment, others: Sequence[Assessment]) -> bool:
    ours = [one.estimate(name) for name in _FRONT]
    for other in others:
        theirs = [other.estimate(name) for name in _FRONT]
        if theirs != ours and all(their <= our for their, our in zip(theirs, ours, strict=True)):
            return False
    return True


def _ties(best: Assessment, other: Assessment, objective: Objective, percentile: float) -> bool:
    """Whether the measurements do not tell two strategies apart by the objective.

    Latencies: Welch's test on the logarithms of the trials' percentiles. Drops: each is in the other's interval. Sizes:
    equal.
    """
    if objective == "latency":
        sides = [np.log([np.percentile(trial, percentile) for trial in one.candidate.trials]) for one in (best, other)]
        if min(map(len, sides)) < 2:
            return True
        from scipy import stats

        if not any(np.ptp(side) for side in sides):
            return bool(sides[0][0] == sides[1][0])
        return bool(stats.ttest_ind(*sides, equal_var=False).pvalue > 1 - CONFIDENCE)
    if objective == "size":
        return best.estimate("size") == other.estimate("size")
    first, second = best.values["drop"], other.values["drop"]
    if first is None or second is None:
        return first is second
    return first.low <= second.estimate <= first.high and second.low <= first.estimate <= second.high


def _relaxations(better: Sequence[Assessment], constraints: Constraints) -> tuple[Relaxation, ...]:
    limits = constraints.limits()
    found = []
    for one in better:
        needed = {name: math.inf if (value := one.values[name]) is None else value.high for name in one.broken}
        if needed and all(map(math.isfinite, needed.values())):
            found.append(Relaxation(one, needed))

    def change(one: Relaxation) -> float:
        """The largest relative change; of a limit of zero, any change is larger than that of others."""
        return max((new / limits[name] - 1 if limits[name] else math.inf) for name, new in one.limits.items())

    found.sort(key=lambda relaxation: (len(relaxation.limits), change(relaxation)))
    least: dict[tuple[Quantity, ...], Relaxation] = {}
    for relaxation in found:
        least.setdefault(tuple(relaxation.limits), relaxation)
    alone = [relaxation for names, relaxation in least.items() if len(names) == 1]
    return tuple(alone or found[:1])


def _trials_needed(assessed: Sequence[Assessment], constraints: Constraints) -> int | None:
    """How many trials could prove the latency of the best strategy whose estimates keep all constraints."""
    limits = constraints.limits()
    for one in assessed:
        likely = all(one.estimate(name) <= limit for name, limit in limits.items())
        if likely and one.broken == ["latency"] and one.level == "may":
            trials = one.candidate.trials
            worth = effective_size(trials, one.estimate("latency")) / len(trials)
            needed = math.ceil(requests_needed(constraints.percentile) / worth)
            return needed if needed > len(trials) else None
    return None
