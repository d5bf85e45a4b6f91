"""The Pareto front against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_edgeai.stats.pareto import pareto_front
from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError

costs = st.integers(1, 3).flatmap(
    lambda k: st.integers(0, 12).flatmap(
        lambda n: arrays(np.float64, (n, k), elements=st.integers(0, 5).map(float))  # few values: many ties
    )
)


def dominates(a: list[float], b: list[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


@given(costs)
def test_the_front_is_what_nothing_dominates(rows: FloatArray) -> None:
    listed = rows.tolist()
    expected = [not any(dominates(other, row) for other in listed) for row in listed]
    assert pareto_front(rows).tolist() == expected


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [[1.0, float("nan")]]])
def test_costs_have_to_be_finite_and_in_rows(wrong: list[float]) -> None:
    with pytest.raises(StatisticsInputError, match="a Pareto front needs finite costs"):
        pareto_front(wrong)
