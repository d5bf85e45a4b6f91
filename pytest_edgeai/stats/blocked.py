"""What the same inputs measured under every treatment can tell that independent samples cannot.

Where the payload decides the latency, the spread between inputs drowns the difference between operators in an
unblocked test. Here the input is a block: treatments are compared within it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import (
    FloatArray,
    StatisticsInputError,
    as_pairs,
    as_sample,
    between_zero_and_one,
)
from pytest_edgeai.stats.tails import chi2_tail


@dataclass(frozen=True)
class Friedman:
    """Result of a Friedman test over `blocks` blocks."""

    q: float
    df: int
    p: float
    log10_p: float
    blocks: int

    def as_json(self) -> dict[str, float]:
        """Return the fields as JSON has them."""
        return {"q": self.q, "df": self.df, "p": self.p, "log10_p": self.log10_p, "blocks": self.blocks}


@dataclass(frozen=True)
class PairedDifference:
    """Median of the per-block differences a - b, in the unit of the samples, and its interval.

    `coverage` is the probability with which such an interval holds the true median. Order statistics allow
    only some values, so it is at least the confidence asked for; where there are too few blocks for that, it
    is less, and the interval is the whole range.
    """

    median: float
    low: float
    high: float
    coverage: float
    blocks: int


@dataclass(frozen=True)
class InputShare:
    """Share of a sample's variance that its inputs explain.

    `share` is the plain ratio of sums of squares, `by_chance` what it is on average where the input explains
    nothing, and `adjusted` the share with that taken out (it can be below 0).
    """

    share: float
    by_chance: float
    adjusted: float


def friedman(blocks: npt.ArrayLike) -> Friedman:
    """Test whether treatments differ, comparing them within each block.

    Parameters
    ----------
    blocks : array_like, shape (n_blocks, n_treatments)
        One measurement of each treatment in each block; at least two of both. Any unit, which may differ by
        block.

    Returns
    -------
    Friedman
        Q corrected for ties, its degrees of freedom and its chi-squared tail; Q = 0 and p = 1 where every
        block is tied throughout.

    Raises
    ------
    StatisticsInputError
        If there are fewer than two blocks or treatments, or a value is not a finite number.

    Notes
    -----
    With ranks r within n blocks of k treatments, Q = n (k - 1) SS_treatments(r) / SS_total(r). Equals
    `scipy.stats.friedmanchisquare`, which refuses two treatments and gives no logarithm.

    References
    ----------
    Friedman (1937), The use of ranks to avoid the assumption of normality, JASA 32, 675-701; Conover (1999),
    Practical nonparametric statistics, third edition, section 5.8 for ties.
    """
    from scipy import stats

    table = _as_blocks(blocks)
    n, k = table.shape
    centred = stats.rankdata(table, axis=1) - (k + 1) / 2.0
    total = float((centred**2).sum())
    sums = centred.sum(axis=0)
    q = (k - 1) * float((sums**2).sum()) / total if total else 0.0
    p, log10_p = chi2_tail(q, k - 1)
    return Friedman(q, k - 1, p, log10_p, n)


def block_medians(values: npt.ArrayLike, inputs: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Median over the repetitions of each input.

    Parameters
    ----------
    values : array_like, shape (n,)
        Measurements, in any unit.
    inputs : array_like of int, shape (n,)
        Which input each was measured on.

    Returns
    -------
    inputs : ndarray of int64, shape (m,)
        The distinct inputs, ascending.
    medians : ndarray of float64, shape (m,)
        The median of each.

    Raises
    ------
    StatisticsInputError
        If the lengths differ, there are no values, or one is not a finite number.
    """
    sample, ids = _with_inputs(values, inputs)
    order = np.lexsort((sample, ids))
    distinct, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    ordered = sample[order]
    low, high = ordered[starts + (counts - 1) // 2], ordered[starts + counts // 2]
    return distinct, low + (high - low) / 2.0


def paired_difference(a: npt.ArrayLike, b: npt.ArrayLike, *, confidence: float = 0.95) -> PairedDifference:
    """Median difference between two treatments of the same blocks, with a distribution-free interval.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        One measurement of each treatment in each block, in one unit.
    confidence : float
        The least coverage that the interval should have.

    Returns
    -------
    PairedDifference
        Of a - b.

    Raises
    ------
    StatisticsInputError
        If the lengths differ, there are no blocks, or a value is not a finite number.
    ValueError
        If `confidence` is not between 0 and 1.

    Notes
    -----
    The interval is between the k-th smallest and k-th largest difference, with the largest k for which a fair
    coin thrown n times shows fewer than k heads with probability at most (1 - confidence) / 2 (the inverted
    sign test).

    References
    ----------
    Conover (1999), Practical nonparametric statistics, third edition, section 3.2.
    """
    from scipy import stats

    between_zero_and_one(confidence, "confidence")
    first, second = as_pairs(a, b, "the blocks")
    differences = np.sort(first - second)
    n = differences.size
    # ppf is the first count of heads whose cumulative probability reaches the tail; fewer stay below it.
    k = max(int(stats.binom.ppf((1.0 - confidence) / 2.0, n, 0.5)), 1)
    coverage = 1.0 - 2.0 * float(stats.binom.cdf(k - 1, n, 0.5))
    return PairedDifference(
        median=float(np.median(differences)),
        low=float(differences[k - 1]),
        high=float(differences[n - k]),
        coverage=max(coverage, 0.0),
        blocks=n,
    )


def input_share(values: npt.ArrayLike, inputs: npt.ArrayLike) -> InputShare:
    """Share of the variance of one strategy's latencies that the input explains.

    Parameters
    ----------
    values : array_like, shape (n,)
        Measurements, in any unit.
    inputs : array_like of int, shape (n,)
        Which input each was measured on; some input must occur twice.

    Returns
    -------
    InputShare
        With n measurements of m inputs: share R2 = SS_between / SS_total, by chance (m - 1) / (n - 1),
        adjusted 1 - (1 - R2) (n - 1) / (n - m).

    Raises
    ------
    StatisticsInputError
        If the lengths differ, a value is not a finite number, all values are equal, or no input occurs twice.

    References
    ----------
    Kelley (1935), An unbiased correlation ratio measure, PNAS 21, 554-559 (the adjusted share).
    """
    sample, ids = _with_inputs(values, inputs)
    _, codes = np.unique(ids, return_inverse=True)
    counts = np.bincount(codes)
    n, m = sample.size, counts.size
    if m == n:
        raise StatisticsInputError("no input was measured twice, so its share of the variance is unknown.")
    centred = sample - sample.mean()
    total = float((centred**2).sum())
    if total == 0:
        raise StatisticsInputError("all values are equal, so there is no variance to share.")
    means = np.bincount(codes, weights=centred) / counts
    left = float(((centred - means[codes]) ** 2).sum()) / total
    return InputShare(1.0 - left, by_chance=(m - 1) / (n - 1), adjusted=1.0 - left * (n - 1) / (n - m))


def concordance(blocks: npt.ArrayLike) -> InputShare:
    """Share of the treatments' ranks that the block explains, where each block was measured once by treatment.

    Parameters
    ----------
    blocks : array_like, shape (n_blocks, n_treatments)
        One measurement of each treatment in each block; at least two of both. Any unit, which may differ by
        treatment.

    Returns
    -------
    InputShare
        Share: Kendall's W of the blocks, ranked within each of k treatments; by chance 1/k; adjusted
        (k W - 1) / (k - 1), which without ties is the mean of Spearman's correlations of the treatments. Nothing
        beyond chance where every treatment is tied throughout.

    Raises
    ------
    StatisticsInputError
        If there are fewer than two blocks or treatments, or a value is not a finite number.

    References
    ----------
    Kendall, Babington Smith (1939), The problem of m rankings, Annals of Mathematical Statistics 10, 275-287.
    """
    from scipy import stats

    table = _as_blocks(blocks)
    n, k = table.shape
    centred = stats.rankdata(table, axis=0) - (n + 1) / 2.0
    total = float((centred**2).sum())
    share = float((centred.sum(axis=1) ** 2).sum()) / k / total if total else 1.0 / k
    return InputShare(share, by_chance=1.0 / k, adjusted=(k * share - 1.0) / (k - 1))


def _as_blocks(blocks: npt.ArrayLike) -> FloatArray:
    table = np.asarray(blocks, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise StatisticsInputError(f"A blocked test needs two blocks and two treatments, not {table.shape}.")
    as_sample(table.ravel(), "the table of blocks")
    return table


def _with_inputs(values: npt.ArrayLike, inputs: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    sample = as_sample(values)
    ids = np.asarray(inputs)
    if ids.shape != sample.shape:
        raise StatisticsInputError(f"there are {sample.size} values but inputs of shape {ids.shape}.")
    if ids.dtype.kind not in "iu":
        raise StatisticsInputError("inputs must be named by whole numbers.")
    return sample, ids.astype(np.int64, copy=False)
