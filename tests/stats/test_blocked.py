"""Comparisons within inputs, next to the textbook's formulas and to scipy."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_edgeai.stats import (
    StatisticsInputError,
    block_medians,
    concordance,
    friedman,
    input_share,
    kruskal_wallis,
    paired_difference,
)

from . import slow


def tables(cells: st.SearchStrategy[float], fewest: int = 2) -> st.SearchStrategy[list[list[float]]]:
    return st.integers(fewest, 5).flatmap(
        lambda k: st.lists(st.lists(cells, min_size=k, max_size=k), min_size=2, max_size=10)
    )


@settings(deadline=None)
@given(rows=tables(st.integers(0, 4).map(float)) | tables(st.floats(0, 1e3)))
def test_q_is_that_of_the_textbook(rows: list[list[float]]) -> None:
    result = friedman(rows)

    assert result.q == pytest.approx(float(slow.friedman_q(rows)), rel=1e-12, abs=1e-12)
    assert (result.df, result.blocks) == (len(rows[0]) - 1, len(rows))


@settings(deadline=None)
@given(rows=tables(st.integers(0, 4).map(float), fewest=3))
def test_the_friedman_p_is_that_of_scipy(rows: list[list[float]]) -> None:
    assume(any(len(set(row)) > 1 for row in rows))

    expected = stats.friedmanchisquare(*np.array(rows).T)

    assert friedman(rows).p == pytest.approx(float(expected.pvalue), rel=1e-9)


def test_two_treatments_are_the_squared_sign_test() -> None:
    rows = [[1.0, 2.0]] * 9 + [[2.0, 1.0]] * 3

    assert friedman(rows).q == pytest.approx((9 - 3) ** 2 / 12)


def test_the_round_of_baseball_of_hollander_and_wolfe_gives_what_r_prints() -> None:
    times = (
        "5.40 5.50 5.55 5.85 5.70 5.75 5.20 5.60 5.50 5.55 5.50 5.40 5.90 5.85 5.70 5.45 5.55 5.60 "
        "5.40 5.40 5.35 5.45 5.50 5.35 5.25 5.15 5.00 5.85 5.80 5.70 5.25 5.20 5.10 5.65 5.55 5.45 "
        "5.60 5.35 5.45 5.05 5.00 4.95 5.50 5.50 5.40 5.45 5.55 5.50 5.55 5.55 5.35 5.45 5.50 5.55 "
        "5.50 5.45 5.25 5.65 5.60 5.40 5.70 5.65 5.55 6.30 6.30 6.25 "
    )

    result = friedman(np.array(times.split(), dtype=float).reshape(22, 3))

    assert (round(result.q, 3), result.df, round(result.p, 6)) == (11.143, 2, 0.003805)


def test_blocks_that_are_tied_throughout_give_a_p_of_one() -> None:
    assert friedman([[1.0, 1.0], [5.0, 5.0]]).p == 1.0


def test_an_effect_hidden_between_inputs_is_seen_within_them() -> None:
    rng = np.random.default_rng(9)
    payload = rng.uniform(1, 20, size=60)
    treated = [payload, payload + 0.02 + rng.normal(0, 0.01, 60), payload + rng.normal(0, 0.01, 60)]

    assert kruskal_wallis(treated).p > 0.9
    assert friedman(np.column_stack(treated)).p < 1e-6


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (4,)])
def test_a_blocked_test_needs_blocks_and_treatments(shape: tuple[int, ...]) -> None:
    with pytest.raises(StatisticsInputError, match="two blocks and two treatments"):
        friedman(np.zeros(shape))


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 100)), min_size=1, max_size=30))
def test_each_input_is_represented_by_the_median_of_its_repetitions(rows: list[tuple[int, float]]) -> None:
    inputs, medians = block_medians([value for _, value in rows], [name for name, _ in rows])

    expected = {name: statistics.median([value for other, value in rows if other == name]) for name, _ in rows}
    assert inputs.tolist() == sorted(expected)
    assert medians.tolist() == pytest.approx([expected[name] for name in sorted(expected)], rel=1e-12)


@settings(deadline=None)
@given(
    differences=st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=40),
    confidence=st.sampled_from([0.8, 0.95, 0.99]),
)
def test_the_interval_is_the_narrowest_pair_of_order_statistics_that_covers_enough(
    differences: list[float], confidence: float
) -> None:
    result = paired_difference(differences, [0.0] * len(differences), confidence=confidence)

    n, ordered = len(differences), sorted(differences)
    covered = [1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n for k in range(1, (n + 1) // 2 + 1)]
    k = max((i for i, c in enumerate(covered, start=1) if c >= confidence - 1e-12), default=1)
    assert (result.low, result.high) == (ordered[k - 1], ordered[n - k])
    assert result.coverage == pytest.approx(covered[k - 1], abs=1e-12)
    assert result.median == statistics.median(differences)


def test_too_few_inputs_for_the_confidence_say_so_by_their_coverage() -> None:
    result = paired_difference([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)

    assert (result.low, result.high, result.coverage, result.blocks) == (1.0, 5.0, 0.9375, 5)


def test_the_interval_agrees_with_scipys_quantile_test() -> None:
    sample = np.random.default_rng(6).gamma(2.0, size=101)

    result = paired_difference(sample, np.zeros(101))

    expected = stats.quantile_test(sample, q=0, p=0.5).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9).map(float)), min_size=5, max_size=30))
def test_the_share_of_the_input_is_the_ratio_of_sums_of_squares(rows: list[tuple[int, float]]) -> None:
    values, inputs = [value for _, value in rows], [name for name, _ in rows]
    assume(len(set(values)) > 1)

    assert input_share(values, inputs).share == pytest.approx(slow.share_of_inputs(values, inputs), abs=1e-12)


def test_an_input_that_decides_everything_explains_everything() -> None:
    share = input_share([1.0, 2.0, 3.0] * 4, [0, 1, 2] * 4)

    assert share.share == pytest.approx(1.0)
    assert share.adjusted == pytest.approx(1.0)


def test_an_input_that_decides_nothing_explains_what_chance_does_and_nothing_beyond_it() -> None:
    rng = np.random.default_rng(12)
    shares = [input_share(rng.normal(size=100), np.arange(100) % 20) for _ in range(200)]

    assert shares[0].by_chance == pytest.approx(19 / 99)
    assert np.mean([s.share for s in shares]) == pytest.approx(19 / 99, abs=0.02)
    assert np.mean([s.adjusted for s in shares]) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(
    ("values", "inputs", "said"),
    [
        ([1.0, 2.0], [0, 1], "no input was measured twice"),
        ([1.0, 1.0, 1.0], [0, 0, 1], "all values are equal"),
        ([1.0, 2.0], [0], "2 values but inputs of shape"),
        ([1.0, 2.0], [0.5, 0.5], "whole numbers"),
    ],
)
def test_a_share_that_is_not_defined_is_refused(values: list[float], inputs: list[int], said: str) -> None:
    with pytest.raises(StatisticsInputError, match=said):
        input_share(values, inputs)


@settings(deadline=None)
@given(blocks=tables(st.integers(0, 9).map(float)))
def test_the_concordance_beyond_chance_is_the_mean_of_spearmans_correlations(blocks: list[list[float]]) -> None:
    table = np.array(blocks) + np.random.default_rng(0).random((len(blocks), len(blocks[0])))  # no ties

    found = concordance(table)

    correlations = [
        stats.spearmanr(table[:, i], table[:, j]).statistic for i, j in itertools.combinations(range(table.shape[1]), 2)
    ]
    assert found.adjusted == pytest.approx(np.mean(correlations), abs=1e-9)
    assert found.by_chance == pytest.approx(1 / table.shape[1])


def test_treatments_that_are_tied_throughout_agree_about_nothing() -> None:
    assert concordance([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]).adjusted == 0.0
