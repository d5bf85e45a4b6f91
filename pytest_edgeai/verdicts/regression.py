"""Whether a strategy got slower or faster between two versions: the decision, on arrays of trials.

The trial is the unit, so that requests that share a deployment and a moment are not counted as independent. A change
counts where three things hold at once: a p-value that is adjusted for the number of strategies and of views of a trial
(`pytest_edgeai.verdicts.views`), an effect that is at least small, and a change that is large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.stats.effect import LARGE, MEDIUM, SMALL
from pytest_edgeai.stats.exchange import fewest_pairs
from pytest_edgeai.stats.trimmed import LEFT_OUT
from pytest_edgeai.verdicts.estimates import Estimate, Spread, estimate_changes
from pytest_edgeai.verdicts.significance import Significance, significances

Change: TypeAlias = Literal["pass", "regression", "improvement", "inconclusive"]

_POWER = 0.8
_FEWEST_FOR_SHIFT = 5
_FEWEST_APART = 2
_SUSPICIOUS_MEAN = 0.25
"""Relative change of the plain mean of all requests that does not pass, though a few requests alone may cause it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts as a change.

    Parameters
    ----------
    alpha
        Largest probability that any strategy of a session is called slower without being so; the same for faster.
    p_adjust
        How p-values are adjusted for the number of strategies where the versions were measured in sessions apart.
    min_change
        The relative change of latency that matters: of the typical request, and of all requests in the mean.
    must_see
        The relative change that has to be within reach of the number of trials, or the verdict is inconclusive; and
        the one that matters in the slowest quarter of the requests and in those of a single input.
    trial_spread, session_spread
        By how much latency differs between trials of a session, at the least, and between two sessions of one version:
        standard deviations of its logarithm. The latter counts where the two sides are sessions of their own.
    levels
        Other levels than `alpha`, by strategy, of those that were decided at an earlier look.
    """

    alpha: float = 0.05
    p_adjust: str = "holm"
    min_change: float = 0.03
    must_see: float = 0.10
    trial_spread: float = 0.01
    session_spread: float = 0.025
    levels: Mapping[str, float] = field(default_factory=dict)

    def level_of(self, strategy: str) -> Rule:
        """The rule for one strategy."""
        return replace(self, alpha=self.levels.get(strategy, self.alpha))

    def fewest_trials(self, *, together: bool) -> int:
        """The fewest trials a side that can decide anything about a single strategy."""
        return fewest_pairs(1, self.alpha) if together else _FEWEST_APART


@dataclass(frozen=True, slots=True)
class ViewChange:
    """What became of one view of a strategy's trials.

    Parameters
    ----------
    view
        What of the trial: `typical`, `all requests`, `slowest quarter`, or `input 3`.
    change
        Relative change: 0.1 is 10 % slower.
    p_adjusted
        In the direction of the change.
    delta
        Cliff's delta; positive is slower.
    """

    view: str
    change: float
    p_adjusted: float
    delta: float

    def as_json(self) -> dict[str, Any]:
        """A JSON object; null for what cannot be computed."""
        p_adjusted = self.p_adjusted if math.isfinite(self.p_adjusted) else None
        return {"view": self.view, "change": self.change, "p_adjusted": p_adjusted, "delta": self.delta}


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """What became of one strategy's latency. Figures are of its typical requests, the faster ones, unless said.

    Parameters
    ----------
    outcome, reason
        The decision and, where it is not a plain pass, why.
    change
        Relative change, blocked by input: 0.1 is 10 % slower.
    low, high
        Its interval of confidence 1 - alpha, for this strategy alone.
    p, p_adjusted
        Of the moderated t-test between trials, two-sided; and adjusted, in the direction of the change.
    delta
        Cliff's delta within inputs, averaged over them; positive is slower.
    detectable
        The smallest change that would be significant with these trials.
    trials
        How many there are on each side.
    trials_needed
        How many a side it would take, where it is inconclusive; None where no number would do.
    slower
        Whether the change by which it is inconclusive is one for the worse that would matter.
    views
        The change in each view of the trials; of single inputs, in the one that changed most.
    subject
        What the reason is about.
    """

    outcome: Change
    reason: str
    change: float
    low: float
    high: float
    p: float
    p_adjusted: float
    delta: float
    detectable: float
    trials: tuple[int, int]
    trials_needed: int | None = None
    slower: bool = False
    views: tuple[ViewChange, ...] = ()
    subject: str = "latency"

    def as_json(self) -> dict[str, Any]:
        """A JSON object; null for what cannot be computed."""
        numbers = {
            name: value if math.isfinite(value) else None
            for name in ("change", "low", "high", "p", "p_adjusted", "delta", "detectable")
            for value in [getattr(self, name)]
        }
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            **numbers,
            "trials": list(self.trials),
            "trials_needed": self.trials_needed,
            "views": [view.as_json() for view in self.views],
        }


@dataclass(frozen=True, slots=True)
class _Family:
    """What a strategy is judged by beside its own trials.

    Parameters
    ----------
    size
        How many strategies are judged.
    paired
        Whether trials are pairs.
    common
        The shift that strategies have in common; 0 where too few are known.
    """

    size: int
    paired: bool
    common: float


@dataclass(frozen=True, slots=True)
class _Found:
    """A view that changed, or may have."""

    view: int
    sign: float


def judge_changes(
    latencies_s: Mapping[str, tuple[Array, Array]],
    rule: Rule,
    *,
    together: bool,
    lending: Sequence[Array] = (),
    controls: Mapping[str, float] | None = None,
) -> dict[str, LatencyChange]:
    """Decide for every strategy of a session.

    Parameters
    ----------
    latencies_s
        By strategy, latencies before and after, each of shape (trials, inputs, passes). Both sides have the same
        inputs in the same order.
    rule
        What counts as a change.
    together
        Whether both sides were measured in one session, trial by trial. Else the machine may have changed in between.
    lending
        Latencies of strategies that have one side only, of the same shape: they say how trials differ.
    controls
        By strategy, by how much the logarithm of the reference computation of its tiers changed between the sessions;
        a strategy that is not there has no control.

    Raises
    ------
    ValueError
        The sides have different inputs, no trials, or latencies that are not positive numbers.
    """
    spread = Spread(rule.trial_spread, 0.0 if together else rule.session_spread)
    estimates = estimate_changes(latencies_s, spread, paired=together, lending=lending)
    usable = {name: one for name, one in estimates.items() if np.isfinite(one.se).all()}
    found = significances(usable, spread, rule.p_adjust) if usable else {}
    common = 0.0
    if not together and len(usable) >= _FEWEST_FOR_SHIFT:
        common = float(np.median([one.shift[0] for one in usable.values()]))
    family = _Family(len(usable), together, common)
    return {
        name: _decide(one, found[name], rule.level_of(name), family, (controls or {}).get(name))
        if name in found
        else _unknown(one)
        for name, one in estimates.items()
    }


def _unknown(one: Estimate) -> LatencyChange:
    change = math.expm1(float(one.shift[0]))
    nan = math.nan
    return LatencyChange(
        "inconclusive",
        f"{change:+.1%}, but one trial a side tells nothing of how trials differ",
        change,
        nan,
        nan,
        nan,
        nan,
        float(one.delta[0]),
        nan,
        one.trials,
        _FEWEST_APART,
        slower=change > 0,
    )


def _decide(one: Estimate, found: Significance, rule: Rule, family: _Family, control: float | None) -> LatencyChange:
    from scipy import stats as scipy_stats

    change, df, se = math.expm1(float(one.shift[0])), float(one.df[0]), float(one.se[0])
    within = float(scipy_stats.t.ppf(1 - rule.alpha / 2, df)) * se
    # The strictest level that the adjustment may ask of a single strategy.
    strictest = float(scipy_stats.t.isf(rule.alpha * one.views[0].weight / family.size, df))
    seen_by_trials = math.expm1(strictest * float(one.trial_se[0]))
    outcome: Change = "pass"
    reason, needed, slower = "", None, False
    changed = [it for it in _large(one, rule) if _adjusted(found, it) < rule.alpha]
    unsure = [it for it in _large(one, rule) if it not in changed and _is_suspect(one, it, rule)]
    if changed:
        it = changed[0]
        outcome = "regression" if it.sign > 0 else "improvement"
        reason = _words(one, found, it)
        explained = _explained(one, it, rule, family, control, within)
        if explained:
            outcome, reason, slower = "inconclusive", f"{reason}, {explained}", it.sign > 0
    elif unsure:
        it = unsure[0]
        needed = _trials_needed(one, it.view, abs(float(one.shift[it.view])), rule, family)
        outcome, slower = "inconclusive", it.sign > 0
        reason = f"{_words(one, found, it)} is not significant: it would take {needed} trials a side"
    elif one.mean_shift >= math.log1p(max(_SUSPICIOUS_MEAN, rule.must_see)):
        slowest = next(number for number, view in enumerate(one.views) if view.name == "slowest quarter")
        needed = _trials_needed(one, slowest, one.mean_shift, rule, family)
        outcome, slower = "inconclusive", True
        reason = (
            f"{math.expm1(one.mean_shift):+.1%} in the mean of all requests, by a few that took much longer: it would "
            f"take {needed} trials a side to tell them from chance"
        )
    elif seen_by_trials > rule.must_see:
        needed = _trials_needed(one, 0, math.log1p(rule.must_see), rule, family)
        outcome, slower = "inconclusive", change >= rule.min_change
        reason = (
            f"trials differ so much that a change of less than {seen_by_trials:.0%} would not be seen: it would take "
            f"{needed} trials a side for {rule.must_see:.0%}"
        )
    return LatencyChange(
        outcome,
        reason,
        change,
        math.expm1(float(one.shift[0]) - within),
        math.expm1(float(one.shift[0]) + within),
        float(found.p[0]),
        _adjusted(found, _Found(0, math.copysign(1.0, float(one.shift[0])))),
        float(one.delta[0]),
        math.expm1(strictest * se),
        one.trials,
        needed,
        slower,
        _views(one, found),
    )


def _large(one: Estimate, rule: Rule) -> list[_Found]:
    """Views with an effect and a change that would matter: what is worse first, then in the order of the views."""
    found = []
    for sign in (1.0, -1.0):
        for number, view in enumerate(one.views):
            threshold = _threshold(view.name, rule)
            matters = sign * one.shift[number] >= threshold and sign * one.delta[number] >= SMALL
            if matters and (number or sign * one.median_shift >= threshold):
                found.append(_Found(number, sign))
    return found


def _threshold(view: str, rule: Rule) -> float:
    return math.log1p(rule.min_change if view in ("typical", "all requests") else rule.must_see)


def _adjusted(found: Significance, it: _Found) -> float:
    return float((found.slower if it.sign > 0 else found.faster)[it.view])


def _is_suspect(one: Estimate, it: _Found, rule: Rule) -> bool:
    """Whether more trials should decide: of typical requests every large change, of others one for the worse.

    Few requests differ by chance much more than many do, so that the change and the effect have to be larger there.
    """
    view = one.views[it.view]
    if view.name == "typical":
        return True
    least = MEDIUM if view.input is None else LARGE
    return it.sign > 0 and bool(one.shift[it.view] >= math.log1p(rule.must_see) and one.delta[it.view] >= least)


def _words(one: Estimate, found: Significance, it: _Found) -> str:
    where = "" if it.view == 0 else f" in {one.views[it.view].words}"
    return (
        f"{math.expm1(float(one.shift[it.view])):+.1%}{where} (adjusted p {_adjusted(found, it):.2g}, "
        f"delta {one.delta[it.view]:+.2f})"
    )


def _explained(one: Estimate, it: _Found, rule: Rule, family: _Family, control: float | None, within: float) -> str:
    """How the machine may have made a change between two sessions; empty where it cannot have."""
    threshold = math.log1p(rule.min_change)
    common = it.sign * family.common
    host = None if control is None else it.sign * control
    if common < threshold / 2 and (host is None or family.size >= _FEWEST_FOR_SHIFT):
        return ""  # the others stayed
    allowed = max(0.0, common if host is None else host)
    if it.sign * float(one.shift[it.view]) - allowed >= max(threshold, within):
        return ""
    if host is None:
        return (
            f"but so is everything ({math.expm1(family.common):+.1%} at the median), and no reference computation was "
            "measured in both sessions to tell the machine from the code: measure both in one session, by "
            "--edgeai-against"
        )
    assert control is not None
    return (
        f"but so is the reference computation of its tiers ({math.expm1(control):+.1%}): the machine changed between "
        "the sessions; measure both in one session, by --edgeai-against"
    )


def _views(one: Estimate, found: Significance) -> tuple[ViewChange, ...]:
    shared = [number for number, view in enumerate(one.views) if view.input is None]
    single = [number for number, view in enumerate(one.views) if view.input is not None]
    largest = max(single, key=lambda number: abs(float(one.shift[number])))
    return tuple(
        ViewChange(
            one.views[number].words,
            math.expm1(float(one.shift[number])),
            _adjusted(found, _Found(number, math.copysign(1.0, float(one.shift[number])))),
            float(one.delta[number]),
        )
        for number in (*shared, largest)
    )


def _trials_needed(one: Estimate, view: int, shift: float, rule: Rule, family: _Family) -> int:
    """Trials a side for a test at the strictest level to see a shift four times out of five.

    The normal approximation n = 2 (z_(1 - a) + z_power)² sd² / shift², with one trial more for the t distribution, of
    those that are not left out; at least as many as an exchange of pairs can tell anything with.
    """
    from scipy.stats import norm

    quantiles = float(norm.isf(rule.alpha * one.views[view].weight / family.size) + norm.ppf(_POWER))
    by_spread = math.ceil((2 * (quantiles * float(one.sd[view]) / shift) ** 2 + 1) / (1 - 2 * LEFT_OUT))
    by_order = fewest_pairs(family.size, rule.alpha) if family.paired else _FEWEST_APART
    return max(by_spread, by_order, min(one.trials) + 1)
