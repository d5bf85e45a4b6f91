"""Kruskal-Wallis and Conover-Iman, next to the textbooks' formulas, scipy and scikit-posthocs."""

import itertools
import math

import numpy as np
import pytest
import scikit_posthocs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_edgeai.stats import StatisticsInputError, conover_iman, kruskal_wallis

from . import slow

tied_group = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)
spread_group = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)
groups_of_any_kind = st.lists(tied_group, min_size=2, max_size=5) | st.lists(spread_group, min_size=2, max_size=5)


@given(groups=groups_of_any_kind)
def test_h_is_that_of_the_textbook(groups: list[list[float]]) -> None:
    result = kruskal_wallis(groups)

    assert result.h == pytest.approx(float(slow.kruskal_h(groups)), rel=1e-12, abs=1e-12)
    assert result.df == len(groups) - 1


@given(groups=groups_of_any_kind)
def test_the_kruskal_wallis_p_is_that_of_scipy(groups: list[list[float]]) -> None:
    assume(len({value for group in groups for value in group}) > 1)

    result = kruskal_wallis(groups)

    expected = stats.kruskal(*groups)
    assert result.p == pytest.approx(float(expected.pvalue), rel=1e-9)
    assert 10**result.log10_p == pytest.approx(result.p, rel=1e-12)
    assert result.p_lower == pytest.approx(1 - result.p, abs=1e-12)


@given(groups=groups_of_any_kind)
def test_conovers_t_is_that_of_the_textbook(groups: list[list[float]]) -> None:
    assume(any(len(group) > 1 for group in groups))

    for comparison in conover_iman(groups):
        expected = slow.conover_t(groups, comparison.a, comparison.b)
        if math.isnan(expected):
            assert comparison.t in (0.0, math.inf, -math.inf)
        else:
            assert comparison.t == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=40)
@given(groups=groups_of_any_kind)
def test_conovers_p_is_that_of_scikit_posthocs(groups: list[list[float]]) -> None:
    assume(any(len(set(group)) > 1 for group in groups))

    expected = scikit_posthocs.posthoc_conover(groups).to_numpy()

    for comparison in conover_iman(groups):
        assert comparison.p == pytest.approx(expected[comparison.a, comparison.b], rel=1e-8, abs=1e-300)


def test_the_example_of_hollander_and_wolfe_gives_what_r_prints() -> None:
    groups = [[2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]]

    result = kruskal_wallis(groups)

    assert (round(result.h, 5), result.df, round(result.p, 2)) == (0.77143, 2, 0.68)


def test_a_case_worked_by_hand_with_ties_and_unequal_sizes() -> None:
    # Ranks: 1.5, 1.5, 3 | 4, 5; within sum of squares 1.5 + 0.5 = 2, total 9.5, so H = 4 * 7.5 / 9.5.
    # Mean ranks 2 and 4.5, three degrees of freedom: t = -2.5 / sqrt(2/3 * (1/3 + 1/2)).
    groups = [[1.0, 1.0, 2.0], [5.0, 7.0]]

    (comparison,) = conover_iman(groups)

    assert kruskal_wallis(groups).h == pytest.approx(60 / 19)
    assert comparison.df == 3
    assert comparison.t == pytest.approx(-2.5 / math.sqrt(5 / 9))


def test_pairs_come_in_the_order_of_the_groups_and_t_is_positive_where_the_first_ranks_higher() -> None:
    comparisons = conover_iman([[7.0, 8.0, 9.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    assert [(c.a, c.b) for c in comparisons] == list(itertools.combinations(range(3), 2))
    assert [math.copysign(1, c.t) for c in comparisons] == [1, 1, -1]


def test_the_order_of_samples_and_any_growing_transformation_change_nothing() -> None:
    rng = np.random.default_rng(5)
    groups = [rng.lognormal(size=n) for n in (7, 12, 30)]

    shuffled = [np.exp(rng.permutation(group) / 100) for group in groups]

    assert kruskal_wallis(shuffled) == kruskal_wallis(groups)
    assert conover_iman(shuffled) == conover_iman(groups)


def test_groups_of_equal_samples_differ_by_nothing() -> None:
    same = [0.2, 0.1, 0.1, 0.4]

    result = kruskal_wallis([same, same, same])

    assert (result.h, result.p, result.log10_p, result.p_lower) == (0.0, 1.0, 0.0, 0.0)
    assert {(c.t, c.p) for c in conover_iman([same, same, same])} == {(0.0, 1.0)}


def test_samples_that_are_all_one_number_give_a_p_of_one() -> None:
    groups = [[3.0] * 4, [3.0] * 5]

    assert kruskal_wallis(groups).p == 1.0
    assert conover_iman(groups)[0].p == 1.0


def test_groups_without_any_spread_of_their_own_are_infinitely_far_apart() -> None:
    (comparison,) = conover_iman([[1.0] * 3, [2.0] * 3])

    assert (comparison.t, comparison.p, comparison.log10_p) == (-math.inf, 0.0, -math.inf)


def test_a_difference_too_small_for_the_textbook_formula_keeps_its_digits() -> None:
    # Two interleaved groups, whose mean ranks differ by 1; the textbook subtracts two numbers near 300,000.
    n = 50_000

    result = kruskal_wallis([np.arange(0, 2 * n, 2), np.arange(1, 2 * n, 2)])

    assert result.h == pytest.approx(3 / (2 * n + 1), rel=1e-12)


def test_a_separation_beyond_double_precision_still_has_a_logarithm() -> None:
    rng = np.random.default_rng(11)
    groups = [rng.normal(loc=10 * i, size=n) for i, n in enumerate((301, 300, 300, 300, 300))]

    result = kruskal_wallis(groups)
    comparisons = conover_iman(groups)

    assert result.p < 1e-300
    assert result.log10_p == pytest.approx(slow.log10_chi2_tail(result.h, 4), rel=1e-11)
    for c in comparisons[1:4:2]:  # the first group with others than its neighbour
        assert c.p == 0.0
        assert c.log10_p == pytest.approx(slow.log10_t_two_sided(c.t, c.df, digits=3000), rel=1e-11)


@pytest.mark.parametrize("few", [[], [[1.0, 2.0]]])
def test_fewer_than_two_groups_cannot_be_compared(few: list[list[float]]) -> None:
    with pytest.raises(StatisticsInputError, match="at least two groups"):
        kruskal_wallis(few)


def test_single_samples_leave_conovers_test_no_degrees_of_freedom() -> None:
    with pytest.raises(StatisticsInputError, match="more than one sample"):
        conover_iman([[1.0], [2.0]])


def test_a_group_that_is_not_finite_is_named_by_its_number() -> None:
    with pytest.raises(StatisticsInputError, match="group 1 holds inf"):
        kruskal_wallis([[1.0], [math.inf]])
