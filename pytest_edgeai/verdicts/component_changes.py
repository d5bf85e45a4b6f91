"""The components of a strategy's requests against the sessions before: changes with intervals and adjusted p-values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from pytest_edgeai.stats.apart import Shifts
from pytest_edgeai.verdicts.regression import Rule
from pytest_edgeai.verdicts.session_series import LATENCY
from pytest_edgeai.verdicts.views import Name

VIEWS: Final[tuple[Name, ...]] = ("typical", "all requests", "slowest quarter")
Looked: TypeAlias = tuple[str, int]
"""A component and the place of a view of it."""


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """What became of a component of a strategy's requests.

    Parameters
    ----------
    component
        `latency`, `compute`, `transmit` or `load`.
    measure
        `wall time`, `CPU time` or `instructions`.
    view
        Of the requests: `typical`, `all requests` or `slowest quarter`.
    change
        Relative change beyond what the controls explain: 0.1 is 10 % slower.
    raw
        Relative change as it was measured.
    low, high
        The interval of `change` of confidence 1 - alpha, for this component alone.
    p_adjusted
        In the direction of the change.
    spread
        Standard deviation of its logarithm between sessions.
    """

    component: str
    measure: str
    view: str
    change: float
    raw: float
    low: float
    high: float
    p_adjusted: float
    spread: float

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "component": self.component,
            "measure": self.measure,
            "view": self.view,
            "change": self.change,
            "raw_change": self.raw,
            "low": self.low,
            "high": self.high,
            "p_adjusted": self.p_adjusted,
            "spread": self.spread,
        }

    @property
    def words(self) -> str:
        """The component in a sentence."""
        by = "" if self.measure == "wall time" else f" by {self.measure}"
        return f"{self.component}{by}" + ("" if self.view == VIEWS[0] else f" in {self.view}")


@dataclass(frozen=True, slots=True)
class Judged:
    """A component with its standard error, and the least change of it that matters."""

    change: ComponentChange
    log_shift: float
    se: float
    df: float
    weight: float
    threshold: float


def judge_components(
    names: Sequence[str],
    found: Mapping[Looked, Shifts],
    weights: Mapping[Looked, float],
    measures: Mapping[str, str],
    levels: Mapping[str, tuple[bool, float]],
    rule: Rule,
) -> dict[str, list[Judged]]:
    """All components of all series of which enough is known.

    Parameters
    ----------
    names
        Of the series.
    found
        Their shifts by component and view.
    weights
        The share of the level of a series that each of these has.
    measures
        What a component was measured by, where it is not wall time.
    levels
        For each series the family that it is adjusted with, and its share of the level.
    rule
        What counts as a change.
    """
    from scipy import stats as scipy_stats

    usable = {
        name: [key for key, shifts in found.items() if np.isfinite(shifts.se[place])]
        for place, name in enumerate(names)
    }
    slower, faster = (
        _adjusted(
            {
                name: {key: (tails[key][names.index(name)], weights[key]) for key in keys}
                for name, keys in usable.items()
                if keys
            },
            levels,
            rule.p_adjust,
        )
        for tails in (
            {key: shifts.p_slower() for key, shifts in found.items()},
            {key: shifts.p_faster() for key, shifts in found.items()},
        )
    )
    judged: dict[str, list[Judged]] = {}
    for name in (one for one in names if one in slower):
        place, whole = names.index(name), sum(weights[key] for key in usable[name])
        judged[name] = []
        for key in usable[name]:
            one, (component, view) = found[key], key
            shift, se, df = float(one.shift[place]), float(one.se[place]), float(one.df[place])
            within = float(scipy_stats.t.isf(rule.alpha / 2, df)) * se
            change = ComponentChange(
                component,
                measures.get(component, "wall time"),
                VIEWS[view],
                math.expm1(shift),
                math.expm1(float(one.raw[place])),
                math.expm1(shift - within),
                math.expm1(shift + within),
                (slower if shift > 0 else faster)[name][key],
                float(one.sd[place]),
            )
            is_main = component in ("compute", LATENCY) and view < 2
            threshold = math.log1p(rule.min_change if is_main else rule.must_see)
            judged[name].append(Judged(change, shift, se, df, weights[key] / whole, threshold))
    return judged


def _adjusted(
    p_values: Mapping[str, Mapping[Looked, tuple[float, float]]],
    levels: Mapping[str, tuple[bool, float]],
    p_adjust: str,
) -> dict[str, dict[Looked, float]]:
    """P-values, given with their weights: the components of a strategy by Bonferroni, strategies as asked for.

    Those that changed and those that did not are families of their own, each with its share of the level.
    """
    found: dict[str, dict[Looked, float]] = {}
    for family in (False, True):
        members = {name: components for name, components in p_values.items() if levels[name][0] == family}
        if members:
            share = sum(level for is_kept, level in levels.values() if is_kept == family)
            found |= _adjusted_family(members, 1.0 if p_adjust == "none" else share, p_adjust)
    return found


def _adjusted_family(
    p_values: Mapping[str, Mapping[Looked, tuple[float, float]]], share: float, p_adjust: str
) -> dict[str, dict[Looked, float]]:
    from pytest_edgeai.stats import adjust_p

    weighted = {}
    for name, components in p_values.items():
        whole = sum(weight for _, weight in components.values())
        weighted[name] = {key: min(1.0, float(p) * whole / weight) for key, (p, weight) in components.items()}
    least = adjust_p([min(components.values()) for components in weighted.values()], p_adjust)
    family = 1 if p_adjust == "none" else len(weighted)
    return {
        name: {key: min(1.0, max(float(smallest), min(1.0, family * p)) / share) for key, p in components.items()}
        for (name, components), smallest in zip(weighted.items(), least, strict=True)
    }
