"""Verdicts on accuracy and latency, and which of several is the gravest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.verdicts import Verdict, worst
from pytest_edgeai.verdicts.accuracy import AccuracyResult
from pytest_edgeai.verdicts.benefit import judge_benefit
from pytest_edgeai.verdicts.latency import CONFIDENCE, judge_latency, median_interval, trials_needed


def _accuracy(percent: float, baseline: float, budget: float) -> AccuracyResult:
    return AccuracyResult("bert", "sptq", "f1", percent, baseline, budget)


@pytest.mark.parametrize(
    ("percent", "baseline", "budget", "outcome"),
    [(90, 92, 2, "pass"), (89.99, 92, 2, "fail"), (95, 92, 0, "pass"), (92, 92, 0, "pass"), (91.9, 92, 0, "fail")],
)
def test_a_budget_is_broken_by_a_larger_drop(percent: float, baseline: float, budget: float, outcome: str) -> None:
    assert _accuracy(percent, baseline, budget).verdict.outcome == outcome


def test_a_budget_that_is_met_exactly_is_not_broken_by_rounding() -> None:
    assert _accuracy(100 * 957 / 1000, 100 * 967 / 1000, 1.0).verdict.outcome == "pass"


def test_what_is_not_valid_is_graver_than_what_is_broken() -> None:
    verdicts = [Verdict("pass"), Verdict("fail", "too slow"), Verdict("invalid", "no trial"), Verdict("inconclusive")]
    assert worst(verdicts) == Verdict("invalid", "no trial")
    assert worst(verdicts[:2]).outcome == "fail"
    assert worst([]) == Verdict("pass")


def test_reasons_of_equal_gravity_are_joined_once_each() -> None:
    assert worst([Verdict("fail", "a"), Verdict("fail", "b"), Verdict("fail", "a")]).reason == "a; b"


@given(st.lists(st.floats(0, 1e3), max_size=40))
def test_the_interval_of_the_median_is_the_narrowest_of_its_confidence(values: list[float]) -> None:
    low, high = median_interval(values)
    n, ordered = len(values), sorted(values)
    intervals = []
    for k in range(1, n // 2 + 1):
        outside = 2 * sum(math.comb(n, i) for i in range(k)) / 2**n
        if 1 - outside >= CONFIDENCE:
            intervals.append((ordered[k - 1], ordered[n - k]))
    assert (low, high) == (intervals[-1] if intervals else (-math.inf, math.inf))


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    samples = generator.exponential(size=(20_000, 8))
    median = math.log(2)
    intervals = [median_interval(sample.tolist()) for sample in samples]
    held = np.mean([low <= median <= high for low, high in intervals])
    assert CONFIDENCE <= held < 0.95


@pytest.mark.parametrize(
    ("medians_s", "limit_s", "outcome"),
    [
        ([0.9] * 5, 1.0, "pass"),
        ([1.1] * 5, 1.0, "fail"),
        ([0.9, 0.9, 0.9, 0.9, 1.1], 1.0, "inconclusive"),
        ([0.1] * 4, 1.0, "inconclusive"),
        ([9.0] * 4, 1.0, "inconclusive"),
    ],
)
def test_a_latency_budget_needs_enough_trials_that_agree(medians_s: list[float], limit_s: float, outcome: str) -> None:
    assert judge_latency(medians_s, limit_s).outcome == outcome


def test_the_trials_needed_are_the_fewest_that_can_decide() -> None:
    needed = trials_needed()
    assert judge_latency([0.5] * needed, 1.0).outcome == "pass"
    assert judge_latency([0.5] * (needed - 1), 1.0).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("compute_s", "baseline_s", "outcome"),
    [
        (0.5, 1.0, "pass"),
        (1.0, 1.0, "no benefit"),
        (2.0, 1.0, "no benefit"),
        (math.nan, 1.0, "pass"),
        (1, math.nan, "pass"),
    ],
)
def test_there_is_no_benefit_in_what_computes_as_long_as_the_baseline(
    compute_s: float, baseline_s: float, outcome: str
) -> None:
    assert judge_benefit(compute_s, baseline_s).outcome == outcome


def test_no_benefit_is_graver_than_a_pass_and_nothing_else() -> None:
    slow = Verdict("no benefit", "slower")
    assert worst([Verdict("pass"), slow]) == slow
    assert worst([slow, Verdict("inconclusive")]).outcome == "inconclusive"
