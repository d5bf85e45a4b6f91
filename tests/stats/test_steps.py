"""Step detection: against the search of every segmentation, and how often it errs on noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_edgeai.stats.samples import FloatArray
from pytest_edgeai.stats.steps import CAP, find_steps, segment


def cost(values: FloatArray, starts: tuple[int, ...], penalty: float, cap: float) -> float:
    """What a segmentation costs, with the best of the values as the level of each part."""
    parts = np.split(values, list(starts))
    return penalty * len(starts) + sum(
        min(float(np.minimum(np.abs(part - level), cap).sum()) for level in values) for part in parts
    )


@settings(max_examples=60)
@given(
    st.lists(st.integers(-8, 8), min_size=2, max_size=7),
    st.sampled_from([0.5, 1.25, 3.125]),
    st.sampled_from([2.5, 4.0, math.inf]),
)
def test_no_segmentation_costs_less_than_the_one_found(given: list[int], penalty: float, cap: float) -> None:
    values = np.array(given, dtype=float)
    every = itertools.chain.from_iterable(
        itertools.combinations(range(1, values.size), number) for number in range(values.size)
    )
    least = min(cost(values, starts, penalty, cap) for starts in every)
    assert cost(values, segment(values, penalty, cap), penalty, cap) == pytest.approx(least)


def test_a_long_sequence_has_its_step_where_it_is() -> None:
    values = np.random.default_rng(5).normal(size=2000)
    values[1200:] += 6
    (step,) = find_steps(values, least=0.5)
    assert abs(step.place - 1200) <= 1
    assert step.low < 6 < step.high


def test_noise_has_steps_in_few_sequences_with_and_without_outliers() -> None:
    rng = np.random.default_rng(7)
    for length in (12, 60):
        plain = rng.normal(size=(200, length))
        spoiled = plain + (rng.random(plain.shape) < 0.1) * rng.exponential(8, plain.shape)
        for sequences in (plain, spoiled):
            assert np.mean([bool(find_steps(one, least=0.01)) for one in sequences]) < 0.05


def test_the_interval_of_a_steps_size_has_the_true_size_in_most_sequences() -> None:
    rng = np.random.default_rng(11)
    held = []
    for _ in range(200):
        values = rng.normal(size=24)
        values[14:] += 8
        held += [step.low < 8 < step.high for step in find_steps(values, least=0.01, confidence=0.95)]
    assert len(held) >= 190
    assert np.mean(held) > 0.9


def test_one_outlier_is_no_step_and_in_a_sequence_without_noise_one_value_at_the_end_is() -> None:
    values = [10.0, 10.1, 9.9, 10.0, 30.0, 10.1, 10.0, 9.9, 10.1, 10.0]
    assert find_steps(values, least=0.5) == ()
    exact = [95.0] * 9 + [91.0]
    assert find_steps(exact, least=0.1) == ()
    (step,) = find_steps(exact, least=0.1, robust=False)
    assert (step.place, step.before, step.after) == (9, 95.0, 91.0)


def test_a_step_there_and_back_is_two_and_what_is_smaller_than_asked_for_is_none() -> None:
    rng = np.random.default_rng(3)
    values = 0.1 * rng.normal(size=30)
    values[10:20] += 2
    there, back = find_steps(values, least=0.5)
    assert (there.place, back.place) == (10, 20)
    assert there.change == pytest.approx(2, abs=0.3)
    assert back.high < 0
    assert find_steps(values, least=3) == ()


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [1.0] * 50])
def test_what_does_not_change_has_no_steps(values: list[float]) -> None:
    assert find_steps(values, least=0.1) == ()
    assert CAP > 0
