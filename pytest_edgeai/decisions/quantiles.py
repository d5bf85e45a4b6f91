"""Intervals of a percentile of latency, from requests that come in trials and resemble each other within a trial."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.arrays import Array

CONFIDENCE = 0.95
"""With which an end of an interval holds, by itself: both together hold with 0.9, as latency budgets have it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and between which bounds it is.

    Parameters
    ----------
    estimate
        The figure as measured.
    low, high
        Each end holds with the confidence that it was made with; minus or plus infinity where the requests do not tell.
    """

    estimate: float
    low: float
    high: float

    def widened(self, by: float) -> Interval:
        """The interval with both ends farther out."""
        return Interval(self.estimate, self.low - by, self.high + by)


def percentile_interval(trials: Sequence[Array], percentile: float, *, confidence: float = CONFIDENCE) -> Interval:
    """The percentile of the requests of all trials, with an interval that needs no distribution.

    Parameters
    ----------
    trials
        Latencies of each trial, of which there is at least one; none is empty.
    percentile
        Above 0 and below 100.
    confidence
        Of each end.

    Returns
    -------
    Interval
        Ends are measured latencies, or infinite where there are too few requests.

    Notes
    -----
    A latency is an upper end where the share of requests above it is shown to be at most 1 - percentile / 100: by the
    Clopper-Pearson interval of that share with the number of independent requests that these are worth
    (`effective_size`), as Korn and Graubard (1998, Survey Methodology 24, 193-201) do for samples in clusters. The
    lower end likewise.
    """
    pooled = np.sort(np.concatenate(trials))
    share = percentile / 100
    estimate = float(np.percentile(pooled, percentile))
    effective = effective_size(trials, estimate)
    # The share of requests above a bound may be this at the most, to be shown to be below 1 - share; and vice versa.
    above = _largest_share(effective, 1 - share, confidence)
    below = _largest_share(effective, share, confidence)
    high = math.inf if above < 0 else float(pooled[-1 - _count(above, pooled.size)])
    low = -math.inf if below < 0 else float(pooled[_count(below, pooled.size)])
    return Interval(estimate, min(low, estimate), max(high, estimate))


def effective_size(trials: Sequence[Array], threshold: float) -> float:
    """How many independent requests those of the trials are worth.

    Parameters
    ----------
    trials
        Latencies of each trial.
    threshold
        A latency; whether requests are above it is one way in which those of a trial may resemble each other. The
        other one is their ranks among all.

    Returns
    -------
    float
        From the number of trials, whose requests are then as good as one each, to the number of requests.

    Notes
    -----
    The number of requests over the design effect 1 + (m - 1) ICC, with the intraclass correlation from the analysis of
    variance of m requests a trial, times (t(requests - 1) / t(trials - 1))², because that correlation is estimated
    from few trials. Trials are independent and requests within one need not be, in whatever order.
    """
    from scipy import special, stats

    sizes = np.array([one.size for one in trials])
    requests, count = int(sizes.sum()), len(trials)
    if count < 2:
        return 1.0
    if requests == count:
        return float(count)
    pooled = np.concatenate(trials)
    views = (stats.rankdata(pooled), (pooled > threshold).astype(float))
    effect = max(_design_effect(values, sizes) for values in views)
    doubt = (special.stdtrit(requests - 1, CONFIDENCE) / special.stdtrit(count - 1, CONFIDENCE)) ** 2
    return float(np.clip(requests / effect * doubt, count, requests))


def requests_needed(percentile: float, *, confidence: float = CONFIDENCE) -> int:
    """The fewest independent requests, all of them below a latency, that show that a percentile is below it.

    Examples
    --------
    >>> requests_needed(50), requests_needed(95), requests_needed(99)
    (5, 59, 299)
    """
    return math.ceil(math.log(1 - confidence) / math.log(percentile / 100))


def _design_effect(values: Array, sizes: Array) -> float:
    """By how much the requests of a trial are worth less than independent ones; from 1 to the size of a trial."""
    count, requests = len(sizes), int(sizes.sum())
    groups = np.repeat(np.arange(count), sizes)
    means = np.bincount(groups, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (count - 1)
    within = float(((values - means[groups]) ** 2).sum()) / (requests - count)
    usual = (requests - float((sizes**2).sum()) / requests) / (count - 1)
    total = between + (usual - 1) * within
    if total <= 0:  # all are alike
        return 1.0
    return max(1.0, 1 + (usual - 1) * (between - within) / total)


@functools.lru_cache(maxsize=4096)
def _largest_share(effective: float, limit: float, confidence: float) -> float:
    """The largest observed share that shows, with so many independent requests, that the true one is at most a limit.

    Negative where even none does not. The upper Clopper-Pearson bound grows with the share.
    """
    from scipy import optimize, special

    def excess(share: float) -> float:
        observed = share * effective
        bound = special.betaincinv(observed + 1, effective - observed, confidence)
        return float(bound) - limit

    if excess(0.0) > 0:
        return -1.0
    return float(optimize.brentq(excess, 0.0, limit))


def _count(share: float, requests: int) -> int:
    """How many requests a share is at the most."""
    return math.floor(share * requests + 1e-9)
