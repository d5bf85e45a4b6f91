"""What is said of one sample: percentiles as numpy interpolates them, Shapiro-Wilk as published."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_edgeai.stats import StatisticsInputError, describe, shapiro_wilk

from . import slow


@settings(deadline=None)
@given(values=st.lists(st.integers(0, 1000).map(lambda i: i / 8), min_size=3, max_size=40))
def test_median_percentile_and_spread_are_those_of_the_order_statistics(values: list[float]) -> None:
    assume(len(set(values)) > 1)

    description = describe(values)

    assert description.n == len(values)
    assert description.median == pytest.approx(slow.percentile(values, 50))
    assert description.p95 == pytest.approx(slow.percentile(values, 95))
    assert description.iqr == pytest.approx(slow.percentile(values, 75) - slow.percentile(values, 25), abs=1e-12)


def test_the_example_of_shapiro_and_wilk_gives_what_r_prints() -> None:
    weights = [148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236]

    result = shapiro_wilk(weights)

    assert round(result.w, 5) == 0.78881
    assert round(result.p, 6) == 0.006704


def test_seconds_or_milliseconds_are_equally_normal() -> None:
    sample = np.random.default_rng(3).gamma(2.0, size=60)

    seconds, milliseconds = shapiro_wilk(sample), shapiro_wilk(1000 * sample)

    assert milliseconds.w == pytest.approx(seconds.w, rel=1e-12)
    assert milliseconds.p == pytest.approx(seconds.p, rel=1e-9)


def test_a_large_sample_is_tested_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = shapiro_wilk(np.random.default_rng(4).normal(size=6000))

    assert result.w > 0.99


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, 2.0], "bert-sptq-edge has 2 samples; at least 3 are needed"),
        ([1.0], "bert-sptq-edge has 1 sample; at least 3 are needed"),
        ([2.0, 2.0, 2.0], "bert-sptq-edge has 3 samples that all equal 2"),
        ([1.0, 2.0, math.nan], "bert-sptq-edge holds nan, which is not a finite number"),
        ([1.0, 2.0, -math.inf], "bert-sptq-edge holds -inf, which is not a finite number"),
        ([[1.0, 2.0, 3.0]], "bert-sptq-edge must have one dimension, not 2"),
        (["fast", "slow", "slow"], "bert-sptq-edge holds something that is not a number"),
    ],
)
def test_a_sample_that_cannot_be_described_is_named(values: list[float], said: str) -> None:
    with pytest.raises(StatisticsInputError, match=said):
        describe(values, "bert-sptq-edge")
