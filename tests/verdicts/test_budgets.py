"""Budgets of resources and ratios: what is exact, what has an interval, and what is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.settings_tables import Budgets
from pytest_edgeai.stats.looks import Looks
from pytest_edgeai.verdicts.budgets import JudgedBudget, judge_budgets, tails_undecided
from pytest_edgeai.verdicts.figures import Figures
from pytest_edgeai.verdicts.latency import median_interval

ID = "toy-sptq-edge"
seconds = st.floats(1e-3, 1e3)


def figures(latencies_s: list[float], *, link_error_s: float = 0.0, size_bytes: int = 1000) -> Figures:
    """A strategy whose trials have these medians, and loads of as many seconds; its highest peak is 3 MB."""
    by_replicate = dict(enumerate(latencies_s))
    return Figures(
        {replicate: np.full(10, value) for replicate, value in by_replicate.items()},
        {
            "latency": by_replicate,
            "load": by_replicate,
            "memory": {replicate: 1e6 + 2e6 * (replicate == 0) for replicate in by_replicate},
        },
        size_bytes,
        link_error_s,
        "no counter",
    )


def judged(table: str, limits: dict[str, object], ours: Figures, others: dict[str, Figures]) -> JudgedBudget:
    """The only limit of a budget."""
    budgets = Budgets.model_validate({table: [{"strategies": "toy-*", **limits}]})
    (found,) = judge_budgets(budgets, ID, ours, {"sptq": ours, **others}, Looks())
    return found


def ratio(limits: dict[str, object], ours: Figures, theirs: Figures | None) -> JudgedBudget:
    """A limit of a ratio to identity."""
    others = {} if theirs is None else {"identity": theirs}
    return judged("relative", {"max_ratio_to": "identity", **limits}, ours, others)


@given(st.lists(st.tuples(seconds, seconds), min_size=5, max_size=12), st.floats(0.01, 100))
def test_a_ratio_is_judged_by_the_interval_of_the_ratios_of_replicates(
    pairs: list[tuple[float, float]], limit: float
) -> None:
    ours, theirs = zip(*pairs, strict=True)
    found = ratio({"latency": limit}, figures(list(ours)), figures(list(theirs)))
    low, high = median_interval([mine / other for mine, other in pairs])
    assert [found.low, found.high] == pytest.approx([low, high])
    assert found.verdict.outcome == ("pass" if high <= limit else "fail" if low > limit else "inconclusive")


def test_links_that_may_have_been_off_widen_the_interval_of_a_ratio_of_latencies_and_of_no_other() -> None:
    ours, theirs = figures([0.8] * 5, link_error_s=0.05), figures([1.0] * 5, link_error_s=0.1)
    latency = ratio({"latency": 0.9}, ours, theirs)
    assert [latency.low, latency.high] == pytest.approx([0.75 / 1.1, 0.85 / 0.9])
    assert latency.verdict.outcome == "inconclusive"
    assert ratio({"load": 0.9}, ours, theirs).verdict.outcome == "pass"
    assert ratio({"latency": 9.0}, ours, figures([0.05] * 5, link_error_s=0.1)).high == math.inf


def test_only_replicates_that_both_have_are_compared() -> None:
    found = ratio({"latency": 1.0}, figures([1.0] * 30), figures([2.0] * 4))
    assert found.verdict.outcome == "inconclusive"
    assert found.verdict.reason.startswith("4 trials cannot show that the median as a ratio to that of identity is")


def test_a_ratio_to_what_was_not_measured_is_inconclusive_and_an_operator_has_none_to_itself() -> None:
    found = ratio({"size": 1.0}, figures([1.0] * 5), None)
    assert (found.value, found.verdict.outcome) == (None, "inconclusive")
    assert "no trial of identity on the same placement is valid" in found.verdict.reason
    budgets = Budgets.model_validate({"relative": [{"strategies": "*", "max_ratio_to": "sptq", "size": 0.5}]})
    ours = figures([1.0] * 5)
    assert judge_budgets(budgets, ID, ours, {"sptq": ours}, Looks()) == []


def test_size_is_exact_and_of_memory_the_highest_peak_counts() -> None:
    ours, theirs = figures([1.0] * 3, size_bytes=1000), figures([1.0] * 3, size_bytes=4000)
    assert judged("resources", {"max_size_bytes": 1000}, ours, {}).verdict.outcome == "pass"
    memory = judged("resources", {"max_memory_bytes": "2 MB"}, ours, {})
    assert memory.verdict.reason == "peak memory is 3 MB (limit 2 MB)"
    assert ratio({"size": 0.25}, ours, theirs).verdict.outcome == "pass"
    assert ratio({"size": 0.24}, ours, theirs).verdict.outcome == "fail"


def test_what_is_not_told_is_inconclusive_with_the_reason() -> None:
    found = judged("resources", {"max_energy_j": 1}, figures([1.0] * 5), {})
    assert found.verdict.reason == "the median energy of a request is not known: no counter"
    partly = Figures({0: np.ones(3), 1: np.ones(3)}, {"load": {0: 1.0}})
    assert judged("resources", {"max_load_s": 9}, partly, {}).verdict.outcome == "inconclusive"


def test_a_tail_is_undecided_only_where_its_pattern_names_the_strategy() -> None:
    ours = figures([0.01] * 5)
    for pattern, undecided in (("toy-*", True), ("other-*", False)):
        budgets = Budgets.model_validate({"latency": [{"strategies": pattern, "max_p95_s": 1.0}]})
        assert tails_undecided(budgets, ID, ours, Looks()) == undecided
        assert budgets.tail_ranks(ID) == ((95,) if undecided else ())
