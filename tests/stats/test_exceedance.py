"""How often requests exceed a limit, next to exact intervals of independent requests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_edgeai.stats import exceedance, requests_needed


def test_the_99th_percentile_needs_as_many_requests_as_loadgen_says() -> None:
    assert requests_needed(0.01, 0.99) == 662
    assert requests_needed(0.01, 0.99, exceeding=0) == 459


@given(share=st.floats(0.005, 0.3), confidence=st.floats(0.8, 0.999), exceeding=st.integers(0, 10))
def test_the_requests_needed_are_the_fewest(share: float, confidence: float, exceeding: int) -> None:
    needed = requests_needed(share, confidence, exceeding=exceeding)
    assert stats.binom.cdf(exceeding, needed, share) <= 1 - confidence + 1e-9
    assert needed == exceeding + 1 or stats.binom.cdf(exceeding, needed - 1, share) > 1 - confidence - 1e-9


@pytest.mark.parametrize("exceeding", [0, 1, 7, 100])
def test_where_requests_have_nothing_in_common_the_bounds_are_those_of_clopper_and_pearson(exceeding: int) -> None:
    # Trials of the same latencies in another order have equal means, so that no request is worth less than one.
    rank = np.arange(100.0)
    random = np.random.default_rng(0)
    trials = [random.permutation(rank) for _ in range(5)]
    found = exceedance(trials, 99.5 - exceeding, 0.99)
    expected = stats.binomtest(5 * exceeding, 500).proportion_ci(0.98, method="exact")
    assert (found.n, found.exceeding, found.effect) == (500, 5 * exceeding, 1.0)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_requests_that_repeat_each_other_count_as_few() -> None:
    random = np.random.default_rng(0)
    alike = [np.repeat(random.standard_normal(50), 10) for _ in range(20)]
    found = exceedance(alike, 10.0, 0.99)
    assert found.effect > 8
    assert found.high > exceedance([random.standard_normal(500) for _ in range(20)], 10.0, 0.99).high


def test_requests_that_exceed_a_limit_in_one_trial_only_count_as_few() -> None:
    random = np.random.default_rng(0)
    spread = [random.permutation(np.r_[np.full(5, 2.0), random.uniform(0, 1, 95)]) for _ in range(20)]
    together = [random.uniform(0, 1, 100) for _ in range(19)] + [np.full(100, 2.0)]
    assert exceedance(together, 1.5, 0.99).exceeding == exceedance(spread, 1.5, 0.99).exceeding
    assert exceedance(together, 1.5, 0.99).effect > 90
    assert exceedance(together, 1.5, 0.99).high > exceedance(spread, 1.5, 0.99).high


def test_latencies_that_are_all_the_same_have_bounds() -> None:
    found = exceedance([np.ones(100)] * 5, 2.0, 0.99)
    assert (found.effect, found.low) == (1.0, 0.0)
    assert found.high == pytest.approx(1 - 0.01 ** (1 / 500))
