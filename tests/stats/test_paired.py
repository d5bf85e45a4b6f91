"""Tests on pairs, next to enumeration: signed ranks, correct predictions, and the interval of a drop."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_edgeai.stats import (
    StatisticsInputError,
    mcnemar_exact,
    ratio_drop,
    wilcoxon_signed_rank,
)

from . import slow

differences = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=11)
correctness = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(d=differences)
def test_the_signed_rank_p_is_that_of_enumerating_all_signs(d: list[float]) -> None:
    result = wilcoxon_signed_rank(d, [0.0] * len(d))

    t, p = slow.wilcoxon_exact(d)
    assert result.t == float(t)
    assert result.p == pytest.approx(p, rel=1e-12)
    assert result.n_nonzero == sum(value != 0 for value in d)


def test_the_depression_example_gives_what_r_prints() -> None:
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]

    result = wilcoxon_signed_rank(first, second)

    assert result.t == 5.0
    assert result.p == pytest.approx(0.0390625)


def test_swapping_the_sides_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=15), rng.normal(size=15)

    assert wilcoxon_signed_rank(a, b) == wilcoxon_signed_rank(b, a)


def test_pairs_that_do_not_differ_give_a_p_of_one() -> None:
    result = wilcoxon_signed_rank([82.5, 96.0], [82.5, 96.0])

    assert (result.t, result.n_nonzero, result.p) == (0.0, 0, 1.0)


def test_equal_decimal_differences_stay_ties_although_their_doubles_differ() -> None:
    a, b = [0.3, 1.1, 0.9], [0.2, 1.2, 0.1]  # +0.1, -0.1, +0.8
    assert a[0] - b[0] != -(a[1] - b[1])

    assert wilcoxon_signed_rank(a, b).t == 1.5
    assert wilcoxon_signed_rank(a, b, decimals=None).t != 1.5


def test_pairs_of_different_lengths_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="one length, not 2 and 1"):
        wilcoxon_signed_rank([1.0, 2.0], [1.0])


@settings(deadline=None)
@given(pairs=correctness)
def test_mcnemar_is_a_coin_thrown_for_each_discordant_input(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)

    result = mcnemar_exact(a, b)

    assert (result.only_a, result.only_b) == (only_a, only_b)
    assert result.p == pytest.approx(slow.binomial_two_sided(only_a, only_a + only_b), rel=1e-12)


def test_mcnemar_by_hand_with_one_and_five_discordant_inputs() -> None:
    a = [True, *[False] * 5, True]
    b = [False, *[True] * 5, True]

    assert mcnemar_exact(a, b).p == pytest.approx(14 / 64)


def test_something_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(StatisticsInputError, match="neither true nor false"):
        mcnemar_exact([0.5], [1.0])


def shares(right: npt.ArrayLike) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    """The parts of a share of right answers."""
    return np.asarray(right, dtype=float), np.ones(len(np.asarray(right)))


def test_the_drop_is_positive_where_the_candidate_is_worse() -> None:
    baseline, candidate = np.ones(200, dtype=bool), np.arange(200) >= 10

    drop = ratio_drop(shares(baseline), shares(candidate))

    assert drop.drop == pytest.approx(5.0)
    assert 0 < drop.low < 5.0 < drop.high
    assert ratio_drop(shares(candidate), shares(baseline)).drop == pytest.approx(-5.0)


def test_the_interval_is_that_of_resampling_inputs_one_by_one() -> None:
    rng = np.random.default_rng(21)
    baseline = rng.random(300) < 0.9
    candidate = np.where(rng.random(300) < 0.1, ~baseline, baseline)

    drop = ratio_drop(shares(baseline), shares(candidate), resamples=20_000, seed=3)

    lost = 100.0 * (baseline.astype(float) - candidate.astype(float))
    expected = stats.bootstrap(
        (lost,), np.mean, n_resamples=20_000, method="percentile", batch=500, rng=np.random.default_rng(0)
    ).confidence_interval
    # One input weighs a third of a point; the two draws may differ by about that.
    assert drop.low == pytest.approx(expected.low, abs=0.34)
    assert drop.high == pytest.approx(expected.high, abs=0.34)


def test_the_interval_holds_the_true_drop_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(17)
    hits = 0
    for trial in range(300):
        baseline, candidate = rng.random(400) < 0.9, rng.random(400) < 0.85
        interval = ratio_drop(shares(baseline), shares(candidate), confidence=0.9, resamples=500, seed=trial)
        hits += interval.low <= 5.0 <= interval.high

    assert 0.84 <= hits / 300 <= 0.96


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    rng = np.random.default_rng(2)
    baseline, candidate = rng.random(500) < 0.8, rng.random(500) < 0.7

    first = ratio_drop(shares(baseline), shares(candidate), resamples=200, seed=1)

    assert ratio_drop(shares(baseline), shares(candidate), resamples=200, seed=1) == first
    assert ratio_drop(shares(baseline), shares(candidate), resamples=200, seed=2) != first


def test_predictions_that_agree_everywhere_leave_no_interval() -> None:
    same = [True, False, True]

    drop = ratio_drop(shares(same), shares(same))

    assert (drop.drop, drop.low, drop.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("name", "value"), [("confidence", 1.0), ("resamples", 0)])
def test_an_interval_that_cannot_be_drawn_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        ratio_drop(shares([True]), shares([False]), **{name: value})  # type: ignore[arg-type]  # one of two types


def test_a_metric_whose_denominator_is_zero_is_zero() -> None:
    nothing, half = ([0, 0], [0, 0]), ([1, 0], [1, 1])

    assert ratio_drop(nothing, nothing).drop == 0.0
    assert ratio_drop(half, nothing).drop == 50.0


def test_numerators_and_denominators_of_different_lengths_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="one length"):
        ratio_drop(([1, 0], [1, 1]), ([1], [1]))
