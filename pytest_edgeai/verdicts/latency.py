"""Latency budgets: whether the median latency of a strategy stays below a limit, judged on the medians of its trials.

The trial is the statistical unit: requests of one trial share its drift and are no independent evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_edgeai.verdicts import Verdict

CONFIDENCE = 0.9


def judge_latency(trial_medians_s: Sequence[float], max_median_s: float, error_s: float = 0.0) -> Verdict:
    """Judge a latency budget by the order-statistic confidence interval of the median over trials.

    Parameters
    ----------
    trial_medians_s
        Median latency of each valid trial.
    max_median_s
        The budget.
    error_s
        By how many seconds a trial may be off either way, because links were; it widens the interval.

    Returns
    -------
    Verdict
        Pass where the whole interval is within the budget, fail where it is wholly above, else inconclusive.

    Notes
    -----
    The k-th smallest and k-th largest of n independent trials enclose the median of their distribution with
    probability 1 - 2 P(B < k), B binomial (n, 1/2), whatever the distribution (Conover, Practical Nonparametric
    Statistics, 3rd edition, section 3.2).
    """
    low, high = median_interval(trial_medians_s)
    return judge_interval((low - error_s, high + error_s), max_median_s, len(trial_medians_s))


def judge_interval(
    interval: tuple[float, float],
    limit: float,
    trials: int,
    name: str = "the median",
    scale: float = 1e3,
    unit: str = "ms",
) -> Verdict:
    """Judge a limit of a median by its interval over trials.

    Parameters
    ----------
    interval
        Its ends.
    limit
        What must not be exceeded.
    trials
        How many there are.
    name
        What it is the median of.
    scale, unit
        How numbers are written.

    Returns
    -------
    Verdict
        Pass where the whole interval is within the limit, fail where it is wholly above, else inconclusive.
    """
    low, high = interval
    words = f"{limit * scale:g} {unit}".rstrip()
    if high <= limit:
        return Verdict("pass")
    if low > limit:
        return Verdict("fail", f"{name} is above {words} (at least {f'{low * scale:.3g} {unit}'.rstrip()})")
    needed = trials_needed()
    if trials < needed:
        return Verdict(
            "inconclusive", f"{trials} trials cannot show that {name} is within {words}: {needed} replicates can"
        )
    ends = f"{low * scale:.3g} and {high * scale:.3g} {unit}".rstrip()
    return Verdict("inconclusive", f"{name} is between {ends}, around the budget of {words}")


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The narrowest order-statistic interval that holds the median with `CONFIDENCE`.

    Parameters
    ----------
    values
        Independent values, shape [n].

    Returns
    -------
    low, high
        From minus to plus infinity where there are too few values.
    """
    n, ordered = len(values), sorted(values)
    best = (-math.inf, math.inf)
    for k in range(1, n // 2 + 1):
        outside = 2 * sum(math.comb(n, i) for i in range(k)) / 2**n
        if 1 - outside < CONFIDENCE:
            break
        best = (ordered[k - 1], ordered[n - k])
    return best


def trials_needed() -> int:
    """The fewest trials whose smallest and largest enclose the median with `CONFIDENCE`."""
    return math.ceil(math.log2(2 / (1 - CONFIDENCE)))
