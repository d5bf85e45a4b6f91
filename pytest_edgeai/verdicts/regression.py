"""Whether a strategy got slower or faster between two versions: the decision, on arrays of trials.

The trial is the unit, so that requests that share a deployment and a moment are not counted as independent. A change
counts where three things hold at once: a p-value that is adjusted for
the number of strategies, an effect that is at least small, and a change that is large enough to matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from pytest_edgeai.serving.protocol import Array
from pytest_edgeai.verdicts.estimates import TRIALS_LEFT_OUT, Estimate, Spread, estimate_changes

Change: TypeAlias = Literal["pass", "regression", "improvement", "inconclusive"]

SMALL_DELTA = 0.147
_POWER = 0.8
_FEWEST_FOR_SHIFT = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts as a change.

    Parameters
    ----------
    alpha
        Level of the adjusted p-value.
    p_adjust
        How p-values are adjusted for the number of strategies.
    min_change
        The relative change of latency that matters.
    must_see
        The relative change that has to be within reach of the number of trials, or the verdict is inconclusive.
    trial_spread, session_spread
        By how much latency differs between trials of a session, at the least, and between two sessions of one version:
        standard deviations of its logarithm. The latter counts where the two sides are sessions of their own.
    """

    alpha: float = 0.05
    p_adjust: str = "holm"
    min_change: float = 0.03
    must_see: float = 0.10
    trial_spread: float = 0.01
    session_spread: float = 0.025


@dataclass(frozen=True, slots=True)
class LatencyChange:
    """What became of one strategy's latency.

    Parameters
    ----------
    outcome, reason
        The decision and, where it is not a plain pass, why.
    change
        Relative change, blocked by input: 0.1 is 10 % slower.
    low, high
        Its interval of confidence 1 - alpha, for this strategy alone.
    p, p_adjusted
        Of the moderated t-test between trials.
    delta
        Cliff's delta within inputs, averaged over them; positive is slower.
    detectable
        The smallest change that would be significant with these trials.
    trials
        How many there are on each side.
    trials_needed
        How many a side it would take, where it is inconclusive.
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
        }


def judge_changes(
    latencies_s: Mapping[str, tuple[Array, Array]], rule: Rule, *, together: bool, lending: Sequence[Array] = ()
) -> dict[str, LatencyChange]:
    """Decide for every strategy of a session.

    Parameters
    ----------
    latencies_s
        By strategy, latencies before and after, each of shape (trials, inputs): the median over the passes of a trial.
        Both sides have the same inputs in the same order.
    rule
        What counts as a change.
    together
        Whether both sides were measured in one session, trial by trial. Else the machine may have changed in between,
        and what all strategies have in common is no one's regression.
    lending
        Latencies of strategies that have one side only, of the same shape: they say how trials differ.

    Raises
    ------
    ValueError
        The sides have different inputs, no trials, or latencies that are none.

    Notes
    -----
    Welch's or Student's test on five values a side has hardly any power at the level that two dozen strategies leave
    for each: see `pytest_edgeai.verdicts.estimates` for what is done about it.
    """
    from scipy import stats as scipy_stats

    from pytest_edgeai.stats import adjust_p

    spread = Spread(rule.trial_spread, 0.0 if together else rule.session_spread)
    estimates = estimate_changes(latencies_s, spread, paired=together, lending=lending)
    usable = {name: one for name, one in estimates.items() if np.isfinite(one.se)}
    p_of = {name: float(2 * scipy_stats.t.sf(abs(one.shift) / one.se, one.df)) for name, one in usable.items()}
    adjusted = dict(zip(p_of, adjust_p(list(p_of.values()), rule.p_adjust).tolist(), strict=True)) if p_of else {}
    common = 0.0
    if not together and len(usable) >= _FEWEST_FOR_SHIFT:
        common = float(np.median([one.shift for one in usable.values()]))
    return {
        name: _decide(one, rule, p_of.get(name, math.nan), adjusted.get(name, math.nan), common, len(usable))
        for name, one in estimates.items()
    }


def _decide(one: Estimate, rule: Rule, p: float, p_adjusted: float, common: float, family: int) -> LatencyChange:
    from scipy import stats as scipy_stats

    change = math.expm1(one.shift)
    if math.isnan(p):
        return LatencyChange(
            "inconclusive",
            "one trial a side tells nothing of how trials differ",
            change,
            math.nan,
            math.nan,
            p,
            p_adjusted,
            one.delta,
            math.nan,
            one.trials,
            2,
        )
    within = scipy_stats.t.ppf(1 - rule.alpha / 2, one.df) * one.se
    # The strictest level that the adjustment may ask of a single strategy.
    strictest = scipy_stats.t.ppf(1 - rule.alpha / (2 * family), one.df)
    detectable = math.expm1(float(strictest) * one.se)
    seen_by_trials = math.expm1(float(strictest) * one.trial_se)
    outcome: Change = "pass"
    reason, needed = "", None
    threshold = math.log1p(rule.min_change)
    sign = math.copysign(1.0, one.shift)
    large = sign * one.shift >= threshold and sign * one.median_shift >= threshold and sign * one.delta >= SMALL_DELTA
    if large and p_adjusted < rule.alpha:
        outcome = "regression" if one.shift > 0 else "improvement"
        reason = f"{change:+.1%} (adjusted p {p_adjusted:.2g}, delta {one.delta:+.2f})"
        own = one.shift - common
        if abs(common) >= threshold / 2 and sign * own < max(threshold, float(within)):
            outcome = "inconclusive"
            reason = (
                f"{change:+.1%}, but so is everything ({math.expm1(common):+.1%} at the median): the machine may have "
                "changed between the sessions; measure both in one session, by --edgeai-against"
            )
    elif large:
        outcome, needed = "inconclusive", _trials_needed(one.sd, abs(one.shift), rule, family)
        reason = f"{change:+.1%} is not significant (adjusted p {p_adjusted:.2g}): it would take {needed} trials a side"
    elif seen_by_trials > rule.must_see:
        outcome, needed = "inconclusive", _trials_needed(one.sd, math.log1p(rule.must_see), rule, family)
        reason = (
            f"trials differ so much that a change of less than {seen_by_trials:.0%} would not be seen: it would take "
            f"{needed} trials a side for {rule.must_see:.0%}"
        )
    return LatencyChange(
        outcome,
        reason,
        change,
        math.expm1(one.shift - float(within)),
        math.expm1(one.shift + float(within)),
        p,
        p_adjusted,
        one.delta,
        detectable,
        one.trials,
        needed,
    )


def _trials_needed(sd: float, shift: float, rule: Rule, family: int) -> int:
    """Trials a side for a two-sided test at the strictest level to see a shift four times out of five.

    The normal approximation n = 2 (z_(1 - a/2) + z_power)² sd² / shift², with one trial more for the t distribution,
    of those that are not left out.
    """
    from scipy.stats import norm

    quantiles = float(norm.ppf(1 - rule.alpha / (2 * family)) + norm.ppf(_POWER))
    return math.ceil((2 * (quantiles * sd / shift) ** 2 + 1) / (1 - 2 * TRIALS_LEFT_OUT))
