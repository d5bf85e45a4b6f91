"""Verdicts on accuracy and latency, and which of several is the gravest."""

from __future__ import annotations

import math
import typing

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.measure.accuracy import Evaluation, score
from pytest_edgeai.settings_tables import Allowance
from pytest_edgeai.subjects.metrics import METRICS, f1
from pytest_edgeai.subjects.predictions import Predictions
from pytest_edgeai.verdicts import OUTCOMES, Outcome, Verdict, is_green, worst
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


def _evaluation(
    predicted: list[int] | npt.NDArray[np.int64], truth: list[int] | npt.NDArray[np.int64], metric: str = "top1"
) -> Evaluation:
    ranked, labels = np.array(predicted)[:, None], np.array(truth)
    predictions = Predictions({"labels": ranked, "scores": np.ones_like(ranked, dtype=float)}, has_classes=True)
    return Evaluation(predictions, {metric: score(METRICS[metric], predictions, labels)}, str(truth))


def _judged(wrong: int, budget_pp: float) -> AccuracyResult:
    """A baseline that is always right against an operator that is not, on 200 samples."""
    truth = [0, 1] * 100
    predicted = [1 - label if number < wrong else label for number, label in enumerate(truth)]
    sides = _evaluation(predicted, truth), _evaluation(truth, truth)
    return judge_accuracy(("bert", "sptq", "identity"), *sides, allowance=Allowance(budget_pp), alpha=0.05)


@pytest.mark.parametrize(
    ("wrong", "budget", "outcome"),
    [(4, "kept", "pass"), (6, "broken", "fail"), (20, "broken beyond doubt", "fail")],
)
def test_a_budget_is_broken_beyond_doubt_where_the_lower_end_of_the_interval_breaks_it(
    wrong: int, budget: str, outcome: str
) -> None:
    result = _judged(wrong, 2.0)
    assert result.drop == pytest.approx(wrong / 2)
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
        one, other = (f1(side[chosen, None], truth[chosen]) for side in (baseline, candidate))
        drops.append(one - other)
    low, high = np.quantile(drops, [0.05, 0.95])
    names = ("bert", "sptq", "identity")
    sides = _evaluation(candidate, truth, "f1"), _evaluation(baseline, truth, "f1")

    result = judge_accuracy(names, *sides, allowance=Allowance(1.0), alpha=0.1)

    assert result.interval is not None
    assert result.interval.drop == pytest.approx(result.drop)
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), abs=0.5)
    assert high - low > 4
    assert judge_accuracy(names, *sides, allowance=Allowance(1.0), alpha=0.1) == result


def test_predictions_on_different_samples_are_not_compared() -> None:
    sides = _evaluation([0, 1], [0, 1]), _evaluation([0, 1], [1, 1])
    with pytest.raises(ValueError, match="bert-sptq and bert-identity were evaluated on different samples"):
        judge_accuracy(("bert", "sptq", "identity"), *sides, allowance=Allowance(1), alpha=0.05)


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
    verdict = judge_floor(evaluation.first, floor_percent, alpha=0.05)
    assert verdict.outcome == outcome
    if doubt:
        assert verdict.reason.startswith(
            f"top1 is {right}.00 % (floor {floor_percent:g} %), {doubt}: its 95 % interval is "
        )


def _number(values: list[float], truth: list[float], metric: str) -> Evaluation:
    """An evaluation of a model that answers with one number."""
    predictions = Predictions({"y": np.array(values)[:, None]})
    return Evaluation(predictions, {metric: score(METRICS[metric], predictions, truth)}, str(truth))


@pytest.mark.parametrize(
    ("metric", "limit", "outcome"),
    [
        ("mae", Allowance(0.3), "fail"),
        ("mae", Allowance(0.6), "pass"),
        ("mae", Allowance(0.2, is_share=True), "fail"),
        ("mae", Allowance(2.0, is_share=True), "pass"),
        ("rmse", Allowance(0.3), "fail"),
        ("rmse", Allowance(0.6), "pass"),
        ("r2", Allowance(0.0), "fail"),
        ("r2", Allowance(0.5), "pass"),
    ],
)
def test_a_budget_is_in_the_unit_and_the_direction_of_its_metric(metric: str, limit: Allowance, outcome: str) -> None:
    truth = [float(number) for number in range(40)]
    usual = _number([one + 0.25 for one in truth], truth, metric)
    worse = _number([one + 0.75 for one in truth], truth, metric)
    result = judge_accuracy(("line", "sptq", "identity"), worse, usual, allowance=limit, alpha=0.05)
    assert result.drop > 0
    assert result.verdict.outcome == outcome
    assert judge_accuracy(("line", "x", "identity"), usual, worse, allowance=limit, alpha=0.05).drop < 0
    assert result.interval is not None
    assert result.interval.low <= result.drop + 1e-9
    assert result.interval.high >= result.drop - 1e-9
    assert result.mcnemar is None


