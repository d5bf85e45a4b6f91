"""Variances that many small groups have in common: few trials of each strategy say little alone, together they do."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import StatisticsInputError

_FEWEST_GROUPS = 3
_MOST_PRIOR_DF = 1e6


@dataclass(frozen=True)
class Shrunk:
    """Variances drawn towards what they have in common.

    `variances` has one value for each group and `df` how many degrees of freedom each of them has; `prior_df` says
    how many of these the other groups lend, and `common` the variance that they are drawn towards (0 where none is
    lent).
    """

    variances: npt.NDArray[np.float64]
    df: npt.NDArray[np.float64]
    prior_df: float
    common: float = 0.0


def shrink_variances(variances: npt.ArrayLike, df: npt.ArrayLike) -> Shrunk:
    """Draw sample variances towards their common value, as far as they are alike.

    Parameters
    ----------
    variances : array_like of shape (groups,)
        Sample variances, 0 or more.
    df : array_like of shape (groups,)
        Their degrees of freedom, above 0.

    Returns
    -------
    Shrunk
        Below three groups with a variance there is nothing to be learned from the others, and they stay as they are.

    Raises
    ------
    StatisticsInputError
        If a variance is negative or not finite, or has no degrees of freedom.

    Notes
    -----
    The variances are taken as drawn from a scaled inverse chi-squared distribution, whose parameters are fitted to
    the mean and the variance of their logarithms.

    References
    ----------
    Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments, Statistical Applications in Genetics and Molecular Biology 3(1), section 6.2.
    """
    from scipy.special import digamma, polygamma

    sampled, freedom = np.asarray(variances, dtype=np.float64), np.asarray(df, dtype=np.float64)
    if sampled.ndim != 1 or sampled.shape != freedom.shape:
        raise StatisticsInputError("variances and their degrees of freedom must be two lists of one length.")
    if not (np.isfinite(sampled).all() and (sampled >= 0).all() and (freedom > 0).all()):
        raise StatisticsInputError("variances must be 0 or more and have degrees of freedom.")
    positive = sampled > 0
    if np.count_nonzero(positive) < _FEWEST_GROUPS:
        return Shrunk(sampled, freedom, 0.0)
    half = freedom[positive] / 2
    logs = np.log(sampled[positive]) - digamma(half) + np.log(half)
    excess = float(np.var(logs, ddof=1) - np.mean(polygamma(1, half)))
    prior_df = min(2 * _inverse_trigamma(excess), _MOST_PRIOR_DF) if excess > 0 else _MOST_PRIOR_DF
    common = float(np.exp(np.mean(logs) + digamma(prior_df / 2) - np.log(prior_df / 2)))
    drawn = (prior_df * common + freedom * sampled) / (prior_df + freedom)
    # No more freedom than all groups together have.
    return Shrunk(drawn, np.minimum(prior_df + freedom, freedom.sum()), prior_df, common)


def _inverse_trigamma(value: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import polygamma

    low, high = 1e-8, 1e8
    if value >= polygamma(1, low):
        return low
    if value <= polygamma(1, high):
        return high
    root = brentq(lambda log_x: float(polygamma(1, np.exp(log_x))) - value, np.log(low), np.log(high))
    return float(np.exp(root))
