"""Whether a strategy got slower since the last saved sessions: component by component, against what did not change.

The sessions of a window tell how much each strategy differs from session to session without a change, and controls
tell the state of the machine: the strategies whose artifacts are the same in all sessions, and the reference
computation. Compute is judged by the steadiest of its measures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from pytest_edgeai.stats.apart import FEWEST_SESSIONS
from pytest_edgeai.verdicts.component_changes import ComponentChange, Judged, Looked, judge_components
from pytest_edgeai.verdicts.regression import Change, LatencyChange, Rule
from pytest_edgeai.verdicts.session_series import EVERYTHING, LATENCY, Series, comparable, tells_compute, unchanged_in
from pytest_edgeai.versions.components import COMPUTING, UNHINDERED
from pytest_edgeai.versions.recording import Recording

_MEASURES: Final = {
    "compute": "wall time",
    "cpu": "CPU time",
    "instructions": "instructions",
    LATENCY: "wall time",
    UNHINDERED: "wall time less waiting for a core",
}
_NAMED_FIRST: Final = ("compute", "transmit", "load", LATENCY)
"""A span says more than the latency that it is a component of."""

_CANDIDATES: Final[Mapping[str, Sequence[Looked]]] = {
    "compute": tuple(itertools.product(COMPUTING, (0, 1))),
    LATENCY: ((LATENCY, 0), (UNHINDERED, 0)),
}
"""Ways to look at a component, of which the steadiest is taken."""


@dataclass(frozen=True, slots=True)
class Apart:
    """The judgement of a session by a window of earlier ones.

    Parameters
    ----------
    changes
        By strategy; those of whose compute too few sessions tell are not there.
    components
        By strategy, its components, what is worst first.
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
    components: Mapping[str, tuple[ComponentChange, ...]] = field(default_factory=dict)
    measure: str = ""
    spreads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sessions: int = 0
    busier: bool = False


# Of the level of a strategy. Constant slowdowns of compute are most of what happens.
_MAIN, _BESIDE = 0.50, 0.10
_WEIGHTS: Final[Mapping[Looked, float]] = {
    (LATENCY, 0): 0.20,
    (LATENCY, 2): 0.08,
    ("transmit", 0): 0.06,
    ("load", 0): 0.06,
}
_OF_UNCHANGED: Final = 0.2
"""Share of the level of a session that strategies have whose artifact is the same."""


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
    steadiest = {component: _steadiest(series, measures, rule) for component, measures in _CANDIDATES.items()}
    main_view = steadiest["compute"][1]
    busier = series.waited_longest()
    weights = {("compute", main_view): _MAIN, ("compute", 1 - main_view): _BESIDE, **({} if busier else _WEIGHTS)}
    found = {
        (component, view): series.shifts(
            steadiest[component][0] if component in steadiest else component, view, rule.trial_spread
        )
        for component, view in weights
        if component in steadiest or series.has(component)
    }
    measures = {component: _MEASURES[one] for component, (one, _) in steadiest.items()}
    levels = _levels(series)
    judged = judge_components(series.names, found, weights, measures, levels, rule)
    counts = {
        name: (len(window[-1].strategies[name].latencies_s), len(after.strategies[name].latencies_s)) for name in names
    }
    decided = {
        name: _decide(components, rule, levels[name], counts.get(name, (0, 0))) for name, components in judged.items()
    }
    everything = decided.pop(EVERYTHING, None)
    if everything is not None:
        decided.update(
            {name: _with_everything(decided[name], everything) for name in series.unchanged & decided.keys()}
        )
    return Apart(
        decided,
        {name: tuple(one.change for one in judged[name]) for name in decided},
        measures["compute"],
        _spreads(series, names, main_view, rule),
        len(window),
        busier,
    )


def _with_everything(one: LatencyChange, everything: LatencyChange) -> LatencyChange:
    """The verdict of a strategy that did not change, which what did not change decides together."""
    if one.outcome == "regression":
        return one
    if everything.outcome == "regression":
        reason = f"{everything.reason}, in the mean of what did not change against the reference computation"
        return replace(one, outcome="regression", reason=reason, subject=everything.subject)
    if one.outcome == "inconclusive" and everything.outcome != "inconclusive":
        return replace(one, outcome="pass", reason="", slower=False)
    return one


def _levels(series: Series) -> dict[str, tuple[bool, float]]:
    """For each series whether it did not change, and its share of the level before those alike step down.

    What changed, and everything together, are what a commit may have made slower: artifacts that are the same share
    a fifth of the level, for a library or a setting that is slower with some of them.
    """
    kept = series.unchanged
    shares = {True: _OF_UNCHANGED if kept else 0.0, False: 1 - _OF_UNCHANGED if kept else 1.0}
    sizes = {True: len(kept), False: len(series.names) - len(kept)}
    return {name: (name in kept, shares[name in kept] / sizes[name in kept]) for name in series.names}


def _steadiest(series: Series, candidates: Sequence[Looked], rule: Rule) -> Looked:
    """Of several ways to look at one thing the one that differs least from session to session."""

    def spread(one: Looked) -> float:
        return float(np.nanmedian(series.shifts(*one, rule.trial_spread).sd))

    return min((one for one in candidates if series.has(one[0])), key=spread)


def _spreads(series: Series, names: Sequence[str], view: int, rule: Rule) -> dict[str, dict[str, float]]:
    """By strategy and measure of compute, the standard deviation between sessions."""
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for component in COMPUTING:
        if series.has(component):
            for name, sd in zip(names, series.shifts(component, view, rule.trial_spread).sd, strict=False):
                if np.isfinite(sd):
                    found[name][_MEASURES[component]] = float(sd)
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


def _decide(
    components: Sequence[Judged], rule: Rule, level: tuple[bool, float], trials: tuple[int, int]
) -> LatencyChange:
    """The verdict of a strategy; undecided is one whose compute the sessions cannot tell to what must be seen."""
    from scipy import stats as scipy_stats

    main = components[0]  # compute, or latency where no session tells compute
    latency = next((one for one in components if one.change.component == LATENCY), main)
    strictest = float(scipy_stats.t.isf(rule.alpha * main.weight * level[1], main.df))
    detectable = math.expm1(strictest * main.se)
    significant = [
        one for one in components if one.change.p_adjusted < rule.alpha and abs(one.log_shift) >= one.threshold
    ]
    slower = [one for one in significant if one.log_shift > 0]
    outcome: Change = "pass"
    subject, reason, is_slower = "latency", "", False
    if significant:
        ordered = sorted(slower or significant, key=lambda one: _NAMED_FIRST.index(one.change.component))
        told = [next(ones) for _, ones in itertools.groupby(ordered, key=lambda one: one.change.component)]
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


def _words(one: ComponentChange) -> str:
    by_machine = (1 + one.raw) / (1 + one.change) - 1
    return f"{one.change:+.1%} (adjusted p {one.p_adjusted:.2g}; what did not change {by_machine:+.1%})"
