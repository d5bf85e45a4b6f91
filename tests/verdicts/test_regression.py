"""The decision whether a strategy got slower: what never happens, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_edgeai.arrays import Array
from pytest_edgeai.verdicts.regression import Rule, judge_changes

RULE = Rule()


def session(
    seed: int, *, strategies: int = 12, trials: int = 10, slower: float = 1.0, spread: float = 0.01
) -> dict[str, tuple[Array, Array]]:
    """Two versions of strategies, of which the first one is slower in the second version."""
    generator = np.random.default_rng(seed)
    found = {}
    for number in range(strategies):
        inputs = generator.uniform(0.005, 0.2) * np.exp(generator.normal(0, 0.3, 10))

        def side(factor: float, inputs: Array = inputs) -> Array:
            trial = np.exp(generator.normal(0, spread, (trials, 1)))
            one = inputs * factor * trial * np.exp(generator.normal(0, 0.05, (trials, 10)))
            return np.asarray(one[:, :, None])  # sent once in each trial

        found[f"s{number}"] = (side(1.0), side(slower if number == 0 else 1.0))
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_identical_measurements_never_differ(seed: int) -> None:
    twice = {name: (before, before.copy()) for name, (before, _) in session(seed, strategies=6).items()}
    for change in judge_changes(twice, RULE, together=True).values():
        assert change.outcome in ("pass", "inconclusive")
        assert change.change == pytest.approx(0, abs=1e-12)
        assert change.delta == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_neither_unit_nor_order_matter(seed: int, factor: float) -> None:
    sides = session(seed, strategies=6, slower=1.08)
    generator = np.random.default_rng(seed)
    order = generator.permutation(10)  # of both sides, because neighbours are pairs
    other = {
        name: tuple(factor * side[order][:, np.argsort(before[0, :, 0])] for side in (before, after))
        for name, (before, after) in sides.items()
    }
    plain = judge_changes(sides, RULE, together=True)
    for name, change in judge_changes(other, RULE, together=True).items():
        assert change.change == pytest.approx(plain[name].change, abs=1e-9)
        assert change.p == pytest.approx(plain[name].p, rel=1e-6)
        assert change.outcome == plain[name].outcome


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_exchanging_the_versions_turns_the_verdict_round(seed: int) -> None:
    sides = session(seed, strategies=6, slower=1.2)
    back = judge_changes({name: (after, before) for name, (before, after) in sides.items()}, RULE, together=True)
    turned = {"regression": "improvement", "improvement": "regression"}
    for name, change in judge_changes(sides, RULE, together=True).items():
        decided = {change.outcome, back[name].outcome} & {"regression", "improvement"}
        if decided:
            assert back[name].outcome == turned[change.outcome]
        assert back[name].p == pytest.approx(change.p, rel=1e-9)


def test_a_slower_strategy_is_found_and_no_other() -> None:
    for seed in range(20):
        found = judge_changes(session(seed, slower=1.2), RULE, together=True)
        assert found["s0"].outcome == "regression"
        assert found["s0"].change == pytest.approx(0.2, abs=0.1)
        assert found["s0"].low < 0.2 < found["s0"].high or abs(found["s0"].change - 0.2) < 0.05


def test_false_alarms_are_rare() -> None:
    alarms = sum(
        any(change.outcome == "regression" for change in judge_changes(session(seed), RULE, together=True).values())
        for seed in range(60)
    )
    assert alarms <= 7  # 5 % would be 3; more than 7 has a probability of 1 %


def test_a_change_that_does_not_matter_is_no_regression_however_sure_it_is() -> None:
    found = judge_changes(session(1, slower=1.02, spread=1e-4, trials=30), RULE, together=True)["s0"]
    assert found.p_adjusted < 1e-6 or found.delta < 1
    assert found.outcome == "pass"


def test_requests_of_one_trial_are_not_counted_as_independent() -> None:
    # One trial a side was slow as a whole: with all requests as samples this would be as sure as can be.
    sides = session(3, strategies=12)
    _, after = sides["s0"]
    after[0] *= 1.5
    assert judge_changes(sides, RULE, together=True)["s0"].outcome != "regression"


def test_one_pause_in_one_trial_is_no_regression() -> None:
    sides = session(4)
    _, after = sides["s0"]
    after[3, 5] *= 200  # the mean of all requests is three times as long
    assert judge_changes(sides, RULE, together=True)["s0"].outcome == "pass"


def some_requests_slower(seed: int, share: float, factor: float) -> dict[str, tuple[Array, Array]]:
    """Two versions, of which the later one takes longer for a share of the requests of one strategy."""
    sides = session(seed)
    before, after = sides["s0"]
    slow = np.random.default_rng(seed).random(after.shape) < share
    return sides | {"s0": (before, np.where(slow, factor * after, after))}


def test_a_slowdown_of_half_of_the_requests_is_found() -> None:
    for seed in range(8):
        found = judge_changes(some_requests_slower(seed, 0.5, 2.0), RULE, together=True)["s0"]
        assert found.outcome == "regression"


def test_a_slowdown_of_few_requests_is_no_pass() -> None:
    """A tenth of the requests takes twenty times as long: most of ten trials have one of them, some have none."""
    for seed in range(8):
        found = judge_changes(some_requests_slower(seed, 0.1, 20.0), RULE, together=True)["s0"]
        assert (found.outcome, found.slower) in (("regression", False), ("inconclusive", True))


def test_a_slowdown_of_few_requests_is_found_with_more_trials() -> None:
    for seed in range(4):
        sides = session(seed, trials=30, strategies=6)
        before, after = sides["s0"]
        slow = np.random.default_rng(seed).random(after.shape) < 0.1
        sides["s0"] = before, np.where(slow, 20 * after, after)
        found = judge_changes(sides, RULE, together=True)["s0"]
        assert found.outcome == "regression"
        assert " in all requests" in found.reason or " in slowest quarter" in found.reason


@pytest.mark.parametrize("inputs", [[4], [2, 7]])
def test_a_slowdown_of_some_inputs_is_found_and_named(inputs: list[int]) -> None:
    sides = session(11)
    _, after = sides["s0"]
    after[:, inputs] *= 1.5
    found = judge_changes(sides, RULE, together=True)["s0"]
    assert found.outcome == "regression"
    assert found.views[-1].view in {f"input {number + 1}" for number in inputs}
    assert found.views[-1].change > 0.3


def test_a_slowdown_that_one_of_several_passes_has_is_found() -> None:
    """The median over the passes of a trial would hide it."""
    sides = {name: (np.repeat(was, 5, axis=2), np.repeat(now, 5, axis=2)) for name, (was, now) in session(12).items()}
    _, after = sides["s0"]
    after[:, :, 2] *= 3
    assert judge_changes(sides, RULE, together=True)["s0"].outcome == "regression"


def test_trials_that_differ_a_lot_say_how_many_it_would_take() -> None:
    found = judge_changes(session(15, spread=0.2), RULE, together=True)
    assert {change.outcome for change in found.values()} == {"inconclusive"}
    for change in found.values():
        assert change.trials_needed is not None
        assert change.trials_needed > 10
        assert f"{change.trials_needed} trials a side" in change.reason


def test_with_the_trials_that_it_asks_for_it_decides() -> None:
    needed = judge_changes(session(6, spread=0.06), RULE, together=True)["s1"].trials_needed
    assert needed is not None
    seen = sum(
        judge_changes(session(seed, spread=0.06, trials=needed, slower=1.1), RULE, together=True)["s0"].outcome
        == "regression"
        for seed in range(20)
    )
    assert seen >= 11  # it promises four of five; fewer than 11 has a probability below 1 %


def test_a_single_trial_a_side_decides_nothing() -> None:
    found = judge_changes(session(7, trials=1, slower=3.0), RULE, together=True)["s0"]
    assert found.outcome == "inconclusive"
    assert "one trial a side" in found.reason


def test_a_whole_session_that_is_slower_is_the_machine_as_well_as_the_commit() -> None:
    sides = {name: (before, after * 1.15) for name, (before, after) in session(8, spread=0.005).items()}
    apart = judge_changes(sides, RULE, together=False)
    assert "regression" not in {change.outcome for change in apart.values()}
    assert any("so is everything (+" in change.reason for change in apart.values())
    assert any(change.slower for change in apart.values())  # which is not green
    together = judge_changes(sides, RULE, together=True)
    assert {change.outcome for change in together.values()} == {"regression"}


def test_a_whole_session_that_is_slower_while_the_reference_stayed_is_the_code() -> None:
    sides = {name: (before, after * 1.3) for name, (before, after) in session(8, spread=0.005).items()}
    stayed = judge_changes(sides, RULE, together=False, controls=dict.fromkeys(sides, 0.01))
    assert {change.outcome for change in stayed.values()} == {"regression"}
    moved = judge_changes(sides, RULE, together=False, controls=dict.fromkeys(sides, float(np.log(1.3))))
    assert {change.outcome for change in moved.values()} == {"inconclusive"}
    assert all("so is the reference computation of its tiers (+30.0%)" in one.reason for one in moved.values())


def test_what_is_slower_than_the_reference_explains_is_the_code() -> None:
    sides = {name: (before, after * 1.6) for name, (before, after) in session(8, spread=0.005).items()}
    found = judge_changes(sides, RULE, together=False, controls=dict.fromkeys(sides, float(np.log(1.1))))
    assert {change.outcome for change in found.values()} == {"regression"}


def test_a_single_strategy_that_is_slower_is_the_code_though_the_reference_moved() -> None:
    sides = session(9, slower=1.3, spread=0.005)
    found = judge_changes(sides, RULE, together=False, controls=dict.fromkeys(sides, float(np.log(1.3))))
    assert found["s0"].outcome == "regression"


def test_a_strategy_that_is_slower_than_a_slower_session_is_still_found() -> None:
    sides = {name: (before, after * 1.05) for name, (before, after) in session(9, slower=1.3, spread=0.005).items()}
    assert judge_changes(sides, RULE, together=False)["s0"].outcome == "regression"


def test_sessions_of_one_version_that_differ_as_sessions_do_are_no_regression() -> None:
    alarms = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        # Every strategy has a level of its own in each session, which no number of trials averages out.
        sides = {
            name: (before, after * np.exp(generator.normal(0, RULE.session_spread * 2**0.5)))
            for name, (before, after) in session(seed, spread=0.005).items()
        }
        found = judge_changes(sides, RULE, together=False)
        alarms += any(change.outcome == "regression" for change in found.values())
    assert alarms <= 7  # 5 % would be 3; more than 7 has a probability of 1 %


def test_a_change_beyond_what_sessions_differ_by_is_seen_in_sessions_apart() -> None:
    seen = sum(
        judge_changes(session(seed, slower=1.2, spread=0.01), RULE, together=False)["s0"].outcome == "regression"
        for seed in range(20)
    )
    assert seen >= 18


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0, np.inf])
def test_what_is_no_latency_is_refused(bad: float) -> None:
    sides = session(1, strategies=1)
    sides["s0"][1][2, 3, 0] = bad
    with pytest.raises(ValueError, match="s0: latencies are positive numbers"):
        judge_changes(sides, RULE, together=True)


def test_different_inputs_are_refused() -> None:
    before, after = session(1, strategies=1)["s0"]
    with pytest.raises(ValueError, match="10 inputs, each sent 1 times, before and 9 inputs"):
        judge_changes({"s0": (before, after[:, 1:])}, RULE, together=True)
