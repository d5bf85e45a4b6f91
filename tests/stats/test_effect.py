"""Cliff's delta is an exact count of pairs, and its letter follows the documented thresholds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pytest_edgeai.stats import (
    StatisticsInputError,
    cliffs_delta,
    cliffs_delta_counts,
    cliffs_delta_interval,
    magnitude,
)

from . import slow

tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)
spread = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=25)


@settings(deadline=None)
@given(a=tied | spread, b=tied | spread)
def test_the_counts_are_those_of_comparing_all_pairs(a: list[float], b: list[float]) -> None:
    assert cliffs_delta_counts(a, b) == slow.delta_counts(a, b)


@settings(deadline=None)
@given(a=tied, b=tied)
def test_swapping_the_samples_changes_nothing_but_the_sign(a: list[float], b: list[float]) -> None:
    assert cliffs_delta(a, b) == -cliffs_delta(b, a)


def test_the_delta_of_a_sample_with_itself_is_zero_however_it_is_ordered() -> None:
    sample = np.random.default_rng(1).normal(size=101)

    assert cliffs_delta(sample, sample[::-1]) == 0


def test_samples_that_do_not_overlap_have_delta_one_with_the_sign_of_the_first() -> None:
    assert cliffs_delta([3.0, 4.0], [1.0, 2.0, 2.5]) == 1.0
    assert cliffs_delta([1.0, 2.0, 2.5], [3.0, 4.0]) == -1.0


def test_counts_stay_exact_where_the_number_of_pairs_exceeds_32_bits() -> None:
    n = 100_000

    assert cliffs_delta_counts(np.arange(n), np.arange(n) + 0.5) == (-n, n * n)


def test_large_integers_that_a_double_would_merge_are_told_apart() -> None:
    assert cliffs_delta_counts([2**60 + 1], [2**60]) == (1, 1)


def test_the_arguments_are_left_as_they_were() -> None:
    a, b = np.array([3.0, 1.0, 2.0]), np.array([2, 1])

    cliffs_delta(a, b)

    assert a.tolist() == [3.0, 1.0, 2.0]
    assert b.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("a", "named"),
    [([], "sample a has 0 samples"), ([1.0, math.nan], "sample a holds nan"), (["x"], "sample a")],
)
def test_a_sample_that_cannot_be_compared_is_named(a: list[float], named: str) -> None:
    with pytest.raises(StatisticsInputError, match=named):
        cliffs_delta_counts(a, [1.0])


@pytest.mark.parametrize(
    ("counts", "letter"),
    [
        ((0, 1), "N"),
        ((146_999, 1_000_000), "N"),
        ((147, 1000), "S"),
        ((329, 1000), "S"),
        ((33, 100), "M"),
        ((1, 3), "M"),
        ((473, 1000), "M"),
        ((474, 1000), "L"),
        ((1, 1), "L"),
    ],
)
def test_each_threshold_belongs_to_the_larger_letter(counts: tuple[int, int], letter: str) -> None:
    numerator, denominator = counts

    assert magnitude(numerator / denominator) == letter
    assert magnitude(-numerator / denominator) == letter


@pytest.mark.parametrize("impossible", [1.001, -2.0, math.nan, math.inf])
def test_a_number_that_is_no_delta_has_no_letter(impossible: float) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        magnitude(impossible)


def _slow_interval(a: list[float], b: list[float], confidence: float) -> tuple[float, float]:
    """Feng and Cliff's interval, from the matrix of all pairs."""
    signs = np.sign(np.subtract.outer(a, b))
    n_a, n_b = signs.shape
    d = signs.mean()
    s2 = (
        n_b**2 * np.square(signs.mean(axis=1) - d).sum()
        + n_a**2 * np.square(signs.mean(axis=0) - d).sum()
        - np.square(signs - d).sum()
    ) / (n_a * n_b * (n_a - 1) * (n_b - 1))
    s2 = max(s2, (1 - d**2) / (n_a * n_b - 1))
    z = norm.ppf((1 + confidence) / 2)
    within = z * np.sqrt(s2) * np.sqrt((1 - d**2) ** 2 + z**2 * s2)
    low, high = ((d - d**3 + sign * within) / (1 - d**2 + z**2 * s2) for sign in (-1, 1))
    return max(low, -1.0), min(high, 1.0)


@given(
    st.lists(st.integers(0, 12).map(float), min_size=2, max_size=15),
    st.lists(st.integers(0, 12).map(float), min_size=2, max_size=15),
    st.sampled_from([0.8, 0.95]),
)
def test_the_interval_of_delta_is_that_of_all_pairs(a: list[float], b: list[float], confidence: float) -> None:
    found = cliffs_delta_interval(a, b, confidence)
    assert found.delta == cliffs_delta(a, b)
    assert -1 <= found.low <= found.delta <= found.high <= 1
    if abs(found.delta) < 1:
        assert (found.low, found.high) == pytest.approx(_slow_interval(a, b, confidence), abs=1e-9)
    turned = cliffs_delta_interval(b, a, confidence)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_the_interval_of_delta_holds_the_true_one_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    true = 2 * norm.cdf(0.8 / np.sqrt(2)) - 1
    held = 0
    for _ in range(1000):
        found = cliffs_delta_interval(generator.normal(0.8, 1, 15), generator.normal(0, 1, 20))
        held += found.low <= true <= found.high
    assert 0.93 <= held / 1000 <= 0.975


def test_samples_that_do_not_overlap_have_an_interval_that_their_number_narrows() -> None:
    few, many = (cliffs_delta_interval(np.arange(n) + 1000.0, np.arange(n)) for n in (5, 500))
    assert (few.delta, few.high, many.high) == (1, 1, 1)
    assert few.low < 0.2 < 0.98 < many.low
    assert cliffs_delta_interval([1.0], [0.0, 2.0]).low == -1
