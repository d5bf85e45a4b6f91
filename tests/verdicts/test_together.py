"""Two versions measured in one session: what was measured once, could not be built, or is broken on one side."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pytest_edgeai.settings import Settings
from pytest_edgeai.verdicts.comparison import Row, compare, rules
from pytest_edgeai.verdicts.regression import Rule, judge_changes
from pytest_edgeai.versions.recording import RecordedStrategy, Recording
from tests.verdicts.test_regression import session

INPUTS = tuple(range(10))
MEASURED = RecordedStrategy(INPUTS, np.random.default_rng(1).normal(1, 0.01, size=(5, 10, 1)), places=tuple(range(5)))
NOTHING = np.empty((0, 0, 0))


def _rows(before: RecordedStrategy, after: RecordedStrategy = MEASURED) -> list[Row]:
    was, now = (
        Recording(label, {}, {"s": one}, code="one") for label, one in (("main", before), ("this version", after))
    )
    rule, limits = rules(Settings())
    return list(compare(was, now, rule, limits, together=True).rows)


def test_what_is_the_same_passes_with_what_was_measured_once() -> None:
    (row,) = _rows(RecordedStrategy((), NOTHING, same=True))
    assert (row.outcome, row.same, row.latency) == ("pass", True, None)
    assert np.isnan(row.medians_s[0])  # no column holds what was not measured
    assert row.medians_s[1] == pytest.approx(1, abs=0.01)


def test_what_is_the_same_is_not_green_where_the_code_that_measures_is_not() -> None:
    before = Recording("HEAD~1", {}, {"s": RecordedStrategy((), NOTHING, same=True)}, code="other")
    after = Recording("this version", {}, {"s": MEASURED}, code="one")
    rule, limits = rules(Settings())
    comparison = compare(before, after, rule, limits, together=True)
    assert comparison.rows[0].outcome == "inconclusive"
    assert (comparison.green, comparison.fails) == (False, True)
    assert "the code that measures (pytest_edgeai itself) differs" in comparison.rows[0].reasons[0]
    unknown = compare(Recording("HEAD~1", {}, before.strategies), after, rule, limits, together=True)
    assert unknown.fails


def test_neighbours_are_pairs_where_another_trial_is_lacking() -> None:
    """What the machine did to both members of a pair drops out only if they are compared with each other."""
    generator = np.random.default_rng(3)
    machine = np.exp(generator.normal(0, 0.3, (12, 1, 1)))
    before, after = (machine * np.exp(generator.normal(0, 0.002, (12, 10, 1))) for _ in range(2))
    kept = {name: [place for place in range(12) if place != gone] for name, gone in (("was", 2), ("now", 7))}
    rule, limits = rules(Settings())
    first, second = (
        Recording(
            label, {}, {"s": RecordedStrategy(INPUTS, latencies_s[kept[name]], places=tuple(kept[name]))}, code=""
        )
        for label, name, latencies_s in (("main", "was", before), ("this version", "now", 1.1 * after))
    )
    (row,) = compare(first, second, rule, limits, together=True).rows
    assert row.outcome == "regression"
    assert row.latency is not None
    assert row.latency.trials == (10, 10)


@pytest.mark.parametrize(
    ("before", "after", "outcome", "reason"),
    [
        (RecordedStrategy((), NOTHING), MEASURED, "invalid", "it has no trials in main"),
        (RecordedStrategy((), NOTHING, same=True), RecordedStrategy((), NOTHING), "invalid", "no trials in this"),
        (RecordedStrategy((), NOTHING, invalid=("no tier",)), MEASURED, "invalid", "the first because no tier"),
        (RecordedStrategy((), NOTHING, same=True), RecordedStrategy((), NOTHING, invalid=("x",)), "invalid", "in this"),
        (
            RecordedStrategy((), NOTHING, failure="has no torch"),
            MEASURED,
            "incomparable",
            "main has no torch",
        ),
        (RecordedStrategy((1, *INPUTS[1:]), MEASURED.latencies_s), MEASURED, "incomparable", "other samples were sent"),
    ],
)
def test_what_is_broken_on_one_side_is_not_green(
    before: RecordedStrategy, after: RecordedStrategy, outcome: str, reason: str
) -> None:
    (row,) = _rows(before, after)
    assert row.outcome == outcome
    assert re.search(reason, row.reasons[0])


def test_strategies_that_were_measured_once_tell_how_trials_differ() -> None:
    """A single strategy that changed has few degrees of freedom of its own; those that did not change lend theirs."""
    alone, lent = [], []
    for seed in range(40):
        sides = session(seed, strategies=12, trials=6, slower=1.06, spread=0.02)
        changed = {"s0": sides["s0"]}
        lending = [after for name, (_, after) in sides.items() if name != "s0"]
        alone.append(judge_changes(changed, Rule(), together=True)["s0"])
        lent.append(judge_changes(changed, Rule(), together=True, lending=lending)["s0"])
    assert np.median([one.detectable for one in lent]) < 0.9 * np.median([one.detectable for one in alone])
    seen = [sum(one.outcome == "regression" for one in found) for found in (alone, lent)]
    assert seen[1] > seen[0]
    assert [one.change for one in alone] == [one.change for one in lent]


def test_lending_makes_no_false_alarms() -> None:
    alarms = 0
    for seed in range(200):
        sides = session(seed, strategies=12, trials=5, spread=0.02)
        lending = [after for name, (_, after) in sides.items() if name != "s0"]
        found = judge_changes({"s0": sides["s0"]}, Rule(min_change=1e-6), together=True, lending=lending)["s0"]
        alarms += found.p < 0.05
    assert alarms <= 19  # 5 % would be 10; more than 19 has a probability of 0.4 %


def test_a_large_change_is_seen_where_one_request_was_interrupted() -> None:
    """The interruption hides the change in one view of one pair, and may not hide it in the others."""
    for seed in range(8):
        generator = np.random.default_rng(seed)
        sides = {}
        for name in ("a", "b"):
            before = np.exp(generator.normal(0, 0.03, (6, 1, 1)) + generator.normal(0, 0.04, (6, 4, 1)))
            after = 2.7 * np.exp(generator.normal(0, 0.03, (6, 1, 1)) + generator.normal(0, 0.04, (6, 4, 1)))
            before[0, 1] *= 4
            sides[name] = before, after
        alike = [np.exp(generator.normal(0, 0.03, (6, 1, 1)) + generator.normal(0, 0.04, (6, 4, 1))) for _ in range(2)]
        changes = judge_changes(sides, Rule(), together=True, lending=alike)
        assert {change.outcome for change in changes.values()} == {"regression"}, seed
        assert all(change.p_adjusted < 0.05 for change in changes.values()), seed
