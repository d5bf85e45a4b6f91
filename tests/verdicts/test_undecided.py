"""More trials for what is undecided: for which strategies, how many, and at which level."""

from __future__ import annotations

import pytest

from pytest_edgeai.verdicts.regression import LatencyChange, Rule, judge_changes
from pytest_edgeai.verdicts.undecided import more_trials, rule_of_look
from tests.verdicts.test_regression import session


def change(outcome: str, trials: int, needed: int | None, *, slower: bool = True) -> LatencyChange:
    """What a look found."""
    numbers = dict.fromkeys(("change", "low", "high", "p", "p_adjusted", "delta", "detectable"), 0.1)
    return LatencyChange(outcome, "", **numbers, trials=(trials, trials), trials_needed=needed, slower=slower)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "most", "more"),
    [
        (change("pass", 10, None), 30, 0),
        (change("regression", 10, None), 30, 0),
        (change("inconclusive", 10, 13), 30, 3),
        (change("inconclusive", 10, 100), 30, 10),
        (change("inconclusive", 20, 100), 30, 10),
        (change("inconclusive", 30, 100), 30, 0),
        (change("inconclusive", 10, None), 30, 0),
        (change("inconclusive", 10, 100, slower=False), 30, 0),
        (change("inconclusive", 10, 25, slower=False), 30, 10),
    ],
)
def test_only_what_is_undecided_gets_more_up_to_what_it_needs_and_may_have(
    found: LatencyChange, most: int, more: int
) -> None:
    assert more_trials({"s": found}, most) == ({"s": more} if more else {})


def test_all_looks_together_spend_no_more_than_the_level() -> None:
    for looks in range(1, 6):
        spent = [rule_of_look(Rule(), look, last=look == looks - 1).alpha for look in range(looks)]
        assert sum(spent) == pytest.approx(Rule().alpha)


def test_what_is_undecided_is_decided_by_the_trials_that_it_gets() -> None:
    """A slowdown that ten trials do not show for sure."""
    undecided = decided = 0
    for seed in range(12):
        every = session(seed, strategies=6, trials=40, slower=1.06, spread=0.04)
        first = {name: (was[:10], now[:10]) for name, (was, now) in every.items()}
        found = judge_changes(first, rule_of_look(Rule(), 0, last=False), together=True)
        if found["s0"].outcome == "inconclusive":
            undecided += 1
            assert more_trials(found, 400)["s0"] > 0
            decided += judge_changes(every, Rule(), together=True)["s0"].outcome == "regression"
    assert undecided >= 4
    assert decided >= undecided / 2


def test_a_strategy_decided_at_an_earlier_look_is_judged_at_the_level_of_that_look() -> None:
    rule = Rule(alpha=1e-6, levels={"s0": 0.05})
    found = judge_changes(session(1, slower=1.3), rule, together=True)
    assert found["s0"].outcome == "regression"
    assert judge_changes(session(1, slower=1.3), Rule(alpha=1e-6), together=True)["s0"].outcome != "regression"
