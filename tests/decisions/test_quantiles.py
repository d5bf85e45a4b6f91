"""Intervals of percentiles: what they cover in simulation, and slow references for what they are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_edgeai.arrays import Array
from pytest_edgeai.decisions.quantiles import CONFIDENCE, effective_size, percentile_interval, requests_needed

_REPETITIONS = 300


def _session(generator: np.random.Generator, trials: int, requests: int, within: float, between: float) -> list[Array]:
    """Trials of log-normal latencies: an offset of each, and a first-order autocorrelation within."""
    made: list[Array] = []
    for _ in range(trials):
        values = generator.normal(size=requests)
        for number in range(1, requests):
            values[number] = within * values[number - 1] + math.sqrt(1 - within**2) * values[number]
        made.append(np.exp(0.1 * (values + between * generator.normal())))
    return made


@pytest.mark.parametrize(
    ("trials", "requests", "within", "between", "percentile"),
    [
        (5, 10, 0.0, 0.0, 50),
        (5, 10, 0.6, 0.0, 50),
        (5, 10, 0.6, 1.0, 50),
        (20, 10, 0.6, 0.0, 90),
        (20, 10, 0.6, 0.5, 90),
        (20, 20, 0.6, 0.0, 95),
        (5, 100, 0.6, 0.5, 95),
    ],
)
def test_each_end_holds_as_often_as_stated_though_requests_resemble_each_other(
    trials: int, requests: int, within: float, between: float, percentile: float
) -> None:
    generator = np.random.default_rng(20)
    truth = math.exp(0.1 * stats.norm.ppf(percentile / 100) * math.sqrt(1 + between**2))
    intervals = [
        percentile_interval(_session(generator, trials, requests, within, between), percentile)
        for _ in range(_REPETITIONS)
    ]
    allowed = stats.binom.ppf(0.999, _REPETITIONS, 1 - CONFIDENCE) / _REPETITIONS
    assert np.mean([one.high < truth for one in intervals]) <= allowed
    assert np.mean([one.low > truth for one in intervals]) <= allowed


def test_independent_requests_alone_would_claim_too_much() -> None:
    """What the simulation above can see: without regard to trials, ends would be wrong far more often."""
    generator = np.random.default_rng(20)
    wrong = 0
    for _ in range(_REPETITIONS):
        pooled = np.sort(np.concatenate(_session(generator, 5, 10, 0.6, 1.0)))
        wrong += pooled[int(stats.binom.ppf(CONFIDENCE, pooled.size, 0.5))] < 1
    assert wrong / _REPETITIONS > 2 * (1 - CONFIDENCE)


def test_a_percentile_is_not_shown_by_fewer_requests_than_it_needs() -> None:
    generator = np.random.default_rng(0)
    few = [generator.random(10) for _ in range(5)]
    assert percentile_interval(few, 95).high == math.inf
    assert math.isfinite(percentile_interval([generator.random(100) for _ in range(10)], 95).high)
    assert math.isfinite(percentile_interval(few, 50).high)


@pytest.mark.parametrize("percentile", [50, 90, 95, 99])
def test_the_number_of_requests_needed_is_the_first_that_shows_it(percentile: float) -> None:
    needed = requests_needed(percentile)
    share = percentile / 100
    assert share**needed <= 1 - CONFIDENCE < share ** (needed - 1)


@given(st.lists(st.lists(st.floats(0.001, 10), min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 99))
def test_an_interval_encloses_its_estimate_and_the_worth_is_between_trials_and_requests(
    rows: list[list[float]], percentile: int
) -> None:
    trials: list[Array] = [np.array(row) for row in rows]
    found = percentile_interval(trials, percentile)
    pooled = np.concatenate(trials)
    assert found.low <= found.estimate <= found.high
    assert found.estimate == np.percentile(pooled, percentile)
    for end in (found.low, found.high):
        assert math.isinf(end) or end in (*pooled, found.estimate)
    if len(trials) > 1:
        assert len(trials) <= effective_size(trials, found.estimate) <= pooled.size


def test_requests_that_all_tell_the_same_in_a_trial_are_worth_one() -> None:
    trials: list[Array] = [np.full(10, value) for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    assert effective_size(trials, 3.5) == len(trials)


def test_one_trial_shows_nothing() -> None:
    found = percentile_interval([np.arange(1.0, 1001.0)], 50)
    assert (found.low, found.high) == (-math.inf, math.inf)


@given(st.integers(5, 60), st.sampled_from([50, 80, 90, 95]), st.integers(0, 1000))
def test_ends_of_independent_trials_of_one_request_are_the_order_statistics_of_the_binomial_test(
    count: int, percentile: int, seed: int
) -> None:
    values = np.sort(np.random.default_rng(seed).normal(size=count))
    found = percentile_interval([np.array([value]) for value in values], percentile)
    share = percentile / 100
    shown = [
        value
        for number, value in enumerate(values)
        # so many or fewer above, were the true share above as large as 1 - share
        if stats.binom.cdf(count - 1 - number, count, 1 - share) <= 1 - CONFIDENCE
    ]
    assert found.high == (max(shown[0], found.estimate) if shown else math.inf)
