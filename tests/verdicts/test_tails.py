"""Tail budgets: what is passed is proven, also where requests depend on each other."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.verdicts.tails import judge_tail, tail_interval

tails: Any = import_module("benchmarks.tails")
KINDS, limit_s, passes, sessions = tails.KINDS, tails.limit_s, tails.passes, tails.sessions


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(("percentile", "trials", "requests"), [(95, 3, 200), (99, 10, 100)])
def test_a_percentile_at_its_limit_hardly_ever_passes(percentile: int, trials: int, requests: int, kind: str) -> None:
    # Of 200 sessions with a false pass in each hundred, more than 7 have one with a probability of 0.1 %.
    assert passes(percentile, 1 - percentile / 100, 200, trials, requests, kind) * 200 <= 7


@pytest.mark.parametrize(("kind", "trials"), [("independent", 10), ("autocorrelation 0.6", 40)])
def test_a_percentile_that_is_well_below_its_limit_passes(kind: str, trials: int) -> None:
    assert passes(95, 0.01, 50, trials, 100, kind) > 0.9


def test_a_percentile_above_its_limit_fails_with_the_share_that_takes_longer() -> None:
    (session,) = sessions(1, 10, 200, "independent")
    verdict = judge_tail(session, 95, limit_s(0.15))
    assert verdict.outcome == "fail"
    assert re.match(
        r"the 95th percentile is above [\d.]+ ms: \d+ of 2000 requests take longer, 1\d\.\d% of all at least",
        verdict.reason,
    )


def test_too_few_requests_are_inconclusive_and_as_many_as_it_says_are_enough() -> None:
    (session,) = sessions(1, 200, 10, "independent")
    limit = limit_s(1e-6)
    verdict = judge_tail(session[:10], 99, limit)
    assert verdict.outcome == "inconclusive"
    found = re.search(
        r"100 requests cannot show .* about (\d+) more can, that is (\d+) trials like these", verdict.reason
    )
    assert found is not None
    more = int(found[2])
    assert int(found[1]) <= 10 * more < int(found[1]) + 10
    assert judge_tail(session[: 10 + 2 * more], 99, limit).outcome == "pass"


def test_two_trials_cannot_show_anything() -> None:
    verdict = judge_tail([np.full(10_000, 0.001)] * 2, 95, 1.0)
    assert verdict.outcome == "inconclusive"
    assert verdict.reason.startswith("2 trials cannot show that the 95th percentile is within 1000 ms: it takes 3")


def test_what_links_may_have_added_counts_against_a_pass_and_against_a_failure() -> None:
    (session,) = sessions(1, 20, 500, "independent")
    assert judge_tail(session, 95, limit_s(0.02)).outcome == "pass"
    assert judge_tail(session, 95, limit_s(0.02), error_s=0.002).outcome == "inconclusive"
    assert judge_tail(session, 95, limit_s(0.10)).outcome == "fail"
    assert judge_tail(session, 95, limit_s(0.10), error_s=0.002).outcome == "inconclusive"


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_percentile_at_its_limit_hardly_ever_passes_if_undecided_sessions_get_further_trials(kind: str) -> None:
    false, _ = tails.passes_with_further(95, 0.05, 150, 5, 10, kind)
    # Of 150 sessions with a false pass in each hundred, more than 6 have one with a probability of 0.1 %.
    assert false * 150 <= 6


def test_further_trials_decide_what_the_planned_ones_cannot() -> None:
    assert tails.passes_with_further(95, 0.01, 30, 5, 10, "autocorrelation 0.6")[0] > 0.8
    (session,) = sessions(1, 200, 10, "independent")
    looks = tails.plan_looks(5, 10, [95], 2000)
    outcome, requests = tails.judged_with_further(session, 95, limit_s(0.9), looks)
    assert (outcome, requests) == ("fail", 50)  # and what is decided gets none


def test_the_interval_of_a_percentile_is_where_a_budget_is_inconclusive() -> None:
    (session,) = sessions(1, 20, 100, "autocorrelation 0.6")
    low_s, high_s = tail_interval(session, 95)
    assert low_s < limit_s(0.05) < high_s
    outcomes = [judge_tail(session, 95, limit).outcome for limit in (low_s * 0.99, limit_s(0.05), high_s * 1.01)]
    assert outcomes == ["fail", "inconclusive", "pass"]
    assert tail_interval(session[:2], 95) == (-np.inf, np.inf)
    assert tail_interval(session[:3], 99)[1] == np.inf
