"""How large a difference is: Cliff's delta, counted exactly, and the letter that its size is given."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import as_sample

Magnitude = Literal["N", "S", "M", "L"]

# The smallest |delta| that is small, medium and large.
SMALL, MEDIUM, LARGE = 0.147, 0.33, 0.474


def cliffs_delta_counts(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[int, int]:
    """Count by how many pairs `a` exceeds `b`, exactly.

    Parameters
    ----------
    a : array_like, shape (n_a,)
        First sample, in any unit.
    b : array_like, shape (n_b,)
        Second sample, in the same unit.

    Returns
    -------
    numerator : int
        #(a > b) - #(a < b) over all n_a n_b pairs.
    denominator : int
        n_a n_b. The fraction is not reduced.

    Raises
    ------
    StatisticsInputError
        If either sample is empty or holds something that is not a finite number.

    Notes
    -----
    Each side is sorted and the positions of `a` in `b` are looked up, O(n log n) time and O(n) memory; the
    counts are integers throughout.

    References
    ----------
    Cliff (1993), Dominance statistics, Psychological Bulletin 114, 494-509.
    """
    first, second = (np.sort(_comparable(side, name)) for side, name in ((a, "sample a"), (b, "sample b")))
    below = np.searchsorted(second, first, side="left")
    not_above = np.searchsorted(second, first, side="right")
    # For one element of a: `below` of b are smaller, n_b - `not_above` are larger.
    numerator = int(below.sum(dtype=np.int64)) + int(not_above.sum(dtype=np.int64)) - first.size * second.size
    return numerator, first.size * second.size


def cliffs_delta(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cliff's delta: how much more often `a` exceeds `b` than the reverse, as a share of all pairs.

    Parameters
    ----------
    a : array_like, shape (n_a,)
        First sample, in any unit.
    b : array_like, shape (n_b,)
        Second sample, in the same unit.

    Returns
    -------
    float
        (#(a > b) - #(a < b)) / (n_a n_b), from -1 to 1; positive where `a` tends to be larger. Correctly
        rounded.

    Raises
    ------
    StatisticsInputError
        If either sample is empty or holds something that is not a finite number.

    References
    ----------
    Cliff (1993), Dominance statistics, Psychological Bulletin 114, 494-509.
    """
    numerator, denominator = cliffs_delta_counts(a, b)
    return numerator / denominator


@dataclass(frozen=True, slots=True)
class DeltaInterval:
    """Cliff's delta with an interval of it."""

    delta: float
    low: float
    high: float
    confidence: float


def cliffs_delta_interval(a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = 0.95) -> DeltaInterval:
    """Cliff's delta with its asymmetric interval.

    Parameters
    ----------
    a : array_like, shape (n_a,)
        First sample, in any unit.
    b : array_like, shape (n_b,)
        Second sample, in the same unit.
    confidence : float
        From 0 to 1, both excluded.

    Returns
    -------
    DeltaInterval
        From -1 to 1 where a sample has one value only, which tells nothing of how it varies.

    Raises
    ------
    StatisticsInputError
        If either sample is empty or holds something that is not a finite number.

    Notes
    -----
    With d_ij the sign of a_i - b_j, d_i. and d_.j its means, and n_a n_b = N, the variance of d is

        s^2 = (n_b^2 sum (d_i. - d)^2 + n_a^2 sum (d_.j - d)^2 - sum (d_ij - d)^2) / (N (n_a - 1) (n_b - 1)),

    at least (1 - d^2) / (N - 1), and the interval, z being the normal quantile, is

        (d - d^3 -+ z s sqrt((1 - d^2)^2 + z^2 s^2)) / (1 - d^2 + z^2 s^2).

    Where the samples do not overlap (d = 1 or -1), s is 0, and the end towards 0 is (n - z^2) / (n + z^2) with n the
    smaller of n_a and n_b. Values of a sample are taken as independent: requests of one trial are not quite, so that
    the true interval is wider.

    References
    ----------
    Cliff (1996), Ordinal methods for behavioral data analysis; Feng, Cliff (2004), Monte Carlo evaluation of ordinal d
    with improved confidence interval, Journal of Modern Applied Statistical Methods 3(2), 322-332.
    """
    from scipy.stats import norm

    first, second = (np.sort(_comparable(side, name)) for side, name in ((a, "sample a"), (b, "sample b")))
    numerator, denominator = cliffs_delta_counts(first, second)
    delta = numerator / denominator
    if min(first.size, second.size) < 2:
        return DeltaInterval(delta, -1.0, 1.0, confidence)
    z = float(norm.ppf((1 + confidence) / 2))
    if abs(delta) == 1:
        smaller = min(first.size, second.size)
        inner = (smaller - z**2) / (smaller + z**2)
        low, high = (inner, 1.0) if delta > 0 else (-1.0, -inner)
        return DeltaInterval(delta, low, high, confidence)
    rows, ties = _dominances(first, second)
    columns = -_dominances(second, first)[0]
    cells = (denominator - ties) - denominator * delta**2  # of squared deviations, summed over all pairs
    squares = second.size**2 * float(((rows - delta) ** 2).sum()) + first.size**2 * float(
        ((columns - delta) ** 2).sum()
    )
    variance = (squares - cells) / (denominator * (first.size - 1) * (second.size - 1))
    variance = max(variance, (1 - delta**2) / (denominator - 1))
    within = z * math.sqrt(variance * ((1 - delta**2) ** 2 + z**2 * variance))
    divisor = 1 - delta**2 + z**2 * variance
    low, high = ((delta - delta**3 + sign * within) / divisor for sign in (-1, 1))
    return DeltaInterval(delta, max(low, -1.0), min(high, 1.0), confidence)


def _dominances(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.float64], int]:
    """For each of `a`, how much more often it exceeds those of `b` than the reverse; and how many pairs are ties."""
    below = np.searchsorted(b, a, side="left")
    not_above = np.searchsorted(b, a, side="right")
    return (below + not_above - b.size) / b.size, int((not_above - below).sum())


def magnitude(delta: float) -> Magnitude:
    """Letter for the size of a delta: N < 0.147 <= S < 0.33 <= M < 0.474 <= L.

    Parameters
    ----------
    delta : float
        Cliff's delta, from -1 to 1; its sign does not matter.

    Returns
    -------
    {"N", "S", "M", "L"}
        Negligible, small, medium or large.

    Raises
    ------
    ValueError
        If `delta` is outside [-1, 1] or NaN.

    References
    ----------
    Romano, Kromrey, Coraggio, Skowronek (2006), Exploring methods for evaluating group differences on the
    NSSE and other surveys, annual meeting of the Southern Association for Institutional Research.
    """
    size = abs(delta)
    if not size <= 1:
        raise ValueError(f"Cliff's delta must lie between -1 and 1, not {delta}.")
    if size < SMALL:
        return "N"
    if size < MEDIUM:
        return "S"
    return "M" if size < LARGE else "L"


def _comparable(values: npt.ArrayLike, name: str) -> npt.NDArray[np.generic]:
    """Keep integers (a double would merge those beyond 2**53), turn everything else into doubles."""
    array = np.asarray(values)
    if array.dtype.kind in "iu" and array.dtype != np.uint64 and array.ndim == 1 and array.size:
        return array.astype(np.int64, copy=False)
    return as_sample(array, name)
