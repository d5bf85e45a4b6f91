"""Exchanges of pairs against slow references, and the adjusted p-values they lead to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean
from scipy.stats.mstats import winsorize

from pytest_edgeai.stats.exchange import DRAWS, exchanges, fewest_pairs, stepdown
from pytest_edgeai.stats.trimmed import LEFT_OUT, trimmed


@pytest.mark.parametrize("pairs", [1, 4, 10])
def test_few_pairs_are_exchanged_in_every_way_equally_often(pairs: int) -> None:
    drawn = [tuple(signs) for signs in exchanges(pairs, "a")]
    assert sorted(drawn) == sorted(list(itertools.product((-1.0, 1.0), repeat=pairs)) * (DRAWS // 2**pairs))


def test_many_pairs_are_exchanged_at_random_with_the_opposite_of_each_draw() -> None:
    drawn = exchanges(25, "a")
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, -drawn))
    assert not np.array_equal(drawn, exchanges(25, "b"))
    assert np.array_equal(drawn, exchanges(25, "a"))


@pytest.mark.parametrize(("family", "pairs"), [(1, 5), (2, 6), (12, 8), (24, 9), (160, 12)])
def test_the_fewest_pairs_are_those_whose_exchanges_can_be_rare_enough(family: int, pairs: int) -> None:
    assert fewest_pairs(family, 0.05) == pairs
    assert family / 2**pairs < 0.05 <= family / 2 ** (pairs - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_a_trimmed_mean_and_its_spread_are_those_of_scipy(values: list[float]) -> None:
    found = trimmed(np.array([values, values]))
    limits = int(LEFT_OUT * len(values)) / len(values) + 1e-12
    kept = np.asarray(winsorize(np.array(values), limits=(limits, limits)))
    assert found.means == pytest.approx(trim_mean(values, LEFT_OUT), abs=1e-9)
    assert found.squares == pytest.approx(np.square(kept - kept.mean()).sum(), abs=1e-6)
    assert found.left == len(values) - 2 * int(LEFT_OUT * len(values))


def slow_stepdown(observed: dict[str, float], drawn: dict[str, list[float]]) -> dict[str, float]:
    """Westfall and Young's algorithm, word for word."""
    order = sorted(observed, key=lambda name: -observed[name])
    found, least = {}, 0.0
    for rank, name in enumerate(order):
        count = sum(
            max(drawn[other][draw] for other in order[rank:]) >= observed[name] for draw in range(len(drawn[name]))
        )
        least = max(least, count / len(drawn[name]), 1 / len(drawn[name]))
        found[name] = least
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_stepping_down_is_that_of_the_slow_reference(seed: int, family: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = {f"s{number}": generator.normal(size=200) for number in range(family)}
    observed = {name: np.array([generator.normal(1)]) for name in drawn}
    found = stepdown(observed, drawn)
    slow = slow_stepdown(
        {name: float(one[0]) for name, one in observed.items()}, {name: one.tolist() for name, one in drawn.items()}
    )
    assert {name: float(p[0]) for name, p in found.items()} == pytest.approx(slow)
