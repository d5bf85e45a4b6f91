"""Differences between two measurements of the same things: accuracies, or correctness of predictions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import StatisticsInputError, as_pairs, at_least, between_zero_and_one


@dataclass(frozen=True)
class Wilcoxon:
    """Result of a signed-rank test: the smaller rank sum `t`, how many pairs differ, and the two-sided p."""

    t: float
    n_nonzero: int
    p: float


@dataclass(frozen=True)
class McNemar:
    """Result of McNemar's test: how many only `a`, and only `b`, got right, and the two-sided p."""

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True)
class AccuracyDrop:
    """Drop in accuracy in percentage points (positive: the candidate is worse) and its interval."""

    drop: float
    low: float
    high: float
    confidence: float


def wilcoxon_signed_rank(a: npt.ArrayLike, b: npt.ArrayLike, *, decimals: int | None = 9) -> Wilcoxon:
    """Wilcoxon's signed-rank test in the paper's variant.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Paired measurements, in one unit, such as two operators' accuracies over the same model, tier and
        metric.
    decimals : int or None
        Differences are rounded to so many decimals before they are ranked, so that decimal inputs keep their
        ties: 82.52 - 82.148 and 83.52 - 83.148 are different doubles. None ranks the doubles as they are.

    Returns
    -------
    Wilcoxon
        T = min(T+, T-) and its two-sided p; T = 0 and p = 1 where no pair differs.

    Raises
    ------
    StatisticsInputError
        If the lengths differ, there are no pairs, or a value is not a finite number.

    Notes
    -----
    Zero differences are dropped (`zero_method="wilcox"`), no continuity correction, and p from the classical
    exact distribution of T, which disregards ties; a half-integer T is rounded towards its mean, which is
    conservative. This is `scipy.stats.wilcoxon(method="exact")`; its default method no longer is this where
    there are ties. The cost grows steeply with n, to about a second at n = 1000.

    References
    ----------
    Wilcoxon (1945), Individual comparisons by ranking methods, Biometrics Bulletin 1, 80-83.
    """
    from scipy import stats

    first, second = as_pairs(a, b)
    differences = first - second
    if decimals is not None:
        differences = np.round(differences, decimals)
    differences = differences[differences != 0]
    if differences.size == 0:
        return Wilcoxon(0.0, 0, 1.0)
    result = stats.wilcoxon(differences, zero_method="wilcox", correction=False, method="exact")
    return Wilcoxon(float(result.statistic), int(differences.size), float(result.pvalue))


def mcnemar_exact(a_correct: npt.ArrayLike, b_correct: npt.ArrayLike) -> McNemar:
    """Test whether two classifiers are equally often right on the same inputs, exactly.

    Parameters
    ----------
    a_correct, b_correct : array_like of bool, shape (n,)
        Whether each classifier was right on input i.

    Returns
    -------
    McNemar
        Counts of the inputs on which only one of them was right; p = 1 where there are none.

    Raises
    ------
    StatisticsInputError
        If the lengths differ, there are no inputs, or a value is neither true nor false.

    Notes
    -----
    The two-sided binomial test of `only_a` successes in `only_a + only_b` throws of a fair coin.

    References
    ----------
    McNemar (1947), Psychometrika 12, 153-157; exact form: Fagerland, Lydersen, Laake (2013), BMC Medical
    Research Methodology 13, 91.
    """
    from scipy import stats

    first, second = _as_correctness(a_correct, b_correct)
    only_a = int(np.count_nonzero(first & ~second))
    only_b = int(np.count_nonzero(second & ~first))
    if only_a + only_b == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(only_a, only_b, float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue))


def ratio_drop(
    baseline: tuple[npt.ArrayLike, npt.ArrayLike],
    candidate: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> AccuracyDrop:
    """Drop in a metric that is a ratio of sums over inputs, such as F1, with its bootstrap interval.

    Parameters
    ----------
    baseline, candidate : tuple of array_like, each of shape (n,)
        What each input adds to the numerator and to the denominator of the metric. For a share of right answers:
        1 where it is right, and 1. For F1 = 2 TP / (2 TP + FP + FN): 2 where the positive class is both predicted
        and true, and how many of the two it is.
    confidence : float
        Coverage that the interval aims at.
    resamples : int
        How many bootstrap samples to draw.
    seed : int
        Seed of the draw; the same arguments give the same interval.

    Returns
    -------
    AccuracyDrop
        In percentage points. Where a denominator is 0, so is the metric.

    Raises
    ------
    StatisticsInputError
        If the lengths differ, there are no inputs, or a value is not a finite number.
    ValueError
        If `confidence` is not between 0 and 1 or `resamples` is below 1.

    Notes
    -----
    Inputs are resampled with replacement, both sides of an input together, and the metric is computed again on
    each resample: the percentile interval. Inputs that add the same to all four sums are one kind; how often each
    kind occurs in a resample is multinomial, and is drawn at once: the cost depends on the number of kinds, not on
    n. As any percentile interval, it says nothing (0 to 0) where no input was judged differently.

    References
    ----------
    Efron, Tibshirani (1993), An introduction to the bootstrap, chapter 13.
    """
    between_zero_and_one(confidence, "confidence")
    at_least(1, resamples, "resamples")
    numerators = as_pairs(baseline[0], candidate[0], "the numerators")
    denominators = as_pairs(baseline[1], candidate[1], "the denominators")
    as_pairs(numerators[0], denominators[0], "the metric")
    columns = np.column_stack([*numerators, *denominators])
    kinds, counts = np.unique(columns, axis=0, return_counts=True)
    n = columns.shape[0]
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    drops = _ratio_drops(drawn @ kinds)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drops, [tail, 1.0 - tail])
    return AccuracyDrop(float(_ratio_drops(counts @ kinds)), float(low), float(high), confidence)


def replicate_drop(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, *, drop: float, confidence: float = 0.95
) -> AccuracyDrop | None:
    """Interval of a drop from the values of a metric on bootstrap resamples.

    Parameters
    ----------
    baseline, candidate : array_like, shape (resamples,)
        Values on the same resamples of the inputs; NaN where a resample has none.
    drop : float
        The drop on all inputs.
    confidence : float
        Coverage that the interval aims at.

    Returns
    -------
    AccuracyDrop or None
        The percentile interval in the unit of the values; None where fewer than half of the resamples have a value on
        both sides.

    Raises
    ------
    ValueError
        If the lengths differ, or `confidence` is not between 0 and 1.

    References
    ----------
    Efron, Tibshirani (1993), An introduction to the bootstrap, chapter 13.
    """
    between_zero_and_one(confidence, "confidence")
    first, second = np.asarray(baseline, dtype=float), np.asarray(candidate, dtype=float)
    if first.shape != second.shape:
        raise ValueError("the two sides have values on different numbers of resamples")
    differences = (first - second)[np.isfinite(first) & np.isfinite(second)]
    if 2 * differences.size < max(1, first.size):
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    return AccuracyDrop(drop, float(low), float(high), confidence)


def _ratio_drops(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Percentage points from sums of baseline's and candidate's numerator, then denominators, shape (..., 4)."""
    numerators, denominators = sums[..., :2], sums[..., 2:]
    percents = 100.0 * np.divide(numerators, denominators, out=np.zeros_like(numerators), where=denominators != 0)
    return np.asarray(percents[..., 0] - percents[..., 1], dtype=np.float64)


def _as_correctness(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    first, second = as_pairs(a, b, "the correctness vectors")
    if not np.isin((first, second), (0.0, 1.0)).all():
        raise StatisticsInputError("the correctness vectors hold a value that is neither true nor false.")
    return first == 1, second == 1
