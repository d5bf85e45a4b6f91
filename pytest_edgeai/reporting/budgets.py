"""The limits of budgets with what became of them, as JSON and as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.verdicts.budgets import SCALES

if TYPE_CHECKING:
    from pytest_edgeai.verdicts.budgets import JudgedBudget, Unit
    from pytest_edgeai.verdicts.outcome import StrategyResult

HEADINGS: Final = ("strategy", "budget", "verdict", "measured", "interval", "limit")


def budget_document(budget: JudgedBudget) -> dict[str, Any]:
    """A limit as `results.json` has it."""
    return {
        "name": budget.name,
        "unit": budget.unit,
        "limit": budget.limit,
        "value": budget.value,
        "low": budget.low,
        "high": budget.high,
        "outcome": budget.verdict.outcome,
        "reason": budget.verdict.reason,
    }


def budget_rows(strategies: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each limit of each strategy.

    Parameters
    ----------
    strategies
        As `results.json` has them; those of older versions may have no limits.
    """
    return [[one["id"], *_cells(budget)] for one in strategies for budget in one.get("budgets", ())]


def energy_sentence(results: Sequence[StrategyResult]) -> str:
    """Of how many strategies the energy is not known, and why; empty where it is of all."""
    unknown = [one for one in results if one.figures is not None and one.figures.energy_unknown]
    reasons = list(dict.fromkeys(one.figures.energy_unknown for one in unknown if one.figures is not None))
    if not reasons:
        return ""
    of = "" if len(unknown) == len(results) else f" of {len(unknown)} strategies"
    return f"Energy{of} is not known: {'; '.join(reasons)}."


def _cells(budget: Mapping[str, Any]) -> list[str]:
    unit = budget["unit"]
    low, high = (_figure(budget[end], unit) for end in ("low", "high"))
    interval = "–" if (low, high) == ("–", "–") else f"{low} to {high}"
    return [
        budget["name"],
        budget["outcome"],
        _figure(budget["value"], unit),
        interval,
        _figure(budget["limit"], unit),
    ]


def _figure(value: float | None, unit: Unit) -> str:
    scale, shown = SCALES[unit]
    return "–" if value is None else f"{value * scale:.4g} {shown}".rstrip()