def test_a_metric_that_is_no_ratio_has_the_interval_of_resampled_pairs() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=200)
    sides = [truth + rng.normal(scale=scale, size=200) for scale in (0.2, 0.3)]
    drops = []
    for _ in range(3000):
        chosen = rng.integers(0, 200, 200)
        errors = [float(np.sqrt(np.mean((side[chosen] - truth[chosen]) ** 2))) for side in sides]
        drops.append(errors[1] - errors[0])
    usual, worse = (_number(side.tolist(), truth.tolist(), "rmse") for side in sides)
    result = judge_accuracy(("a", "b", "c"), worse, usual, allowance=Allowance(0.0), alpha=0.1)
    assert result.interval is not None
    low, high = np.quantile(drops, [0.05, 0.95])
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize(("ceiling", "outcome"), [(0.3, "pass"), (0.2, "fail")])
def test_a_floor_of_a_metric_that_is_better_when_lower_is_a_ceiling(ceiling: float, outcome: str) -> None:
    truth = [float(number) for number in range(40)]
    found = _number([one + 0.25 for one in truth], truth, "mae")
    verdict = judge_floor(found.first, ceiling, alpha=0.05)
    assert verdict.outcome == outcome
    if outcome == "fail":
        assert verdict.reason == "mae is 0.25 (ceiling 0.2), beyond doubt: its 95 % interval is 0.25 to 0.25"


def test_what_is_not_valid_is_graver_than_what_is_broken() -> None:
    verdicts = [Verdict("pass"), Verdict("fail", "too slow"), Verdict("invalid", "no trial"), Verdict("inconclusive")]
    assert worst(verdicts) == Verdict("invalid", "no trial")
    assert worst(verdicts[:2]).outcome == "fail"
    assert worst([]) == Verdict("pass")


def test_there_is_one_list_of_outcomes_and_only_what_is_well_is_green() -> None:
    assert typing.get_args(Outcome) == OUTCOMES
    assert {outcome for outcome in OUTCOMES if is_green(outcome)} == {"pass", "improvement", "new", "no benefit"}


def test_what_is_tolerated_does_not_fail_and_is_not_green() -> None:
    tolerated = Verdict("inconclusive", "few trials", tolerated=True)
    assert (tolerated.green, tolerated.fails) == (False, False)
    assert worst([tolerated, Verdict("inconclusive", "other")]).fails


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


def _benefit(ratios: list[float]) -> Verdict:
    """Trials that take so many times as long as the baseline's of the same replicate."""
    baseline_s = {replicate: 1.0 + replicate for replicate in range(len(ratios))}
    compute_s = {replicate: ratio * baseline_s[replicate] for replicate, ratio in enumerate(ratios)}
    return judge_benefit(compute_s, baseline_s, min_change=0.03)


@pytest.mark.parametrize(
    ("ratios", "outcome", "said"),
    [
        ([0.5, 0.5, 0.6, 0.5, 0.4], "pass", ""),
        ([2.0, 2.1, 1.9, 2.0, 2.2], "no benefit", "× 2.00 of the baseline's time (× 1.90 to × 2.20 over 5 trials)"),
        ([1.13, 0.99, 1.2, 1.15, 1.1], "pass", "whether it computes faster is inconclusive: computing takes × 1.13"),
        ([1.01, 1.02, 1.01, 1.01, 1.02], "pass", "less than 3% counts as nothing"),
        ([0.99, 0.98, 0.99, 0.99, 0.98], "pass", "less than 3% counts as nothing"),
        ([2.0] * 4, "pass", "4 trials cannot show it, 5 can"),
        ([], "pass", ""),
    ],
)
def test_promised_speed_is_judged_by_the_trials(ratios: list[float], outcome: str, said: str) -> None:
    found = _benefit(ratios)
    assert found.outcome == outcome
    assert (said in found.reason) if said else not found.reason


def test_a_renamed_baseline_has_neither_benefit_nor_none() -> None:
    generator = np.random.default_rng(2)
    decided = [_benefit(np.exp(generator.normal(0, 0.05, 5)).tolist()) for _ in range(400)]
    assert sum(not one.reason for one in decided) <= 24  # 3.1 % is 12.5; more than 24 has a probability of 0.1 %
    assert sum(one.outcome == "no benefit" for one in decided) <= 24


def test_only_trials_of_one_replicate_are_compared() -> None:
    machine = {0: 1.0, 1: 5.0, 2: 0.2, 3: 9.0, 4: 3.0, 5: 7.0}
    faster = {replicate: 0.7 * seconds for replicate, seconds in machine.items() if replicate}
    assert judge_benefit(faster, machine, min_change=0.03) == Verdict("pass")


def test_no_benefit_is_graver_than_a_pass_and_nothing_else() -> None:
    slow = Verdict("no benefit", "slower")
    assert worst([Verdict("pass"), slow]) == slow
    assert worst([slow, Verdict("inconclusive")]).outcome == "inconclusive"
