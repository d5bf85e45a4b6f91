"""Autocorrelation against statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import acf

from pytest_edgeai.stats.autocorrelation import autocorrelation
from pytest_edgeai.stats.samples import StatisticsInputError


@given(st.lists(st.floats(0.001, 10), min_size=6, max_size=50).filter(lambda values: np.ptp(values) > 1e-3))
def test_it_is_that_of_statsmodels(values: list[float]) -> None:
    expected = acf(values, nlags=4, fft=False)[1:]
    np.testing.assert_allclose(autocorrelation(values, 4), expected, atol=1e-9)


def test_an_alternating_series_is_opposed_to_itself_one_step_later() -> None:
    assert autocorrelation([1.0, 2.0] * 50, 2) == pytest.approx([-0.99, 0.98])


def test_a_series_that_is_too_short_or_constant_has_none() -> None:
    with pytest.raises(StatisticsInputError):
        autocorrelation([1.0, 2.0], 2)
    with pytest.raises(StatisticsInputError, match="equal values only"):
        autocorrelation([1.0, 1.0, 1.0], 1)
    with pytest.raises(ValueError, match="lags"):
        autocorrelation([1.0, 2.0, 3.0], 0)
