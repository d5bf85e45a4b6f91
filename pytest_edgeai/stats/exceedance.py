"""How often requests take longer than a limit, from trials whose requests are not independent of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.stats.samples import FloatArray

_EFFECT_CONFIDENCE = 0.9
"""Of the upper bound of the design effect."""


@dataclass(frozen=True, slots=True)
class Exceedance:
    """The share of requests that take longer than a limit.

    Parameters
    ----------
    n, exceeding
        Requests, and those that take longer.
    effect
        The design effect: one independent request tells as much as so many of these; at least 1.
    low, high
        The bounds of the share, each by itself with the confidence asked for.
    """

    n: int
    exceeding: int
    effect: float
    low: float
    high: float


def exceedance(trials: Sequence[FloatArray], limit: float, confidence: float) -> Exceedance:
    """Bounds of the share of requests that take longer than a limit.

    Parameters
    ----------
    trials
        Latencies by trial, shape [requests] each; at least two trials of as many requests.
    limit
        What they are compared with.
    confidence
        Of each bound by itself.

    Returns
    -------
    Exceedance
        The bounds.

    Notes
    -----
    The interval of Clopper and Pearson, for the effective numbers n / d and k / d instead of n and k, as Korn and
    Graubard have it. The design effect d is m Var(trial means) / Var(requests) for trials of m requests, which takes
    in what trials have in common and what neighbouring requests have in common. Its upper bound with 90 % is used,
    from the chi-squared distribution of the variance of the trial means; of latencies it is larger than of
    exceedances, because what latencies have in common shows less in their tail. Where exceedances themselves cluster
    in trials more than that, their own design effect counts. A rare kind of trial that was not drawn is not seen: no
    rule can see it without as many trials as the percentile asks for requests.

    References
    ----------
    Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data, Survey Methodology 24 (1998), 193–201.
    """
    from scipy import special

    every, lengths = np.concatenate(trials), np.array([float(len(values)) for values in trials])
    flags = (every > limit).astype(float)
    n, exceeding = len(every), int(flags.sum())
    largest = n / len(trials)  # where all requests of a trial are alike
    effect = max(1.0, min(largest, max(_upper_effect(every, lengths), _effect(flags, lengths))))
    effective_n, effective_k = n / effect, exceeding / effect
    rest = effective_n - effective_k
    high = 1.0 if rest <= 0 else float(special.betaincinv(effective_k + 1, rest, confidence))
    low = 0.0 if exceeding == 0 else float(special.betaincinv(effective_k, rest + 1, 1 - confidence))
    return Exceedance(n, exceeding, effect, low, high)


def requests_needed(share: float, confidence: float, *, exceeding: float = 1.0) -> int:
    """How many independent requests show that fewer than a share of all take too long, if so many of these do.

    Parameters
    ----------
    share
        For example 0.01 for the 99th percentile.
    confidence
        With which they have to show it.
    exceeding
        How many of them take too long.

    Notes
    -----
    As MLPerf's LoadGen computes the least number of queries for early stopping: 662 for the 99th percentile with a
    confidence of 99 % and one query that takes too long.
    """
    from scipy import special

    def shows(n: int) -> bool:
        return n > exceeding and float(special.betainc(exceeding + 1, n - exceeding, share)) >= confidence

    high = 1
    while not shows(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def _effect(values: FloatArray, lengths: FloatArray) -> float:
    """The design effect as it is in these trials, which stand one after the other."""
    total = float(np.var(values, ddof=1))
    if total == 0:
        return 0.0
    means = np.add.reduceat(values, (np.cumsum(lengths) - lengths).astype(int)) / lengths
    return float(lengths.mean() * np.var(means, ddof=1)) / total


def _upper_effect(latencies: FloatArray, lengths: FloatArray) -> float:
    """Upper bound of the design effect of latencies, by their ranks, so that no single one decides it."""
    from scipy import special
    from scipy.stats import rankdata

    ranks = rankdata(latencies)
    scores = special.ndtri((ranks - 0.5) / len(ranks))
    freedom = len(lengths) - 1
    quantile = 2 * float(special.gammaincinv(freedom / 2, 1 - _EFFECT_CONFIDENCE))
    return _effect(scores, lengths) * (freedom / quantile if quantile > 0 else math.inf)
