"""Looks at tail budgets: few, fixed, never at numbers that can show nothing, and together within the risk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.stats import requests_needed
from pytest_edgeai.stats.looks import LEAST_TRIALS, RISK, plan_looks


@given(
    planned=st.integers(1, 60),
    requests=st.integers(1, 500),
    percentiles=st.sampled_from([(95,), (99,), (95, 99)]),
    limit=st.integers(0, 20_000),
)
def test_looks_are_fixed_numbers_of_trials_that_together_keep_the_risk(
    planned: int, requests: int, percentiles: tuple[int, ...], limit: int
) -> None:
    looks = plan_looks(planned, requests, percentiles, limit)
    assert looks.trials[0] == planned
    assert list(looks.trials) == sorted(set(looks.trials))
    assert len(looks.trials) * (1 - looks.confidence) <= RISK * (1 + 1e-9)
    assert all(trials * requests <= limit for trials in looks.trials[1:])
    needed = min(requests_needed(1 - rank / 100, looks.confidence, exceeding=0) for rank in percentiles)
    assert all(trials >= LEAST_TRIALS and trials * requests >= needed for trials in looks.trials[1:])
    made = [planned]
    while (following := looks.after(made[-1])) is not None:
        made.append(following)
    assert tuple(made) == looks.trials


def test_without_room_for_further_requests_there_is_one_look_at_the_whole_risk() -> None:
    assert plan_looks(10, 100, [99], 1000).trials == (10,)
    assert plan_looks(5, 10, [99], 300).trials == (5,)  # 300 requests cannot show it
    assert plan_looks(10, 100, [99], 1000).confidence == 1 - RISK


def test_further_requests_go_up_to_the_limit() -> None:
    assert plan_looks(5, 10, [99], 2000).trials == (5, 60, 120, 200)
    assert plan_looks(1, 500, [99], 2000).trials == (1, 4)
