"""All budgets of a strategy that name it by a pattern: latency, resources, and ratios to another operator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from pytest_edgeai.verdicts import Verdict
from pytest_edgeai.verdicts.latency import judge_interval, judge_latency, median_interval
from pytest_edgeai.verdicts.tails import judge_tail, tail_interval

if TYPE_CHECKING:
    from pytest_edgeai.settings_budgets import Ratio, Resource
    from pytest_edgeai.settings_tables import Budgets, LatencyBudget
    from pytest_edgeai.stats.looks import Looks
    from pytest_edgeai.verdicts.figures import Figures

Unit: TypeAlias = Literal["s", "bytes", "J", "ratio"]

_NAMES: Final[Mapping[Ratio, str]] = {
    "latency": "the median",
    "size": "the artifact's size",
    "memory": "peak memory",
    "load": "the median time to load",
    "cold_start": "the median time to load and answer the first request",
    "energy": "the median energy of a request",
}
_SETTINGS: Final[Mapping[Resource, tuple[str, Unit]]] = {
    "size": ("max_size_bytes", "bytes"),
    "memory": ("max_memory_bytes", "bytes"),
    "load": ("max_load_s", "s"),
    "cold_start": ("max_cold_start_s", "s"),
    "energy": ("max_energy_j", "J"),
}
SCALES: Final[Mapping[Unit, tuple[float, str]]] = {
    "s": (1e3, "ms"),
    "bytes": (1e-6, "MB"),
    "J": (1.0, "J"),
    "ratio": (1.0, ""),
}
"""By what a figure is multiplied to be shown, and in which unit it is then."""


@dataclass(frozen=True, slots=True)
class JudgedBudget:
    """One limit of a budget, and what became of it.

    Parameters
    ----------
    name
        As the settings have it; of a ratio also to which operator, as `size to identity`.
    unit
        Of the numbers.
    limit
        What it must not exceed.
    value
        What was measured, or None where that is not known.
    low, high
        The interval of it, or None where it is exact or has none; infinite where the trials do not bound it.
    verdict
        Pass, fail or inconclusive.
    """

    name: str
    unit: Unit
    limit: float
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict


def judge_budgets(
    budgets: Budgets, strategy: str, figures: Figures, others: Mapping[str, Figures], looks: Looks
) -> list[JudgedBudget]:
    """Judge every limit that there is for a strategy.

    Parameters
    ----------
    budgets
        Of the session.
    strategy
        Its id.
    figures
        What was measured of it.
    others
        The same of strategies of the same model on the same placement, by operator, itself included.
    looks
        How often its tail budgets are judged.
    """
    found: list[JudgedBudget] = []
    for latency in budgets.latency:
        if fnmatchcase(strategy, latency.strategies):
            found += _latency(latency, figures, looks)
    for resources in budgets.resources:
        if fnmatchcase(strategy, resources.strategies):
            found += [_resource(name, limit, figures) for name, limit in resources.limits.items()]
    for relative in budgets.relative:
        other = others.get(relative.max_ratio_to)
        if other is not figures and fnmatchcase(strategy, relative.strategies):
            to = relative.max_ratio_to
            found += [_ratio(name, limit, figures, other, to) for name, limit in relative.limits.items()]
    return found


def tails_undecided(budgets: Budgets, strategy: str, figures: Figures, looks: Looks) -> bool:
    """Whether a limit of a percentile is neither kept nor broken beyond doubt.

    Parameters
    ----------
    budgets, strategy, figures, looks
        As for `judge_budgets`.
    """
    trials_s = list(figures.latencies_s.values())
    return any(
        judge_tail(trials_s, rank, limit_s, figures.link_error_s, looks).outcome == "inconclusive"
        for budget in budgets.latency
        if fnmatchcase(strategy, budget.strategies)
        for rank, limit_s in budget.tails_s.items()
    )


def _latency(budget: LatencyBudget, figures: Figures, looks: Looks) -> Iterator[JudgedBudget]:
    """Each limit of a latency budget."""
    trials_s, error_s = list(figures.latencies_s.values()), figures.link_error_s
    if budget.max_median_s is not None:
        medians_s = list(figures.values["latency"].values())
        low_s, high_s = median_interval(medians_s)
        verdict = judge_latency(medians_s, budget.max_median_s, error_s)
        middle_s = figures.middle("latency")
        limit_s = budget.max_median_s
        yield JudgedBudget("max_median_s", "s", limit_s, middle_s, low_s - error_s, high_s + error_s, verdict)
    for rank, limit_s in budget.tails_s.items():
        verdict = judge_tail(trials_s, rank, limit_s, error_s, looks)
        value_s = float(np.percentile(np.concatenate(trials_s), rank))
        yield JudgedBudget(
            f"max_p{rank}_s", "s", limit_s, value_s, *tail_interval(trials_s, rank, error_s, looks), verdict
        )


def _resource(quantity: Resource, limit: float, figures: Figures) -> JudgedBudget:
    """A limit of what is not latency."""
    name, unit = _SETTINGS[quantity]
    if quantity in ("size", "memory"):
        value = figures.size_bytes if quantity == "size" else figures.middle("memory")
        return _exact(name, _NAMES[quantity], unit, limit, value, _unknown(quantity, figures))
    values = figures.of(quantity)
    if values is None:
        return JudgedBudget(name, unit, limit, None, None, None, _not_known(quantity, figures))
    low, high = median_interval(list(values.values()))
    verdict = judge_interval((low, high), limit, len(values), _NAMES[quantity], *SCALES[unit])
    return JudgedBudget(name, unit, limit, figures.middle(quantity), low, high, verdict)


def _ratio(quantity: Ratio, limit: float, figures: Figures, other: Figures | None, to: str) -> JudgedBudget:
    """A limit of a ratio to another operator."""
    name = f"{quantity} to {to}"
    words = f"{_NAMES[quantity]} as a ratio to that of {to}"
    if other is None:
        verdict = Verdict(
            "inconclusive", f"{words} is not known, since no trial of {to} on the same placement is valid"
        )
        return JudgedBudget(name, "ratio", limit, None, None, None, verdict)
    if quantity in ("size", "memory"):
        ours, theirs = (one.size_bytes if quantity == "size" else one.middle("memory") for one in (figures, other))
        ratio = ours / theirs if ours is not None and theirs else None
        return _exact(name, words, "ratio", limit, ratio, _unknown(quantity, figures if ours is None else other))
    mine, its = figures.of(quantity), other.of(quantity)
    if mine is None or its is None:
        verdict = _not_known(quantity, figures if mine is None else other)
        return JudgedBudget(name, "ratio", limit, None, None, None, verdict)
    shared = sorted(mine.keys() & its.keys())
    if not shared:
        verdict = Verdict("inconclusive", f"{words} is not known: no replicate has a valid trial of both")
        return JudgedBudget(name, "ratio", limit, None, None, None, verdict)
    errors = (figures.link_error_s, other.link_error_s) if quantity == "latency" else (0.0, 0.0)
    low, _ = median_interval([(mine[one] - errors[0]) / (its[one] + errors[1]) for one in shared])
    _, high = median_interval([_least_divisor(mine[one] + errors[0], its[one] - errors[1]) for one in shared])
    value = float(np.median([mine[one] / its[one] for one in shared]))
    verdict = judge_interval((low, high), limit, len(shared), words, *SCALES["ratio"])
    return JudgedBudget(name, "ratio", limit, value, low, high, verdict)


def _least_divisor(dividend: float, divisor: float) -> float:
    return dividend / divisor if divisor > 0 else math.inf


def _exact(name: str, words: str, unit: Unit, limit: float, value: float | None, unknown: str) -> JudgedBudget:
    """A limit of what is the same in every trial, or the highest of any."""
    scale, shown = SCALES[unit]
    if value is None:
        verdict = Verdict("inconclusive", f"{words} is not known: {unknown}")
    elif value <= limit:
        verdict = Verdict("pass")
    else:
        found, most = (f"{one * scale:.4g} {shown}".rstrip() for one in (value, limit))
        verdict = Verdict("fail", f"{words} is {found} (limit {most})")
    return JudgedBudget(name, unit, limit, value, None, None, verdict)


def _not_known(quantity: Ratio, figures: Figures) -> Verdict:
    return Verdict("inconclusive", f"{_NAMES[quantity]} is not known: {_unknown(quantity, figures)}")


def _unknown(quantity: Ratio, figures: Figures) -> str:
    """Why a quantity is not known."""
    if quantity == "energy":
        return figures.energy_unknown
    return "there is no artifact" if quantity == "size" else "a tier does not tell it"
