"""What one strategy's latencies look like: how many, median, 95th percentile, spread, normality."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import StatisticsInputError, as_sample


@dataclass(frozen=True)
class ShapiroWilk:
    """Result of a Shapiro-Wilk test: `w` near 1 and a large `p` are what normal samples give."""

    w: float
    p: float


@dataclass(frozen=True)
class Description:
    """Location, spread and normality of one sample, in the unit of the sample."""

    n: int
    median: float
    p95: float
    iqr: float
    shapiro: ShapiroWilk


def shapiro_wilk(values: npt.ArrayLike, name: str = "the sample") -> ShapiroWilk:
    """Test whether a sample could come from a normal distribution.

    Parameters
    ----------
    values : array_like, shape (n,)
        The sample, n >= 3, not all equal, in any unit.
    name : str
        What the sample is called in an error.

    Returns
    -------
    ShapiroWilk
        Statistic and p-value. Above n = 5000 the p-value is an extrapolation of Royston's approximation.

    Raises
    ------
    StatisticsInputError
        If there are fewer than three values, one is not finite, or all are equal.

    References
    ----------
    Shapiro, Wilk (1965), Biometrika 52, 591-611; Royston (1995), Algorithm AS R94, Applied Statistics 44,
    547-551. Computed by `scipy.stats.shapiro`.
    """
    from scipy import stats

    sample = as_sample(values, name, minimum=3)
    if np.ptp(sample) == 0:
        raise StatisticsInputError(f"{name} has {sample.size} samples that all equal {sample[0]:g}.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*p-value may not be accurate.*")
        result = stats.shapiro(sample)
    return ShapiroWilk(float(result.statistic), float(result.pvalue))


def describe(values: npt.ArrayLike, name: str = "the sample") -> Description:
    """Summarize one sample.

    Parameters
    ----------
    values : array_like, shape (n,)
        The sample, n >= 3, not all equal, in any unit.
    name : str
        What the sample is called in an error.

    Returns
    -------
    Description
        Percentiles interpolate linearly between order statistics (Hyndman and Fan's type 7, numpy's default).

    Raises
    ------
    StatisticsInputError
        If there are fewer than three values, one is not finite, or all are equal.

    References
    ----------
    Hyndman, Fan (1996), Sample quantiles in statistical packages, The American Statistician 50, 361-365.
    """
    sample = as_sample(values, name, minimum=3)
    lower, median, upper, p95 = (float(q) for q in np.percentile(sample, [25, 50, 75, 95]))
    return Description(
        n=int(sample.size), median=median, p95=p95, iqr=upper - lower, shapiro=shapiro_wilk(sample, name)
    )
