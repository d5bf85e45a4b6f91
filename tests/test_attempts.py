"""Which attempt counts, what is measured again, where it is put, and by how many trials a strategy is judged."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.matrix.schedule import place_again
from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
from pytest_edgeai.measure.attempts import ENOUGH, Attempts, InvalidTrial
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.measure.records import MeasuredRequest, TrialRecord
from pytest_edgeai.measured import Measured, SessionPlan
from pytest_edgeai.settings import Settings
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.verdicts.outcome import judge
from pytest_edgeai.verdicts.trials import blame_host, judge_trials, short_of_trials

EDGE = Strategy("toy", "identity", Placement(("edge",)))
CLOUD = Strategy("toy", "identity", Placement(("cloud",)))
BUSY = InvalidTrial("the host was busy", "host")
WRONG = InvalidTrial("parity: sample 1 gets label 2")
outcomes = st.sampled_from(["valid", "host", "product"])


def trials(strategy: Strategy, count: int, version: str = "") -> list[PlannedTrial]:
    return [PlannedTrial(strategy, replicate, version) for replicate in range(count)]


def record(trial: PlannedTrial, outcome: str) -> TrialRecord:
    if outcome == "valid":
        return TrialRecord(trial, "valid", measurements=(MeasuredRequest(0, 0, 0.001, {"compute": 0.001}),))
    return TrialRecord(trial, "invalid", f"because of the {outcome}", outcome)


def attempt(attempts: Attempts, trial: PlannedTrial, outcome: str, planned: list[PlannedTrial]) -> str:
    """Make an attempt as a session does; what becomes of it."""
    attempts.begin(trial)
    attempts.add(record(trial, outcome))
    return "valid" if outcome == "valid" else attempts.settle(trial, planned)


def measured(planned: list[PlannedTrial], attempts: Attempts) -> Measured:
    """What a session of one strategy without an artifact leaves."""
    plan = SessionPlan(
        settings=Settings(),
        settings_file=None,
        seed=0,
        host=this_host(),
        backend="process",
        backend_description="",
        allotments={},
        models=("toy",),
        operators=("identity",),
        placements=(EDGE.placement,),
        strategies=(EDGE,),
        trials=tuple(planned),
        against=None,
        usual_replicates=None,
        is_whole=True,
    )
    made, waiting = tuple(attempts), frozenset(attempts.waiting)
    return Measured(plan, (), attempts.records, made, waiting, prepared={}, failures={}, other=None)


@given(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.lists(outcomes, max_size=60), st.randoms())
def test_a_session_ends_and_fails_a_test_exactly_where_a_strategy_cannot_be_judged(
    retries: int, edge: int, cloud: int, drawn: list[str], chance: random.Random
) -> None:
    planned = [*trials(EDGE, edge), *trials(CLOUD, cloud)]
    attempts, queue, fates, tries = Attempts(retries), list(planned), dict[PlannedTrial, str](), Counter[Strategy]()
    while queue:
        trial = queue.pop(0)
        tries[trial.strategy] += 1
        fates[trial] = attempt(attempts, trial, drawn.pop() if drawn else "valid", planned)
        if fates[trial] == "again":
            queue.insert(place_again([one.strategy for one in queue], chance), trial)
    assert not attempts.waiting
    assert [one.order for one in attempts] == list(range(tries.total()))
    for strategy, count in ((EDGE, edge), (CLOUD, cloud)):
        assert tries[strategy] <= count * (1 + retries)
        own = [attempts.records[trial] for trial in planned if trial.strategy == strategy]
        invalid = [InvalidTrial(one.reason, one.cause) for one in own if one.status == "invalid"]
        failed = any(fates[trial] == "failed" for trial in planned if trial.strategy == strategy)
        assert failed == (judge_trials(invalid, count, tries[strategy]).outcome == "invalid")
        if invalid and all(one.cause == "host" for one in invalid):
            assert tries[strategy] == count * (1 + retries)


@given(st.lists(st.integers(0, 3), max_size=12), st.randoms())
def test_a_retry_is_never_next_while_others_remain_and_parts_none_that_stay_together(
    together: list[int], chance: random.Random
) -> None:
    place = place_again(together, chance)
    assert min(1, len(together)) <= place <= len(together)
    if place < len(together):
        assert together[place] != together[place - 1]


def test_retries_are_put_anywhere_among_the_remaining_trials() -> None:
    chance = random.Random(1)
    assert {place_again(range(5), chance) for _ in range(200)} == {1, 2, 3, 4, 5}


@given(st.lists(outcomes, min_size=1, max_size=8))
def test_every_attempt_is_kept_and_the_last_one_counts(drawn: list[str]) -> None:
    (trial,) = planned = trials(EDGE, 1)
    attempts = Attempts(retries=100)
    made = []
    for outcome in drawn:
        made.append(outcome)
        if attempt(attempts, trial, outcome, planned) != "again":
            break
    assert [one.cause or "valid" for one in attempts] == made
    assert [one.attempt for one in attempts] == list(range(len(made)))
    assert (attempts.records[trial].cause or "valid") == made[-1]


def test_what_is_repeated_without_need_is_replaced() -> None:
    (trial,) = trials(EDGE, 1)
    attempts = Attempts(retries=2)
    first, nothing = attempts.add(record(trial, "valid"))
    assert nothing is None
    attempts.begin(trial)
    assert not attempts.is_over(trial)
    again, replaced = attempts.add(record(trial, "product"))
    assert replaced == first
    assert attempts.is_over(trial)
    assert list(attempts) == [again]


def test_each_version_of_a_strategy_has_retries_of_its_own() -> None:
    ours, theirs = trials(EDGE, 1), trials(EDGE, 1, "main")
    attempts = Attempts(retries=1)
    assert attempt(attempts, ours[0], "host", ours + theirs) == "again"
    assert attempt(attempts, theirs[0], "host", ours + theirs) == "again"
    assert attempt(attempts, ours[0], "host", ours + theirs) == "failed"


def test_a_trial_that_still_waits_when_the_session_ends_is_not_done_without() -> None:
    planned = trials(EDGE, ENOUGH + 1)
    attempts = Attempts(retries=1)
    for trial in planned[1:]:
        attempt(attempts, trial, "valid", planned)
    assert attempt(attempts, planned[0], "host", planned) == "again"
    (result,) = judge(measured(planned, attempts)).results
    assert result.verdict.outcome == "invalid"
    assert "because of the host; the session ended before it was measured again" in result.verdict.reason


@pytest.mark.parametrize(
    ("invalid", "planned", "outcome"),
    [
        ([], 1, "pass"),
        ([BUSY], 4, "pass"),
        ([BUSY, BUSY], 5, "pass"),
        ([BUSY], 3, "invalid"),
        ([BUSY, BUSY], 4, "invalid"),
        ([WRONG], 5, "invalid"),
        ([BUSY, WRONG], 10, "invalid"),
    ],
)
def test_three_valid_trials_suffice_where_the_host_alone_is_to_blame(
    invalid: list[InvalidTrial], planned: int, outcome: str
) -> None:
    assert judge_trials(invalid, planned, planned).outcome == outcome
    assert bool(short_of_trials("toy", invalid, planned, planned)) == (bool(invalid) and outcome == "pass")


def test_the_products_fault_is_named_before_the_hosts() -> None:
    verdict = judge_trials([BUSY, WRONG], 5, 9)
    assert verdict.reason == f"2 of 5 trials are invalid after 9 tries, the first because {WRONG.reason}"


def test_the_sentence_about_the_host_has_the_commonest_reason_whatever_its_figures() -> None:
    reasons = ["the relay was slow", "waited 41 % (make)", "waited 7.5 % (make)", "waited 12 % (cc1)"]
    sentence = blame_host(["a", "b"], 24, reasons)
    assert "the retries of 2 of 24 strategies" in sentence
    assert "the reason of 2 of 4 spoiled attempts was like this: waited 7.5 % (make)" in sentence
    assert blame_host(["a"], 24, reasons) == ""
