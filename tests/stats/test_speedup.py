"""Ratios of medians, their mean over models, and the paper's habit of cutting decimals off."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.stats import StatisticsInputError, mean_ratio, ratio_of_medians, speedup, truncate


def test_the_ratio_is_between_medians_and_not_between_means() -> None:
    assert ratio_of_medians([2.0, 4.0, 900.0], [1.0, 2.0, 3.0]) == 2.0


def test_models_are_averaged_arithmetically() -> None:
    result = speedup({"bert": [3.0], "resnet": [1.0]}, {"resnet": [1.0], "bert": [1.0]})

    assert dict(result.ratios) == {"bert": 3.0, "resnet": 1.0}
    assert (result.mean, result.lowest, result.highest) == (2.0, 1.0, 3.0)


def test_faster_and_slower_are_not_inverses_of_each_other() -> None:
    fast, slow = {"a": [1.0], "b": [1.0]}, {"a": [2.0], "b": [4.0]}

    assert speedup(slow, fast).mean == 3.0
    assert speedup(fast, slow).mean == 0.375 != 1 / 3


@pytest.mark.parametrize(
    ("value", "cut"),
    [(1.199, 1.19), (1.15, 1.15), (2.999999, 2.99), (-1.239, -1.23), (4.0, 4.0), (1e300, 1e300)],
)
def test_decimals_are_cut_and_not_rounded(value: float, cut: float) -> None:
    assert truncate(value) == cut


@given(hundredths=st.integers(-(10**9), 10**9))
def test_a_number_of_two_decimals_is_not_changed_by_cutting_to_two(hundredths: int) -> None:
    assert truncate(hundredths / 100) == hundredths / 100


def test_a_model_without_its_counterpart_is_named() -> None:
    with pytest.raises(StatisticsInputError, match="one side of the ratio only: bert, roberta"):
        speedup({"bert": [1.0]}, {"roberta": [1.0]})


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match="at least one model"):
        speedup({}, {})
    with pytest.raises(StatisticsInputError, match="at least 1"):
        mean_ratio([])


@pytest.mark.parametrize("median", [0.0, -1.0])
def test_a_median_that_is_not_positive_has_no_ratio(median: float) -> None:
    with pytest.raises(StatisticsInputError, match="positive medians"):
        ratio_of_medians([1.0], [median])


def test_only_finite_numbers_and_whole_decimals_can_be_cut() -> None:
    with pytest.raises(ValueError, match="finite"):
        truncate(math.nan)
    with pytest.raises(ValueError, match="decimals"):
        truncate(1.0, -1)
