"""Whether a strategy got slower since the last saved sessions: part by part, against what did not change.

The sessions of a window tell how much each strategy differs from session to session without a change, and controls
tell the state of the machine: the strategies whose artifacts are the same in all sessions, and the reference
computation. Compute is judged by the steadiest of its measures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np

from pytest_edgeai.stats.apart import FEWEST_SESSIONS, Shifts
from pytest_edgeai.verdicts.regression import Change, LatencyChange, Rule
from pytest_edgeai.verdicts.session_series import EVERYTHING, LATENCY, Series, comparable, tells_compute, unchanged_in
from pytest_edgeai.verdicts.views import Name
from pytest_edgeai.versions.parts import COMPUTING, UNHINDERED
from pytest_edgeai.versions.recording import Recording

_VIEWS: Final[tuple[Name, ...]] = ("typical", "all requests", "slowest quarter")
_MEASURES: Final = {
    "compute": "wall time",
    "cpu": "CPU time",
    "instructions": "instructions",
    LATENCY: "wall time",
    UNHINDERED: "wall time less waiting for a core",
}
_NAMED_FIRST: Final = ("compute", "transmit", "load", LATENCY)
"""A span says more than the latency that it is a part of."""

Looked: TypeAlias = tuple[str, int]
"""A part and the place of a view of it."""
_CANDIDATES: Final[Mapping[str, Sequence[Looked]]] = {
    "compute": tuple(itertools.product(COMPUTING, (0, 1))),
    LATENCY: ((LATENCY, 0), (UNHINDERED, 0)),
}
"""Ways to look at a part, of which the steadiest is taken."""


@dataclass(frozen=True, slots=True)
class PartChange:
    """What became of a part of a strategy's requests.

    Parameters
    ----------
    part
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
        The interval of `change` of confidence 1 - alpha, for this part alone.
    p_adjusted
        In the direction of the change.
    spread
        Standard deviation of its logarithm between sessions.
    """

    part: str
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
            "part": self.part,
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
        """The part in a sentence."""
        by = "" if self.measure == "wall time" else f" by {self.measure}"
        return f"{self.part}{by}" + ("" if self.view == _VIEWS[0] else f" in {self.view}")


@dataclass(frozen=True, slots=True)
class Apart:
    """The judgement of a session by a window of earlier ones.

    Parameters
    ----------
    changes
        By strategy; those of whose compute too few sessions tell are not there.
    parts
        By strategy, its parts, what is worst first.
    measure
        By what compute is judged, or empty where no session tells it.
    spreads
        By strategy and measure of compute, standard deviation between sessions of the logarithm.
    sessions
        How many earlier sessions were used.
    busier
        Whether the session waited for cores more than any of them, so that only compute is judged.
    """

    changes: Mapping[str, LatencyChange] = field(default_factory=dict)
    parts: Mapping[str, tuple[PartChange, ...]] = field(default_factory=dict)
    measure: str = ""
    spreads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sessions: int = 0
    busier: bool = False


# Of the level of a strategy. Constant slowdowns of compute are most of what happens.
_MAIN, _BESIDE = 0.35, 0.10
_WEIGHTS: Final[Mapping[Looked, float]] = {
    (LATENCY, 0): 0.30,
    (LATENCY, 2): 0.10,
    ("transmit", 0): 0.075,
    ("load", 0): 0.075,
}


def judge_apart(window: Sequence[Recording], after: Recording, names: Sequence[str], rule: Rule) -> Apart:
    """Judge the strategies of a session by the sessions before it.

    Parameters
    ----------
    window
        The earlier sessions under the same conditions, the oldest first; the last one is what it is compared with.
    after
        The session.
    names
        The strategies to judge, which both have.
    rule
        What counts as a change.
    """
    if len(window) < FEWEST_SESSIONS:
        return Apart()
    sessions = [comparable(one, window[-1], names) for one in window]
    names = [name for name in names if tells_compute(sessions, after, name)]
    if not names:
        return Apart()
    series = Series(sessions, after, names, unchanged_in(window, after, names))
    steadiest = {part: _steadiest(series, measures, rule) for part, measures in _CANDIDATES.items()}
    main_view = steadiest["compute"][1]
    busier = series.waited_longest()
    weights = {("compute", main_view): _MAIN, ("compute", 1 - main_view): _BESIDE, **({} if busier else _WEIGHTS)}
    found = {
        (part, view): series.shifts(steadiest[part][0] if part in steadiest else part, view, rule.trial_spread)
        for part, view in weights
        if part in steadiest or series.has(part)
    }
    measures = {part: _MEASURES[one] for part, (one, _) in steadiest.items()}
    judged = _judged(series.names, found, weights, measures, rule)
    counts = {
        name: (len(window[-1].strategies[name].latencies_s), len(after.strategies[name].latencies_s)) for name in names
    }
    decided = {name: _decide(parts, rule, len(judged), counts.get(name, (0, 0))) for name, parts in judged.items()}
    everything = decided.pop(EVERYTHING, None)
    if everything is not None and everything.outcome == "regression":
        for name in series.unchanged & decided.keys():
            if decided[name].outcome != "regression":
                reason = f"{everything.reason}, in the mean of what did not change against the reference computation"
                decided[name] = replace(decided[name], outcome="regression", reason=reason, subject=everything.subject)
    return Apart(
        decided,
        {name: tuple(one.change for one in judged[name]) for name in decided},
        measures["compute"],
        _spreads(series, names, main_view, rule),
        len(window),
        busier,
    )


def _steadiest(series: Series, candidates: Sequence[Looked], rule: Rule) -> Looked:
    """Of several ways to look at one thing the one that differs least from session to session."""

    def spread(one: Looked) -> float:
        return float(np.nanmedian(series.shifts(*one, rule.trial_spread).sd))

    return min((one for one in candidates if series.has(one[0])), key=spread)


def _spreads(series: Series, names: Sequence[str], view: int, rule: Rule) -> dict[str, dict[str, float]]:
    """By strategy and measure of compute, the standard deviation between sessions."""
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for part in COMPUTING:
        if series.has(part):
            for name, sd in zip(names, series.shifts(part, view, rule.trial_spread).sd, strict=False):
                if np.isfinite(sd):
                    found[name][_MEASURES[part]] = float(sd)
    return found


def window_remarks(before: Recording, after: Recording, found: Apart, sessions: int, others: int) -> Iterator[str]:
    """Sentences about a comparison with a window of sessions.

    Parameters
    ----------
    before, after
        The last session of the window, with those before it, and the session that is judged.
    found
        The judgement.
    sessions
        How many of the window were measured under the conditions of the judged session.
    others
        How many strategies were judged without the window.
    """
    left_out = len(before.earlier) + 1 - sessions
    if left_out:
        yield f"{left_out} of the {len(before.earlier) + 1} sessions before have other conditions and are left out"
    if others:
        yield (
            f"{others} of the strategies {'is' if others == 1 else 'are'} judged by {before.label} alone: it takes "
            f"{FEWEST_SESSIONS} sessions that tell their compute, under the same conditions and with one artifact"
        )
    if not found.changes:
        return
    medians = {
        measure: float(np.median([one[measure] for one in found.spreads.values() if measure in one]))
        for measure in dict.fromkeys(name for one in found.spreads.values() for name in one)
    }
    spreads = ", ".join(f"{measure} {spread:.1%}" for measure, spread in medians.items())
    yield (
        f"judged by the spread between {found.sessions} sessions: compute by {found.measure}, the steadiest of its "
        f"measures (standard deviation between sessions at the median over strategies: {spreads})"
    )
    if found.busier:
        yield (
            f"{after.label} waited for cores more than any of these sessions, which therefore do not tell how its "
            "latencies, transmissions and loads would differ: compute alone is judged"
        )
    if _MEASURES["instructions"] not in medians:
        why = after.no_counters or before.no_counters
        yield "instructions were not counted" + (f" ({why})" if why else "")


@dataclass(frozen=True, slots=True)
class _Judged:
    """A part with its standard error, and the least change of it that matters."""

    change: PartChange
    log_shift: float
    se: float
    df: float
    weight: float
    threshold: float


def _judged(
    names: Sequence[str],
    found: Mapping[Looked, Shifts],
    weights: Mapping[Looked, float],
    measures: Mapping[str, str],
    rule: Rule,
) -> dict[str, list[_Judged]]:
    """All parts of all strategies of which enough is known."""
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
            rule.p_adjust,
        )
        for tails in (
            {key: shifts.p_slower() for key, shifts in found.items()},
            {key: shifts.p_faster() for key, shifts in found.items()},
        )
    )
    judged: dict[str, list[_Judged]] = {}
    for name in slower:
        place, whole = names.index(name), sum(weights[key] for key in usable[name])
        judged[name] = []
        for key in usable[name]:
            one, (part, view) = found[key], key
            shift, se, df = float(one.shift[place]), float(one.se[place]), float(one.df[place])
            within = float(scipy_stats.t.isf(rule.alpha / 2, df)) * se
            change = PartChange(
                part,
                measures.get(part, "wall time"),
                _VIEWS[view],
                math.expm1(shift),
                math.expm1(float(one.raw[place])),
                math.expm1(shift - within),
                math.expm1(shift + within),
                (slower if shift > 0 else faster)[name][key],
                float(one.sd[place]),
            )
            is_main = part in ("compute", LATENCY) and view < 2
            threshold = math.log1p(rule.min_change if is_main else rule.must_see)
            judged[name].append(_Judged(change, shift, se, df, weights[key] / whole, threshold))
    return judged


def _adjusted(
    p_values: Mapping[str, Mapping[Looked, tuple[float, float]]], p_adjust: str
) -> dict[str, dict[Looked, float]]:
    """P-values, given with their weights: the parts of a strategy by Bonferroni, strategies as asked for."""
    from pytest_edgeai.stats import adjust_p

    weighted = {}
    for name, parts in p_values.items():
        whole = sum(weight for _, weight in parts.values())
        weighted[name] = {key: min(1.0, float(p) * whole / weight) for key, (p, weight) in parts.items()}
    least = adjust_p([min(parts.values()) for parts in weighted.values()], p_adjust)
    family = 1 if p_adjust == "none" else len(weighted)
    return {
        name: {key: max(float(smallest), min(1.0, family * p)) for key, p in parts.items()}
        for (name, parts), smallest in zip(weighted.items(), least, strict=True)
    }


def _decide(parts: Sequence[_Judged], rule: Rule, family: int, trials: tuple[int, int]) -> LatencyChange:
    """The verdict of a strategy; undecided is one whose compute the sessions cannot tell to what must be seen."""
    from scipy import stats as scipy_stats

    main = parts[0]  # compute, or latency where no session tells compute
    latency = next((one for one in parts if one.change.part == LATENCY), main)
    strictest = float(scipy_stats.t.isf(rule.alpha * main.weight / family, main.df))
    detectable = math.expm1(strictest * main.se)
    significant = [one for one in parts if one.change.p_adjusted < rule.alpha and abs(one.log_shift) >= one.threshold]
    slower = [one for one in significant if one.log_shift > 0]
    outcome: Change = "pass"
    subject, reason, is_slower = "latency", "", False
    if significant:
        ordered = sorted(slower or significant, key=lambda one: _NAMED_FIRST.index(one.change.part))
        told = [next(ones) for _, ones in itertools.groupby(ordered, key=lambda one: one.change.part)]
        outcome = "regression" if slower else "improvement"
        subject = told[0].change.words
        reason = _words(told[0].change) + "".join(f"; {one.change.words} {_words(one.change)}" for one in told[1:])
    elif detectable > rule.must_see:
        outcome, is_slower = "inconclusive", main.log_shift >= math.log1p(rule.must_see)
        subject = main.change.words
        reason = (
            f"differs by {main.change.spread:.1%} (a standard deviation) from session to session, so that a change of "
            f"less than {detectable:.0%} would not be seen; it is {main.change.change:+.1%}"
        )
    return LatencyChange(
        outcome,
        reason,
        latency.change.change,
        latency.change.low,
        latency.change.high,
        float(2 * scipy_stats.t.sf(abs(latency.log_shift / latency.se), latency.df)),
        latency.change.p_adjusted,
        math.nan,
        detectable,
        trials,
        None,
        slower=is_slower,
        subject=subject,
    )


def _words(one: PartChange) -> str:
    by_machine = (1 + one.raw) / (1 + one.change) - 1
    return f"{one.change:+.1%} (adjusted p {one.p_adjusted:.2g}; what did not change {by_machine:+.1%})"
