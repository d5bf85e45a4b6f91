"""What a sample must be before any statistic is taken of it: finite numbers, and enough of them.

The reader of a file names the row that is wrong; here only the group is known, and it is named.
"""

import numpy as np
import numpy.typing as npt

from pytest_edgeai.errors import EdgeAIError

FloatArray = npt.NDArray[np.float64]


class StatisticsInputError(EdgeAIError, ValueError):
    """The numbers given cannot be analysed; the message is one sentence that names the group."""


def as_sample(values: npt.ArrayLike, name: str = "the sample", *, minimum: int = 1) -> FloatArray:
    """Return `values` as a one-dimensional array of finite doubles.

    Parameters
    ----------
    values : array_like, shape (n,)
        The numbers, in any unit.
    name : str
        What the group is called in an error.
    minimum : int
        How many numbers there must be.

    Returns
    -------
    ndarray of float64, shape (n,)
        The same numbers; not a copy where none is needed.

    Raises
    ------
    StatisticsInputError
        If `values` is not one-dimensional, holds something that is not a finite number, or is too short.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsInputError(f"{name} holds something that is not a number: {error}.") from error
    if array.ndim != 1:
        raise StatisticsInputError(f"{name} must have one dimension, not {array.ndim}.")
    if array.size < minimum:
        plural = "" if array.size == 1 else "s"
        raise StatisticsInputError(f"{name} has {array.size} sample{plural}; at least {minimum} are needed.")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise StatisticsInputError(f"{name} holds {bad}, which is not a finite number.")
    return array


def as_pairs(
    a: npt.ArrayLike, b: npt.ArrayLike, name: str = "the pairs", *, minimum: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return two samples whose elements belong together, as arrays of finite doubles.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Element i of `a` and element i of `b` were measured on the same thing.
    name : str
        What the pairs are called in an error.
    minimum : int
        How many pairs there must be.

    Returns
    -------
    tuple of ndarray of float64, each of shape (n,)
        The two samples.

    Raises
    ------
    StatisticsInputError
        If either is not a sample (see `as_sample`) or their lengths differ.
    """
    first = as_sample(a, f"{name}, first side,", minimum=minimum)
    second = as_sample(b, f"{name}, second side,", minimum=minimum)
    if first.size != second.size:
        raise StatisticsInputError(f"{name} must have two sides of one length, not {first.size} and {second.size}.")
    return first, second


def as_latencies(values: npt.ArrayLike, name: str) -> FloatArray:
    """Return the latencies of one strategy, checked for everything that a table needs of them.

    Parameters
    ----------
    values : array_like, shape (n,)
        Latencies in seconds, n >= 3.
    name : str
        The strategy, as an error should call it.

    Returns
    -------
    ndarray of float64, shape (n,)
        The same latencies.

    Raises
    ------
    StatisticsInputError
        If there are fewer than three, one is not finite or is negative, or all are equal (such numbers come
        from a broken clock or a broken file, and no test of spread or rank means anything on them).
    """
    latencies = as_sample(values, name, minimum=3)
    lowest = float(latencies.min())
    if lowest < 0:
        raise StatisticsInputError(f"{name} holds a negative latency, {lowest:g} s.")
    if lowest == float(latencies.max()):
        raise StatisticsInputError(f"{name} has {latencies.size} samples that all equal {lowest:g} s.")
    return latencies


def at_least(minimum: float, value: float, name: str) -> None:
    """Refuse a parameter below its smallest meaningful value.

    Parameters
    ----------
    minimum, value : float
        The limit and what was given.
    name : str
        The parameter, as an error should call it.

    Raises
    ------
    ValueError
        If `value` is below `minimum`.
    """
    if not value >= minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}.")


def between_zero_and_one(value: float, name: str) -> None:
    """Refuse a level (alpha, a confidence) that is not strictly between 0 and 1.

    Parameters
    ----------
    value : float
        What was given.
    name : str
        The parameter, as an error should call it.

    Raises
    ------
    ValueError
        If `value` is outside, or NaN.
    """
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value}.")
