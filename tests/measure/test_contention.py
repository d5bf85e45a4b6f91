"""A busy or slow host is recognised, and a quiet one is left alone."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_edgeai.measure import contention
from pytest_edgeai.measure.contention import (
    ForeignUse,
    Wait,
    foreign_use,
    judge_contention,
    judge_speed,
    judge_speeds,
    slower_references,
    speed_remark,
)
from pytest_edgeai.measure.host import Moment, Process
from pytest_edgeai.settings_tables import Tolerances

QUIET = Wait(0.010, 0.008, 0.0001, 0.0001)
WAITED = Wait(0.010, 0.008, 0.004, 0.004)
OURS, THEIRS, THEIR_CHILD = 100, 200, 201


def moment(at_s: float, unused_s: Mapping[int, float], **cpu_s: float) -> Moment:
    """A moment of a host with a process of ours and two of others, in one group."""
    processes = {
        OURS: Process(1, 100, "pytest", 5, cpu_s["ours"]),
        THEIRS: Process(1, 200, "make", 6, cpu_s["theirs"]),
        THEIR_CHILD: Process(THEIRS, 200, "stress-ng", 7, cpu_s["child"]),
    }
    return Moment(at_s, unused_s, None, None, processes)


BEFORE = moment(10.0, {0: 3.0, 1: 4.0}, ours=50.0, theirs=1.0, child=2.0)


def use(after: Moment, **arguments: Any) -> ForeignUse:
    found = foreign_use(BEFORE, after, **{"cpus": [0, 1], "ours": {OURS}, **arguments})
    assert found is not None
    return found


def judged(waits: list[Wait], foreign: ForeignUse | None = None, needed: int = 2, **tolerances: float) -> str | None:
    return judge_contention(waits, foreign, needed, 6.2, Tolerances.model_validate(tolerances))


def test_what_others_took_is_what_is_used_without_what_is_ours() -> None:
    found = use(moment(12.0, {0: 3.0, 1: 4.5}, ours=51.0, theirs=1.5, child=4.0))
    assert found.cores == pytest.approx((2 + 1.5 - 1) / 2)
    assert (found.group, found.name, found.group_cores) == (200, "stress-ng", 1.25)


def test_cores_that_the_session_may_not_use_do_not_count() -> None:
    found = use(moment(12.0, {0: 3.0, 1: 6.0}, ours=50.0, theirs=1.0, child=4.0), cpus=[1])
    assert (found.cores, found.of) == (0, 1)


def test_containers_of_the_session_are_not_others_though_nobody_sees_their_processes() -> None:
    found = use(moment(12.0, {0: 3.0, 1: 6.0}, ours=50.0, theirs=1.0, child=4.0), unlisted_s=2.0)
    assert found.cores == 0
    assert found.group is None


def test_a_process_of_the_number_of_an_earlier_one_is_another() -> None:
    later = moment(12.0, {0: 5.0, 1: 5.0}, ours=50.0, theirs=1.0, child=0.0)
    reborn = {**later.processes, THEIR_CHILD: Process(1, 300, "gcc", 900, 0.5)}
    found = use(Moment(12.0, later.unused_s, None, None, reborn))
    assert (found.group, found.name, found.group_cores) == (300, "gcc", 0.25)


def test_a_system_that_tells_nothing_has_no_foreign_use() -> None:
    nothing = Moment(12.0, {}, None, None, {})
    assert foreign_use(Moment(10.0, {}, None, None, {}), nothing, [0, 1], {OURS}) is None


def test_a_quiet_host_is_left_alone() -> None:
    assert judged([QUIET] * 10, ForeignUse(0.3, 2)) is None
    assert judged([], None) is None


def test_a_few_requests_that_waited_are_tolerated_and_many_are_not() -> None:
    assert judged([QUIET] * 8 + [WAITED] * 2) is None
    assert judged([QUIET] * 7 + [WAITED] * 3) is not None
    assert judged([QUIET] * 7 + [WAITED] * 3, waiting_requests=0.3) is None


def test_the_sentence_says_how_long_compute_waited_and_who_took_the_host() -> None:
    sentence = judged([WAITED] * 10, ForeignUse(1.9, 2, 4711, "stress-ng", 1.8))
    assert sentence == (
        "the host was busy: compute waited 50 % of its time for a core; 2 cores are needed for the tiers that compute, "
        "the client and the links; load 6.2; other processes took 1.9 of 2 cores, "
        "process group 4711 (stress-ng) 1.8 of them"
    )


def test_others_may_take_half_of_a_core_that_is_needed_and_every_core_that_is_not() -> None:
    assert judged([QUIET], ForeignUse(0.45, 2)) is None
    assert judged([QUIET], ForeignUse(0.55, 2)) is not None
    assert judged([QUIET], ForeignUse(14.4, 16)) is None
    assert judged([QUIET], ForeignUse(14.6, 16)) is not None


def test_a_host_that_has_fewer_cores_than_are_needed_is_not_busy_for_that() -> None:
    assert judged([QUIET], ForeignUse(0.1, 1)) is None


def reference(before_s: float, after_s: float, place: str = "edge") -> dict[str, dict[str, float]]:
    mean_s = (before_s + after_s) / 2
    return {place: {"cpu_s": mean_s, "wall_s": mean_s, "before_cpu_s": before_s, "after_cpu_s": after_s}}


def test_the_slower_reference_of_a_trial_and_the_slowest_node_count() -> None:
    found = slower_references([reference(0.001, 0.002), {**reference(3, 2, "edge[0]"), **reference(1, 4, "edge[1]")}])
    assert found == {"edge": [0.002, 4]}


def test_a_slow_host_is_recognised_once_enough_trials_are_known() -> None:
    slow = reference(0.0010, 0.0016)
    assert judge_speed(slow, {"edge": [0.001] * 3}, 0.25) is None
    assert judge_speed(slow, {"cloud": [0.001] * 9}, 0.25) is None
    assert judge_speed(reference(0.001, 0.00124), {"edge": [0.001] * 4}, 0.25) is None
    sentence = judge_speed(slow, {"edge": [0.001, 0.001, 0.0017, 0.0018]}, 0.25)
    assert sentence == "the host computed 1.6 times slower than in its other trials (the reference on tier edge)"


def test_trials_made_before_the_host_was_known_are_judged_at_the_end() -> None:
    fast = {f"trial {number}": reference(0.001, 0.001) for number in range(4)}
    found = judge_speeds({"first": reference(0.0015, 0.001), **fast, "unknown": {}}, 0.25)
    assert list(found) == ["first"]
    assert "1.5 times slower" in found["first"]


def test_the_examples_in_the_documentation_hold() -> None:
    results: Any = doctest.testmod(contention)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_host_that_computed_unevenly_is_remarked_upon() -> None:
    def reference(cpu_s: float) -> dict[str, dict[str, float]]:
        return {"edge": {"cpu_s": cpu_s, "wall_s": cpu_s, "before_cpu_s": cpu_s, "after_cpu_s": cpu_s}}

    even = [reference(0.001), reference(0.0011), reference(0.00105), reference(0.00115)]
    assert speed_remark(even) == ""
    assert speed_remark([*even, reference(0.0014)]).startswith(
        "the host computed up to 1.3 times slower than usual in 1 of 5 valid trials"
    )
    assert speed_remark([]) == ""
