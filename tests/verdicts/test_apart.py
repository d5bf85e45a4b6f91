"""A session against a window of saved ones: which component got slower, and what is the machine's doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from pytest_edgeai.arrays import Array
from pytest_edgeai.settings import Settings
from pytest_edgeai.verdicts.comparison import Comparison, compare, rules
from pytest_edgeai.versions.recording import RecordedArtifact, RecordedStrategy, Recording

OPERATORS = ("identity", "pruned", "sptq", "qat")
NAMES = tuple(f"toy-{operator}-edge" for operator in OPERATORS)
LINK_S = 0.2
"""What the link takes of every request: twenty times as long as compute."""


def session(
    number: int,
    *,
    slower: Mapping[str, float] | None = None,
    machine: float = 0.0,
    waiting: float = 1.5,
    changed: tuple[str, ...] = (),
    crossing_slower: Mapping[str, float] | None = None,
    own: float = 0.01,
) -> Recording:
    """A session of a noisy machine; `slower` multiplies compute, and `machine` is added to all of its logarithms."""
    generator = np.random.default_rng(number)
    shift = machine + generator.normal(0, 0.05)
    strategies = {}
    for place, name in enumerate(NAMES):
        factor = (slower or {}).get(name, 1.0)

        def noise(spread: float) -> Array:
            return np.exp(generator.normal(0, spread, (5, 1, 1)) + generator.normal(0, 0.02, (5, 10, 1)))

        cpu = 0.01 * (1 + place) * factor * np.exp(shift + generator.normal(0, own)) * noise(0.01)
        compute = cpu * waiting * np.exp(np.abs(generator.normal(0, 0.3, (5, 10, 1))))
        crossing = (crossing_slower or {}).get(name, 1.0) * LINK_S * noise(0.001)
        reference = tuple({"edge": 0.001 * float(np.exp(shift + generator.normal(0, 0.01)))} for _ in range(5))
        strategies[name] = RecordedStrategy(
            tuple(range(10)),
            compute + crossing,
            components={"cpu": cpu, "compute": compute, "unhindered": cpu + crossing, "transmit": crossing},
            reference_s=reference,
            reference_components={"cpu": reference, "compute": reference},
        )
    artifacts = {
        f"toy-{one}": RecordedArtifact(f"{one}{number if f'toy-{one}-edge' in changed else ''}", 1, {}, None)
        for one in OPERATORS
    }
    return Recording(
        f"session {number}", {}, strategies, artifacts, {name: name.removesuffix("-edge") for name in NAMES}
    )


def judged(after: Recording, sessions: int = 10) -> Comparison:
    """A session against the ones before it."""
    window = [session(number) for number in range(sessions)]
    return compare(replace(window[-1], label="main", earlier=tuple(window[:-1])), after, *rules(Settings()))


def outcomes(found: Comparison) -> dict[str, str]:
    return {row.strategy: row.outcome for row in found.rows}


def test_slower_compute_is_seen_and_named_behind_a_link_that_takes_nearly_all_of_the_time() -> None:
    found = judged(session(100, slower={NAMES[1]: 1.2}, changed=NAMES[1:2]))
    rows = {row.strategy: row for row in found.rows}
    assert rows[NAMES[1]].outcome == "regression"
    assert rows[NAMES[1]].reasons[0].startswith("compute by CPU time")
    assert {outcome for name, outcome in outcomes(found).items() if name != NAMES[1]} == {"pass"}
    latency = rows[NAMES[1]].latency
    assert latency is not None
    assert latency.change < 0.05
    assert found.compute_by == "CPU time"
    assert rows[NAMES[1]].spread["CPU time"] < rows[NAMES[1]].spread["wall time"]
    assert len(found.window) == 10
    assert any("instructions were not counted" in one for one in found.remarks)


def test_slower_transmission_is_named_likewise() -> None:
    found = judged(session(101, crossing_slower={NAMES[3]: 1.3}, changed=NAMES[3:]))
    rows = {row.strategy: row for row in found.rows}
    assert rows[NAMES[3]].outcome == "regression"
    assert rows[NAMES[3]].reasons[0].startswith("transmit +")
    assert {row.outcome for row in found.rows[:3]} == {"pass"}


def test_a_machine_that_is_slower_is_not_a_regression() -> None:
    """All of it computes 1.3 times as slowly, the reference computation as well; one artifact changed."""
    for changed in ((), NAMES[2:3], NAMES):
        assert "regression" not in outcomes(judged(session(102, machine=float(np.log(1.3)), changed=changed))).values()


def test_everything_that_is_slower_than_the_reference_is_a_regression() -> None:
    found = judged(session(103, slower=dict.fromkeys(NAMES, 1.3)))
    assert set(outcomes(found).values()) == {"regression"}
    assert "in the mean of what did not change against the reference computation" in found.rows[0].reasons[0]


def test_a_session_that_waits_for_cores_more_than_all_others_is_judged_by_compute_alone() -> None:
    found = judged(session(104, waiting=4.0))
    assert set(outcomes(found).values()) == {"pass"}
    assert {component.component for row in found.rows for component in row.components} == {"compute"}
    assert any("waited for cores more than any" in one for one in found.remarks)


def test_equal_sessions_raise_no_more_false_alarms_than_the_level() -> None:
    """25 sessions, of which at most 5 (the 0.999 quantile of a binomial of 5 %) may have any."""
    window = [session(number) for number in range(10)]
    before = replace(window[-1], earlier=tuple(window[:-1]))
    rule, limits = rules(Settings())
    alarms = 0
    for number in range(200, 225):
        changed = NAMES[number % 5 : number % 5 + 1]
        alarms += "regression" in outcomes(compare(before, session(number, changed=changed), rule, limits)).values()
    assert alarms <= 5


@pytest.mark.parametrize("lacking", ["sessions", "components"])
def test_too_little_to_know_the_spread_by_is_compared_as_two_sessions_are(lacking: str) -> None:
    sessions = [session(number) for number in range(2 if lacking == "sessions" else 5)]
    if lacking == "components":  # saved before they were kept
        sessions = [
            replace(
                one,
                strategies={n: replace(it, components={}, reference_components={}) for n, it in one.strategies.items()},
            )
            for one in sessions
        ]
    after, given = session(105), rules(Settings())
    found = compare(replace(sessions[-1], label="main", earlier=tuple(sessions[:-1])), after, *given)
    plain = compare(replace(sessions[-1], label="main"), after, *given)
    assert [row.latency for row in found.rows] == [row.latency for row in plain.rows]
    assert found.window == ()
    assert found.remarks[0].startswith("4 of the strategies are judged by main alone: it takes 3 sessions")


def test_sessions_under_other_conditions_are_left_out() -> None:
    window = [session(number) for number in range(5)]
    other = replace(session(6), conditions={"backend": "docker"})
    found = compare(replace(window[-1], earlier=(other, *window[:-1])), session(106), *rules(Settings()))
    assert len(found.window) == 5
    assert "1 of the 6 sessions before have other conditions and are left out" in found.remarks
