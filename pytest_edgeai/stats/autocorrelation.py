"""How much a series resembles itself some steps later."""

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError, as_sample, at_least


def autocorrelation(values: npt.ArrayLike, lags: int) -> FloatArray:
    """Compute the sample autocorrelation of a series.

    Parameters
    ----------
    values : array_like, shape (n,)
        The series, in its order, with more than `lags` values that are not all equal.
    lags : int
        The largest lag.

    Returns
    -------
    ndarray, shape (lags,)
        The autocorrelation at lags 1 to `lags`, from -1 to 1. Of a series without any, about 95 % are within
        1.96 / sqrt(n) of 0.

    Raises
    ------
    StatisticsInputError
        If there are too few values, one is not finite, or all are equal.
    ValueError
        If `lags` is below 1.

    References
    ----------
    Box, Jenkins, Reinsel, Ljung, Time Series Analysis, 5th edition, section 2.1.5 (the estimate with denominator n).
    """
    at_least(1, lags, "lags")
    series = as_sample(values, "the series", minimum=lags + 1)
    centred = series - series.mean()
    total = float(centred @ centred)
    if total == 0:
        raise StatisticsInputError("the series has equal values only, so that it has no autocorrelation.")
    return np.array([float(centred[lag:] @ centred[:-lag]) / total for lag in range(1, lags + 1)])
