"""Trials that the host has spoiled: measured again later, counted, and never in the way of those that are valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.plugin.conftest import CONFTEST, SETTINGS, Project

Spoils = Callable[..., None]
ONE_TIER = SETTINGS.replace('["mobile", "edge"]', '["edge"]')
MORE = """
from pytest_edgeai.matrix.strategies import PlannedTrial
from pytest_edgeai.collection.state import state_of

def two_more(session):
    (strategy,) = [one for one in session.strategies if one.operator == "worse"]
    made = [trial.replicate for trial in session.trials if trial.strategy == strategy]
    return [PlannedTrial(strategy, max(made) + n) for n in (1, 2)] if len(made) < 6 else []

def pytest_collection_finish(session):
    state_of(session.config).session.suppliers.append(two_more)
"""


@pytest.fixture
def spoils(monkeypatch: pytest.MonkeyPatch) -> Spoils:
    """Have the host spoil as many of the first trials of strategies."""
    return lambda **counts: monkeypatch.setenv(
        "TOY_SPOILS", json.dumps({name.replace("_", "-"): count for name, count in counts.items()})
    )


def strategies(project: Project) -> dict[str, dict[str, Any]]:
    """The newest results by strategy."""
    return {row["id"]: row for row in project.results["strategies"]}


def samples(project: Project) -> list[str]:
    """The rows of the newest samples, each without its figures."""
    lines = (project.report / "samples.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [",".join(line.split(",")[:5]) for line in lines]


def test_a_trial_that_the_host_has_spoiled_is_measured_again_and_green(project: Project, spoils: Spoils) -> None:
    spoils(toy_worse_edge=1)
    result = project.run("--benchmark-only", "--benchmark-json=out.json", "--junit-xml=junit.xml", "-x")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(
        [
            "edgeai: trial *(1 to measure again), * left: toy-worse-edge-r*, to measure again: the host was busy for *",
            "edgeai: trial 8/8, 0:00 left: *",
            "toy-worse-edge *  2/2, 3 tries",
            "edgeai: 4 pass (green), 9 tries at 8 trials",
            "*8 passed, 1 retried in *",
        ]
    )
    tries = [one for one in project.results["trials"] if one["operator"] == "worse" and one["tier"] == "edge"]
    (spoiled,) = [one for one in tries if one["status"] == "invalid"]
    (again,) = [one for one in tries if one["attempt"] == 1]
    assert (spoiled["attempt"], spoiled["cause"], spoiled["id"]) == (0, "host", again["id"])
    assert spoiled["reason"].startswith("the host was busy for ")
    assert (strategies(project)["toy-worse-edge"]["tries"], len(project.results["trials"])) == (3, 9)
    assert len(samples(project)) == len(set(samples(project))) == 8 * 10
    benchmarks = json.loads((project.path / "out.json").read_text(encoding="utf-8"))["benchmarks"]
    assert len(benchmarks) == len({one["fullname"] for one in benchmarks}) == 8
    cases = ET.parse(project.path / "junit.xml").getroot().iter("testcase")
    skipped = [case.find("skipped") for case in cases if again["id"] in case.attrib["name"]]
    assert [None if one is None else one.attrib["message"] for one in skipped] == [spoiled["reason"], None]


def test_a_tier_that_was_slow_to_start_is_started_again(
    project: Project, spoils: Spoils, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "slow to start")
    project.settings(ONE_TIER)
    spoils(toy_worse_edge=2)
    result = project.run("--benchmark-only", "-v")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    result.stdout.fnmatch_lines(["*test_strategy?toy-worse-edge-r?? RETRIED*", "*4 passed, 2 retried in *"])
    assert [one["reason"] for one in project.results["trials"] if one["reason"]] == [
        "tier edge was not ready after 60 s"
    ] * 2


def test_a_retry_does_not_come_next_while_other_trials_remain(project: Project, spoils: Spoils) -> None:
    project.settings(SETTINGS.replace("replicates = 2", "replicates = 1"))
    spoils(toy_worse_edge=1, toy_identity_edge=1, toy_worse_mobile=1, toy_identity_mobile=1)
    assert project.run("--benchmark-only").ret == pytest.ExitCode.OK
    place = {(one["id"], one["attempt"]): one["order"] for one in project.results["trials"]}
    assert sorted(place.values()) == list(range(8))
    last = max(order for (_, attempt), order in place.items() if attempt == 0)
    for name in project.verdicts():
        assert place[f"{name}-r0", 0] == last or place[f"{name}-r0", 1] > place[f"{name}-r0", 0] + 1


@pytest.mark.parametrize("fault", ["parity", "request", "limits", "deploy edge"])
def test_what_is_the_products_fault_is_never_tried_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("TOY_FAULT", fault)
    project.settings(ONE_TIER)
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert {(one["status"], one["attempt"], one["cause"]) for one in project.results["trials"]} == {
        ("invalid", 0, "product")
    }
    assert len(project.results["trials"]) == 4


def test_three_valid_trials_are_enough_when_retries_have_run_out(project: Project, spoils: Spoils) -> None:
    project.settings(ONE_TIER.replace("replicates = 2", "replicates = 4") + "[profiles.quick]\nretries = 1\n")
    spoils(toy_worse_edge=5)
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "toy-worse-edge *  3/4, 8 tries",
            "edgeai: toy-worse-edge is judged by its 3 valid trials of 4: after 8 tries 1 is still invalid, the last "
            "because the host was busy for *",
            "edgeai: 2 pass (green), 12 tries at 8 trials",
            "*7 passed, 4 retried, 1 invalid in *",
        ]
    )
    assert "this host is too busy" not in result.stdout.str()


def test_fewer_than_three_valid_trials_are_invalid_and_a_failed_test(project: Project, spoils: Spoils) -> None:
    project.settings(ONE_TIER.replace("replicates = 2", "replicates = 4") + "[profiles.quick]\nretries = 1\n")
    spoils(toy_worse_edge=6)
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_suite.py::test_strategy* - Failed: *"])
    assert "Spoiled" not in result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "toy-worse-edge: invalid: 2 of 4 trials are invalid after 8 tries, the first because the host was busy *",
            "*1 failed, 6 passed, 4 retried, 1 invalid in *",
        ]
    )
    assert strategies(project)["toy-worse-edge"]["size_bytes"] > 0
    assert strategies(project)["toy-worse-edge"]["accuracy"]["value"] > 0


def test_what_spoiled_many_strategies_alike_is_told_once_and_of_each_with_v(project: Project, spoils: Spoils) -> None:
    three = ONE_TIER.replace('["identity", "worse"]', '["identity", "worse", "slow"]')
    project.settings(three + "[profiles.quick]\nretries = 0\n")
    spoils(toy_identity_edge=2, toy_worse_edge=2, toy_slow_edge=2)
    told = project.run("--benchmark-only").stdout
    told.fnmatch_lines(
        [
            "toy-identity-edge: invalid: 2 of 2 trials are invalid, the first because the host was busy for *",
            "  and for a reason like it, with other numbers (in summary.md, here with -v): toy-worse-edge, *",
        ]
    )
    told.no_fnmatch_line("toy-worse-edge: invalid: *")
    summary = (project.report / "summary.md").read_text(encoding="utf-8")
    assert "- `toy-slow-edge` is invalid: 2 of 2 trials are invalid" in summary
    told = project.run("--benchmark-only", "-v").stdout
    told.fnmatch_lines(["toy-worse-edge: invalid: *", "toy-slow-edge: invalid: *"])
    told.no_fnmatch_line("*for a reason like it*")


def test_a_host_that_spoils_several_strategies_is_named_in_a_sentence(project: Project, spoils: Spoils) -> None:
    project.settings(ONE_TIER + "[profiles.quick]\nretries = 0\n")
    spoils(toy_worse_edge=9, toy_identity_edge=9)
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "edgeai: this host is too busy or too unsteady to measure on: the retries of 2 of 2 strategies were not "
            "enough; the reason of 4 of 4 spoiled attempts was like this: the host was busy for *",
        ]
    )


def test_strategies_can_be_given_more_trials_when_the_planned_ones_are_over(project: Project, spoils: Spoils) -> None:
    project.settings(ONE_TIER)
    project.pytester.makeconftest(CONFTEST + MORE)
    spoils(toy_worse_edge=1)
    result = project.run("--benchmark-only", "--benchmark-json=out.json", "-v")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    result.stdout.fnmatch_lines(["*test_strategy?toy-worse-edge-r5? PASSED*", "edgeai: 2 pass (green), 9 tries at 8 *"])
    rows = strategies(project)
    assert {name: (row["trials"], row["valid_trials"], row["tries"]) for name, row in rows.items()} == {
        "toy-identity-edge": (2, 2, 2),
        "toy-worse-edge": (6, 6, 7),
    }
    benchmarks = json.loads((project.path / "out.json").read_text(encoding="utf-8"))["benchmarks"]
    assert {one["param"] for one in benchmarks if "worse" in one["param"]} == {f"toy-worse-edge-r{n}" for n in range(6)}
    assert len(samples(project)) == 8 * 10


def test_added_trials_are_tests_like_those_of_their_strategy(project: Project) -> None:
    project.settings(ONE_TIER)
    project.pytester.makeconftest(CONFTEST + MORE)
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        class TestStrategies:
            @pytest.mark.parametrize("word", ["once"])
            def test_strategy(self, trial, word, request, replicate, strategy):
                assert word == "once"
                (mark,) = request.node.iter_markers("strategy")
                assert mark.kwargs["replicate"] == replicate
                assert mark.kwargs["operator"] == strategy.operator
                trial()
        """
    )
    result = project.run("--benchmark-only")
    result.assert_outcomes(passed=8)
    assert result.ret == pytest.ExitCode.OK


