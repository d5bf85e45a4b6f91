"""Verdicts on accuracy and latency, and which of several is the gravest."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.subjects.metrics import METRICS
from pytest_edgeai.verdicts import Verdict, worst
from pytest_edgeai.verdicts.accuracy import AccuracyResult, judge_accuracy
from pytest_edgeai.verdicts.benefit import judge_benefit
from pytest_edgeai.verdicts.floor import judge_floor
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


def _evaluation(predicted: list[int] | npt.NDArray[np.int64], truth: list[int] | npt.NDArray[np.int64]) -> Evaluation:
    ranked, labels = np.array(predicted)[:, None], np.array(truth)
    metrics = {name: METRICS[name].percent(ranked, labels) for name in ("top1", "f1")}
    return Evaluation(ranked, np.ones_like(ranked, dtype=float), labels, metrics)


def _judged(wrong: int, budget_pp: float) -> AccuracyResult:
    """A baseline that is always right against an operator that is not, on 200 samples."""
    truth = [0, 1] * 100
    predicted = [1 - label if number < wrong else label for number, label in enumerate(truth)]
    sides = _evaluation(predicted, truth), _evaluation(truth, truth)
    return judge_accuracy(("bert", "sptq", "identity"), METRICS["top1"], *sides, budget_pp=budget_pp, alpha=0.05)


@pytest.mark.parametrize(
    ("wrong", "budget", "outcome"),
    [(4, "kept", "pass"), (6, "broken", "fail"), (20, "broken beyond doubt", "fail")],
)
def test_a_budget_is_broken_beyond_doubt_where_the_lower_end_of_the_interval_breaks_it(
    wrong: int, budget: str, outcome: str
) -> None:
    result = _judged(wrong, 2.0)
    assert result.drop_pp == pytest.approx(wrong / 2)
    assert (result.budget, result.verdict.outcome) == (budget, outcome)
    assert ("though not beyond doubt: the 95 % interval" in result.verdict.reason) == (budget == "broken")


def test_mcnemar_counts_the_samples_that_one_of_the_two_got_right() -> None:
    result = _judged(6, 2.0)
    assert result.mcnemar is not None
    assert (result.mcnemar.only_a, result.mcnemar.only_b) == (6, 0)
    assert result.mcnemar.p == pytest.approx(2 / 2**6)


def test_the_interval_of_a_drop_in_f1_is_that_of_computing_f1_on_resampled_pairs() -> None:
    rng = np.random.default_rng(11)
    truth = (rng.random(400) < 0.3).astype(np.int64)
    baseline = np.where(rng.random(400) < 0.05, 1 - truth, truth)
    candidate = np.where(rng.random(400) < 0.1, 1 - baseline, baseline)
    drops = []
    for _ in range(3000):
        chosen = rng.integers(0, 400, 400)
        one, other = (METRICS["f1"].percent(side[chosen, None], truth[chosen]) for side in (baseline, candidate))
        drops.append(one - other)
    low, high = np.quantile(drops, [0.05, 0.95])
    names = ("bert", "sptq", "identity")
    sides = _evaluation(candidate, truth), _evaluation(baseline, truth)

    result = judge_accuracy(names, METRICS["f1"], *sides, budget_pp=1.0, alpha=0.1)

    assert result.interval is not None
    assert result.interval.drop == pytest.approx(result.drop_pp)
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), abs=0.5)
    assert high - low > 4
    assert judge_accuracy(names, METRICS["f1"], *sides, budget_pp=1.0, alpha=0.1) == result


def test_predictions_on_different_samples_are_not_compared() -> None:
    sides = _evaluation([0, 1], [0, 1]), _evaluation([0, 1], [1, 1])
    with pytest.raises(ValueError, match="bert-sptq and bert-identity were evaluated on different samples"):
        judge_accuracy(("bert", "sptq", "identity"), METRICS["top1"], *sides, budget_pp=1, alpha=0.05)


@pytest.mark.parametrize(
    ("right", "floor_percent", "outcome", "doubt"),
    [
        (90, 90.0, "pass", ""),
        (89, 90.0, "fail", "though not beyond doubt"),
        (60, 90.0, "fail", "beyond doubt"),
        (100, 100.0, "pass", ""),
    ],
)
def test_an_accuracy_below_the_floor_is_broken_and_says_how_surely(
    right: int, floor_percent: float, outcome: str, doubt: str
) -> None:
    evaluation = _evaluation([0] * right + [1] * (100 - right), [0] * 100)
    verdict = judge_floor(METRICS["top1"], evaluation, floor_percent, alpha=0.05)
    assert verdict.outcome == outcome
    if doubt:
        assert verdict.reason.startswith(
            f"top1 is {right}.00 % (floor {floor_percent:g} %), {doubt}: its 95 % interval is "
        )


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
