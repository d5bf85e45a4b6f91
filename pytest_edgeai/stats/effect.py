"""How large a difference is: Cliff's delta, counted exactly, and the letter that its size is given."""

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
