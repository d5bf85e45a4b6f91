"""Choices among strategies in words, as Markdown for a decision record, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.decisions.candidates import candidates
from pytest_edgeai.decisions.choosing import decide
from pytest_edgeai.reporting.statistics import markdown_table, milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_edgeai.decisions.asked import Decide
    from pytest_edgeai.decisions.choosing import Assessment, Decision, Level, Relaxation
    from pytest_edgeai.decisions.constraints import Quantity
    from pytest_edgeai.decisions.quantiles import Interval

SETTING_NAMES: Final[dict[Quantity, str]] = {
    "latency": "max_latency_s",
    "drop": "max_drop",
    "size": "max_size_bytes",
    "memory": "max_memory_bytes",
}
_LEVELS: Final[dict[Level, str]] = {"meets": "beyond doubt", "may": "may", "fails": "no"}
_OBJECTIVES: Final = {"latency": "the least latency", "size": "the smallest artifact", "accuracy": "the least drop"}
_HEADINGS: Final = ("strategy", "meets", "latency", "drop", "size", "peak memory", "Pareto front")


def decisions_of(
    asked: Decide, strategies: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]
) -> tuple[Decision, ...]:
    """Decide as the settings ask, by what `results.json` has.

    Parameters
    ----------
    asked
        The constraints, and which strategies to choose from.
    strategies, trials
        As `results.json` has them.
    """
    taken = [one for one in strategies if asked.takes(one["model"], one["tier"])]
    return decide(candidates(taken, trials), asked.constraints, asked.objective)


def decision_document(one: Decision) -> dict[str, Any]:
    """A decision as JSON has it."""
    limits = one.constraints.limits()
    return {
        "model": one.model,
        "objective": one.objective,
        "percentile": one.constraints.percentile,
        "confidence": one.confidence,
        "limits": {SETTING_NAMES[name]: limit for name, limit in limits.items()},
        "choice": None if one.choice is None else one.choice.candidate.id,
        "reason": reason(one),
        "ties": [tie.candidate.id for tie in one.ties],
        "strategies": [_assessment(assessed) for assessed in one.assessments],
        "excluded": [{"id": out.id, "reason": out.excluded} for out in one.excluded],
        "relaxations": [
            {
                "strategy": relaxed.assessment.candidate.id,
                "limits": {SETTING_NAMES[name]: limit for name, limit in relaxed.limits.items()},
            }
            for relaxed in one.relaxations
        ],
        "trials_needed": one.trials_needed,
    }


def _assessment(one: Assessment) -> dict[str, Any]:
    return {
        "id": one.candidate.id,
        "level": one.level,
        "levels": {SETTING_NAMES[name]: level for name, level in one.levels.items()},
        "on_front": one.on_front,
        "latency_s": _interval(one.values["latency"]),
        "drop": _interval(one.values["drop"]),
        "drop_unit": one.candidate.drop_unit,
        "size_bytes": one.candidate.size_bytes,
        "memory_bytes": one.candidate.memory_bytes,
    }


def _interval(value: Interval | None) -> dict[str, float | None] | None:
    if value is None:
        return None
    ends = {"estimate": value.estimate, "low": value.low, "high": value.high}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}


def reason(one: Decision) -> str:
    """Why this strategy, or why none: sentences."""
    if one.choice is None:
        return _no_choice(one)
    chosen = one.choice
    feasible = sum(assessed.level == "meets" for assessed in one.assessments)
    sentences = [
        f"{chosen.candidate.id} has {_OBJECTIVES[one.objective]} of the {feasible} of {_count(one)} that meet the "
        f"constraints beyond doubt: {_figures(chosen, one)}."
        if one.constraints.limits()
        else f"{chosen.candidate.id} has {_OBJECTIVES[one.objective]} of {_count(one)}: {_figures(chosen, one)}."
    ]
    if one.ties:
        ties = ", ".join(tie.candidate.id for tie in one.ties)
        sentences.append(f"The measurements do not tell it from {ties} by the objective.")
    if chosen.candidate.verdict not in ("pass", "improvement", "new"):
        sentences.append(f"Its verdict in the session is: {chosen.candidate.verdict}.")
    return " ".join([*sentences, *_relaxed(one)])


def _no_choice(one: Decision) -> str:
    may = [assessed for assessed in one.assessments if assessed.level == "may"]
    if not one.assessments:
        return f"None of {_count(one)} can be chosen: they are invalid or unproven."
    sentences = [f"None of {_count(one)} meets the constraints beyond doubt."]
    if may:
        names = ", ".join(assessed.candidate.id for assessed in may)
        sentences.append(f"{len(may)} may: {names}.")
    if one.trials_needed is not None:
        sentences.append(
            f"The {_percentile(one)} of latency needs more requests for a proof: measure with about "
            f"{one.trials_needed} replicates."
        )
    return " ".join([*sentences, *_relaxed(one)])


def _relaxed(one: Decision) -> list[str]:
    return [_relaxation(relaxed, one) for relaxed in one.relaxations]


def _relaxation(relaxed: Relaxation, one: Decision) -> str:
    now = one.constraints.limits()
    unit = relaxed.assessment.candidate.drop_unit
    changes = " and ".join(
        f"{_limit(name, limit, unit, up=True)} instead of {_limit(name, now[name], unit)} of {_NAMES[name]}"
        for name, limit in relaxed.limits.items()
    )
    gained = _figure(relaxed.assessment, _GAINED[one.objective])
    return f"With {changes}, it would be {relaxed.assessment.candidate.id} ({gained})."


_NAMES: Final[dict[Quantity, str]] = {"latency": "latency", "drop": "drop", "size": "size", "memory": "peak memory"}
_GAINED: Final[dict[str, Quantity]] = {"latency": "latency", "size": "size", "accuracy": "drop"}


def _figures(assessed: Assessment, one: Decision) -> str:
    unit = assessed.candidate.drop_unit
    limits = one.constraints.limits()
    names = dict.fromkeys([_GAINED[one.objective], *limits])
    parts = []
    for name in names:
        limit = f", at most {_limit(name, limits[name], unit)} wanted" if name in limits else ""
        parts.append(f"{_what(name, one)} {_figure(assessed, name)}{limit}")
    return "; ".join(parts)


def _what(name: Quantity, one: Decision) -> str:
    return f"{_percentile(one)} of latency" if name == "latency" else _NAMES[name]


def _percentile(one: Decision) -> str:
    percentile = one.constraints.percentile
    return "median" if percentile == 50 else f"percentile {percentile:g}"


def _count(one: Decision) -> str:
    count = len(one.assessments) + len(one.excluded)
    return f"{count} {'strategy' if count == 1 else 'strategies'} of {one.model}"


def _figure(assessed: Assessment, name: Quantity) -> str:
    value = assessed.values[name]
    if value is None:
        return "not known"
    unit = assessed.candidate.drop_unit
    text = _amount(name, value.estimate, unit)
    if value.low == value.high:
        return text
    low = "–" if math.isinf(value.low) else _amount(name, value.low, unit)
    high = "–" if math.isinf(value.high) else _amount(name, value.high, unit)
    return f"{text} [{low}, {high}]"


def _amount(name: Quantity, value: float, unit: str) -> str:
    if name == "latency":
        return milliseconds(value)
    if name == "drop":
        return f"{value:+.2f} {unit}".rstrip()
    return f"{value / 1e6:.3g} MB"


def _limit(name: Quantity, value: float, unit: str, *, up: bool = False) -> str:
    """A limit in three digits or as many as it was given in; rounded up where it is one to be set."""
    scale, shown = {"latency": (1e3, "ms"), "drop": (1.0, unit)}.get(name, (1e-6, "MB"))
    number = value * scale
    if up and number > 0:
        step = 10.0 ** (math.floor(math.log10(number)) - 2)
        number = math.ceil(number / step - 1e-9) * step
    return f"{number:.4g} {shown}".rstrip()


def decision_lines(decisions: Sequence[Decision]) -> list[str]:
    """A line for each model: the choice, or that there is none, and why."""
    return [f"{one.model}: {reason(one)}" for one in decisions]


def decisions_section(decisions: Sequence[Decision]) -> list[str]:
    """The section of `summary.md`; empty without decisions."""
    if not decisions:
        return []
    return ["", "## The choice", "", *(f"- {line}" for line in decision_lines(decisions))]


def decision_record(one: Decision, source: str) -> str:
    """A decision as the Markdown of a decision record.

    Parameters
    ----------
    one
        What was decided.
    source
        The report that it rests on.
    """
    unit = one.assessments[0].candidate.drop_unit if one.assessments else "pp"
    wanted = [
        f"- {_what(name, one)}: at most {_limit(name, limit, unit)}" for name, limit in one.constraints.limits().items()
    ] or ["- no constraint"]
    title = "none" if one.choice is None else one.choice.candidate.id
    lines = [f"# Strategy of {one.model}: {title}", "", "## Context", ""]
    lines += [f"Measured in {source}. Wanted: {_OBJECTIVES[one.objective]}, and", "", *wanted, ""]
    lines += ["## Decision", "", reason(one), "", "## Strategies", ""]
    lines += [
        f"Latency is the {_percentile(one)} of all requests; each end of its interval holds with {one.confidence:.0%} "
        "confidence, by trials and not by requests alone. Drop has its paired interval; size is exact; peak memory is "
        "the highest of all trials.",
        "",
    ]
    rows = [
        (
            assessed.candidate.id,
            _LEVELS[assessed.level] + _broken(assessed),
            *(_figure(assessed, name) for name in ("latency", "drop", "size", "memory")),
            "yes" if assessed.on_front else "no",
        )
        for assessed in one.assessments
    ]
    lines += markdown_table(_HEADINGS, rows)
    if one.excluded:
        lines += ["", "Never chosen:", "", *(f"- {out.id}: {out.excluded}" for out in one.excluded)]
    return "\n".join(lines) + "\n"


def _broken(assessed: Assessment) -> str:
    level = assessed.level
    names = [_NAMES[name] for name, found in assessed.levels.items() if found == level and level != "meets"]
    return f": {', '.join(names)}" if names else ""
