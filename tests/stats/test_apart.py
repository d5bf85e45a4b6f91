"""Sessions apart: shifts against controls, checked by slow but obvious sums, and how often nothing is taken for one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from pytest_edgeai.arrays import Array
from pytest_edgeai.stats import StatisticsInputError
from pytest_edgeai.stats.apart import shifts_apart

SEEDS = st.integers(0, 2**31)


def sessions(
    seed: int, *, number: int = 11, series: int = 8, machine: float = 0.05, own: float = 0.02
) -> tuple[Array, Array]:
    """Values and controls of sessions that differ by the machine, which the controls know."""
    generator = np.random.default_rng(seed)
    state = generator.normal(0, machine, (number, 1))
    values = 1.0 + state + generator.normal(0, own, (number, series))
    return values, np.broadcast_to(state, values.shape)


@given(SEEDS, st.integers(3, 8), st.integers(1, 5))
def test_shift_and_share_are_those_of_plain_sums(seed: int, earlier: int, series: int) -> None:
    values, controls = sessions(seed, number=earlier + 1, series=series)
    found = shifts_apart(values, controls, least_sd=1e-9)
    above = below = 0.0
    for column in range(series):
        mean = math.fsum(values[:-1, column]) / earlier
        beside = math.fsum(controls[:-1, column]) / earlier
        for row in range(earlier):
            above += (values[row, column] - mean) * (controls[row, column] - beside)
            below += (controls[row, column] - beside) ** 2
    share = min(1.0, max(0.0, above / below))
    assert found.share == pytest.approx(share, abs=1e-9)
    for column in range(series):
        raw = values[-1, column] - math.fsum(values[:-1, column]) / earlier
        moved = controls[-1, column] - math.fsum(controls[:-1, column]) / earlier
        assert found.raw[column] == pytest.approx(raw, abs=1e-9)
        assert found.shift[column] == pytest.approx(raw - share * moved, abs=1e-9)
    if series < 3:  # nothing is lent
        for column in range(series):
            rest = [
                values[row, column]
                - values[:-1, column].mean()
                - share * (controls[row, column] - controls[:-1, column].mean())
                for row in range(earlier)
            ]
            sd = math.sqrt(math.fsum(one**2 for one in rest) / (earlier - 1))
            moved = controls[-1, column] - controls[:-1, column].mean()
            assert found.sd[column] == pytest.approx(sd, rel=1e-6)
            assert found.se[column] == pytest.approx(sd * math.sqrt(1 + 1 / earlier + moved**2 / below), rel=1e-6)


@given(SEEDS, st.floats(-3, 3))
def test_what_moves_with_its_controls_did_not_move(seed: int, shift: float) -> None:
    values, controls = sessions(seed, own=0.0)
    moved = np.concatenate([values[:-1], values[-1:] + shift]), np.concatenate([controls[:-1], controls[-1:] + shift])
    found = shifts_apart(*moved, least_sd=0.01)
    assert found.share == pytest.approx(1, abs=1e-6)
    assert np.allclose(found.shift, 0, atol=1e-6)


def test_controls_that_say_nothing_are_left_out_of_account() -> None:
    values, _ = sessions(1, machine=0.0)
    noise = np.random.default_rng(2).normal(0, 0.5, values.shape)
    assert shifts_apart(values, noise, least_sd=0.01).share < 0.1
    without = shifts_apart(values, np.full_like(values, np.nan), least_sd=0.01)
    assert np.array_equal(without.shift, without.raw)


def test_series_that_few_sessions_have_are_not_judged() -> None:
    values, controls = sessions(3, number=6)
    values[:3, 0], values[-1, 1] = np.nan, np.nan
    found = shifts_apart(values, controls, least_sd=0.01)
    assert list(np.isnan(found.se)) == [True, True, *[False] * 6]
    assert list(found.p_slower()[:2]) == list(found.p_faster()[:2]) == [1.0, 1.0]
    assert list(found.sessions[:2]) == [2, 5]


def test_equal_sessions_are_called_different_as_often_as_the_level_says() -> None:
    """800 sessions of eight series against ten before: the share below 1 % and 5 % is within exact intervals."""
    p = np.concatenate([shifts_apart(*sessions(seed), least_sd=0.001).p_slower() for seed in range(800)])
    for level in (0.01, 0.05):
        # Series of a session share what the controls did, so that they count for less than their number.
        within = scipy_stats.binomtest(int((p < level).sum()), len(p)).proportion_ci(0.9999)
        assert within.low < level < within.high


def test_a_session_with_fewer_trials_is_less_sure() -> None:
    values, controls = sessions(5)
    usual, fewer = (shifts_apart(values, controls, least_sd=0.01, noise=noise) for noise in (1.0, 4.0))
    assert (fewer.se > 1.5 * usual.se).all()


@pytest.mark.parametrize(
    ("values", "controls", "least_sd"),
    [
        (np.ones((1, 2)), np.ones((1, 2)), 0.01),
        (np.ones((4, 2)), np.ones((4, 1)), 0.01),
        (np.ones((4, 2)), np.ones((4, 2)), 0),
    ],
)
def test_what_does_not_fit_is_refused(values: Array, controls: Array, least_sd: float) -> None:
    with pytest.raises(StatisticsInputError):
        shifts_apart(values, controls, least_sd=least_sd)
