"""The tails of chi-squared and t, next to their closed forms, before and after p has underflowed."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_edgeai.stats import chi2_tail, t_two_sided

from . import slow


@settings(deadline=None)
@given(x=st.floats(0, 2000), half=st.integers(1, 12))
def test_the_chi_squared_tail_agrees_with_its_poisson_sum_at_even_degrees_of_freedom(x: float, half: int) -> None:
    _, log10_p = chi2_tail(x, 2 * half)

    assert log10_p == pytest.approx(slow.log10_chi2_tail(x, 2 * half), rel=1e-11, abs=1e-14)


@settings(deadline=None)
@given(x=st.floats(0, 1200), half=st.integers(0, 10))
def test_the_chi_squared_tail_agrees_with_erfc_at_odd_degrees_of_freedom(x: float, half: int) -> None:
    p, log10_p = chi2_tail(x, 2 * half + 1)

    expected = slow.log10_chi2_tail(x, 2 * half + 1)
    assert log10_p == pytest.approx(expected, rel=1e-11, abs=1e-14)
    assert p == pytest.approx(10**expected, rel=1e-9)


@pytest.mark.parametrize("df", [1, 2, 5, 6, 35])
@pytest.mark.parametrize("x", [1.6e3, 1e4, 1e6, 1e9])
def test_the_logarithm_of_a_chi_squared_tail_that_underflowed_lies_between_its_neighbours(x: float, df: int) -> None:
    p, log10_p = chi2_tail(x, df)

    even_below, even_above = df - df % 2, df + df % 2
    lower = slow.log10_chi2_tail(x, even_below) if even_below else -math.inf
    assert p == 0.0
    assert lower * (1 + 1e-12) <= log10_p <= slow.log10_chi2_tail(x, even_above) * (1 - 1e-12)


@pytest.mark.parametrize(
    ("x", "df"), [(60.0, 1), (800.0, 5), (1300.0, 11), (1320.0, 4), (2600.0, 700), (1.93e6, 1_900_000)]
)
def test_both_ways_to_a_chi_squared_tail_agree_where_both_work(
    x: float, df: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_scipy = chi2_tail(x, df)
    monkeypatch.setattr("pytest_edgeai.stats.tails._SMALL", math.inf)

    by_fraction = chi2_tail(x, df)

    assert 1e-290 < by_scipy[0] < 1e-10
    assert by_fraction[1] == pytest.approx(by_scipy[1], rel=1e-9)


@pytest.mark.parametrize(("t", "df"), [(9.0, 40), (30.0, 300), (37.0, 2994), (36.0, 1_000_000), (1e90, 3)])
def test_both_ways_to_t_tails_agree_where_both_work(t: float, df: int, monkeypatch: pytest.MonkeyPatch) -> None:
    by_scipy = t_two_sided(t, df)
    monkeypatch.setattr("pytest_edgeai.stats.tails._SMALL", math.inf)

    by_fraction = t_two_sided(t, df)

    assert 1e-290 < by_scipy[0] < 1e-10
    assert by_fraction[1] == pytest.approx(by_scipy[1], rel=1e-9)


@settings(deadline=None)
@given(t=st.floats(-60, 60), half=st.integers(1, 100))
def test_the_t_tails_agree_with_their_closed_form_at_even_degrees_of_freedom(t: float, half: int) -> None:
    _, log10_p = t_two_sided(t, 2 * half)

    expected = slow.log10_t_two_sided(t, 2 * half, digits=400)
    assert log10_p == pytest.approx(expected, rel=1e-11, abs=1e-14)


@pytest.mark.parametrize(("t", "df"), [(37.5, 2994), (60.0, 2994), (150.0, 1996), (1e16, 20), (1e30, 10)])
def test_the_logarithm_of_t_tails_that_underflowed_agrees_with_their_closed_form(t: float, df: int) -> None:
    _, log10_p = t_two_sided(-t, df)

    assert log10_p == pytest.approx(slow.log10_t_two_sided(t, df, digits=2500), rel=1e-11)


@settings(deadline=None)
@given(t=st.floats(0.5, 200), df=st.integers(1, 5000))
def test_the_t_tails_agree_with_the_series_of_the_incomplete_beta(t: float, df: int) -> None:
    _, log10_p = t_two_sided(t, df)

    assert log10_p == pytest.approx(slow.log10_t_series(t, df), rel=1e-10, abs=1e-12)


def test_with_a_million_degrees_of_freedom_the_t_tail_is_near_the_normal_one() -> None:
    _, log10_p = t_two_sided(40.0, 10_000_000)

    normal = float(stats.norm.logsf(40.0)) / math.log(10) + math.log10(2)
    assert log10_p == pytest.approx(normal, rel=1e-3)


@pytest.mark.parametrize("df", [1, 3, 40, 2994])
def test_where_nothing_underflows_p_is_that_of_scipy(df: int) -> None:
    for statistic in (0.0, 1e-12, 0.3, 2.0, 17.0):
        assert chi2_tail(statistic, df)[0] == pytest.approx(float(stats.chi2.sf(statistic, df)), rel=1e-14)
        assert t_two_sided(statistic, df)[0] == pytest.approx(2 * float(stats.t.sf(statistic, df)), rel=1e-14)


def test_a_p_of_one_has_the_logarithm_zero_and_not_minus_zero() -> None:
    for p, log10_p in (chi2_tail(0.0, 3), t_two_sided(0.0, 7)):
        assert p == 1.0
        assert math.copysign(1, log10_p) == 1
        assert log10_p == 0.0


def test_only_an_infinite_statistic_has_an_infinite_logarithm() -> None:
    assert chi2_tail(math.inf, 3) == (0.0, -math.inf)
    assert t_two_sided(-math.inf, 3) == (0.0, -math.inf)
    assert math.isfinite(t_two_sided(1e300, 9)[1])
    assert math.isfinite(chi2_tail(1e300, 9)[1])