def test_a_rerun_of_another_plugin_replaces_what_it_repeats(project: Project) -> None:
    pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")
    project.settings(ONE_TIER)
    project.pytester.makepyfile(
        test_suite="""
        seen = []

        def test_strategy(trial, request):
            trial()
            seen.append(request.node.nodeid)
            assert seen.count(request.node.nodeid) > 1
        """
    )
    result = project.run("--benchmark-only", "--benchmark-json=out.json", "--reruns=1")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert {(one["status"], one["attempt"]) for one in project.results["trials"]} == {("valid", 0)}
    assert len(project.results["trials"]) == 4
    assert len(samples(project)) == len(set(samples(project))) == 4 * 10
    assert len(json.loads((project.path / "out.json").read_text(encoding="utf-8"))["benchmarks"]) == 4


def test_a_rerun_that_is_invalid_replaces_a_trial_that_was_valid(project: Project) -> None:
    pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")
    project.settings(ONE_TIER)
    project.pytester.makepyfile(
        test_suite="""
        import os
        import pytest

        def test_strategy(trial, monkeypatch):
            if "TOY_SEEN" in os.environ:
                monkeypatch.setenv("TOY_FAULT", "parity")
            os.environ["TOY_SEEN"] = "1"
            trial()
            assert False
        """
    )
    result = project.run("--benchmark-only", "--reruns=1", "-k", "identity-edge-r0", subprocess=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.verdicts() == {"toy-identity-edge": "invalid"}
    assert samples(project) == []


def test_a_spoiled_trial_is_left_to_us_by_a_plugin_that_reruns_failures(project: Project, spoils: Spoils) -> None:
    pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")
    project.settings(ONE_TIER)
    spoils(toy_worse_edge=1)
    result = project.run("--benchmark-only", "--reruns=3")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    result.stdout.fnmatch_lines(["*4 passed, 1 retried in *"])
