"""The decision whether a strategy got slower: what never happens, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_edgeai.serving.protocol import Array
from pytest_edgeai.verdicts.regression import Rule, judge_changes

RULE = Rule()


def session(
    seed: int, *, strategies: int = 12, trials: int = 5, slower: float = 1.0, spread: float = 0.01
) -> dict[str, tuple[Array, Array]]:
    """Two versions of strategies, of which the first one is slower in the second version."""
    generator = np.random.default_rng(seed)
    found = {}
    for number in range(strategies):
        inputs = generator.uniform(0.005, 0.2) * np.exp(generator.normal(0, 0.3, 10))

        def side(factor: float, inputs: Array = inputs) -> Array:
            trial = np.exp(generator.normal(0, spread, (trials, 1)))
            return np.asarray(inputs * factor * trial * np.exp(generator.normal(0, 0.05, (trials, 10))))

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
    order = generator.permutation(5)  # of both sides, because neighbours are pairs
    other = {
        name: tuple(factor * side[order][:, np.argsort(before[0])] for side in (before, after))
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
        # 3 % slower and 3 % faster are not the same factor, so an effect at the edge may count one way only
        if abs(abs(np.log1p(change.change)) - np.log1p(RULE.min_change)) > 1e-3:
            assert back[name].outcome == turned.get(change.outcome, change.outcome)
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
        for seed in range(150)
    )
    assert alarms <= 12  # 5 % would be 7.5; more than 12 has a probability below 4 %


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


def test_one_pause_in_each_trial_is_no_regression() -> None:
    sides = session(4)
    _, after = sides["s0"]
    for row in after:
        row[int(row[0] * 1e6) % 10] += 1.0
    assert judge_changes(sides, RULE, together=True)["s0"].outcome in ("pass", "inconclusive")


def test_trials_that_differ_a_lot_say_how_many_it_would_take() -> None:
    found = judge_changes(session(5, spread=0.2), RULE, together=True)
    assert {change.outcome for change in found.values()} == {"inconclusive"}
    for change in found.values():
        assert change.trials_needed is not None
        assert change.trials_needed > 5
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
    together = judge_changes(sides, RULE, together=True)
    assert {change.outcome for change in together.values()} == {"regression"}


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
    sides["s0"][1][2, 3] = bad
    with pytest.raises(ValueError, match="s0: latencies are positive numbers"):
        judge_changes(sides, RULE, together=True)


def test_different_inputs_are_refused() -> None:
    before, after = session(1, strategies=1)["s0"]
    with pytest.raises(ValueError, match="10 inputs before and 9 after"):
        judge_changes({"s0": (before, after[:, 1:])}, RULE, together=True)
