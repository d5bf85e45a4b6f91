"""Cliff's delta is an exact count of pairs, and its letter follows the documented thresholds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_edgeai.stats import StatisticsInputError, cliffs_delta, cliffs_delta_counts, magnitude

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
