"""Variances drawn towards what they have in common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_edgeai.stats import StatisticsInputError
from pytest_edgeai.stats.shrinkage import shrink_variances

VARIANCES = st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=30)


@example([1.0, 1.0, 1.0000000000000002e-06, 1e-06], 1)  # the last two become equal
@given(VARIANCES, st.integers(1, 30))
def test_every_variance_stays_between_itself_and_the_common_one(variances: list[float], df: int) -> None:
    found = shrink_variances(variances, [df] * len(variances))
    weight = found.prior_df / (found.prior_df + df)
    moved = found.variances - np.array(variances) * (1 - weight)
    # What is left after each one's own part is the same for all: the common part.
    assert np.allclose(moved, moved[0], rtol=1e-6, atol=1e-9 * max(variances))
    # Larger ones stay larger, but for rounding, which makes some equal that were not.
    ordered = found.variances[np.argsort(variances, kind="stable")]
    assert (ordered[1:] >= ordered[:-1] * (1 - 1e-12)).all()
    assert (found.df <= df * len(variances)).all()
    assert (found.df >= df).all()


@given(VARIANCES, st.floats(1e-3, 1e3))
def test_a_change_of_unit_changes_nothing_else(variances: list[float], factor: float) -> None:
    plain = shrink_variances(variances, [8] * len(variances))
    scaled = shrink_variances(np.array(variances) * factor, [8] * len(variances))
    assert np.allclose(scaled.variances, plain.variances * factor, rtol=1e-4)


def test_variances_of_one_population_are_pooled() -> None:
    generator = np.random.default_rng(1)
    sampled = 4.0 * generator.chisquare(8, 400) / 8
    found = shrink_variances(sampled, [8] * 400)
    assert found.prior_df > 100
    assert np.allclose(found.variances, 4.0, rtol=0.15)


def test_the_parameters_that_variances_were_drawn_with_are_found() -> None:
    # s² ~ s0² · F(df, d0), Smyth (2004), section 3
    generator = np.random.default_rng(2)
    sampled = 2.0 * generator.f(8, 6, 20_000)
    found = shrink_variances(sampled, [8] * 20_000)
    assert found.prior_df == pytest.approx(6, rel=0.1)
    weight = found.prior_df / (found.prior_df + 8)
    assert (found.variances[0] - (1 - weight) * sampled[0]) / weight == pytest.approx(2.0, rel=0.05)


def test_two_groups_learn_nothing_from_each_other() -> None:
    found = shrink_variances([1.0, 5.0], [4, 4])
    assert found.variances.tolist() == [1.0, 5.0]
    assert found.prior_df == 0


@pytest.mark.parametrize(("variances", "df"), [([-1.0], [4]), ([np.nan], [4]), ([1.0], [0]), ([1.0, 2.0], [4])])
def test_what_is_no_variance_is_refused(variances: list[float], df: list[int]) -> None:
    with pytest.raises(StatisticsInputError):
        shrink_variances(variances, df)
