"""Trials that the host has spoiled are invalid, and their records say that it was the host."""

from __future__ import annotations

import json

import pytest

from pytest_edgeai.measure.session_lock import only_session
from tests.plugin.conftest import SETTINGS, Project

SLOW_HOSTS_MATTER = """
[tolerances]
waiting_requests = 1
foreign_cores = 1000
slow_host = 0.25
"""


def test_a_trial_in_which_the_host_was_slow_is_invalid_for_the_hosts_sake(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_tier = SETTINGS.replace('tiers = ["mobile", "edge"]', 'tiers = ["edge"]')
    project.settings(one_tier.replace("replicates = 2", "replicates = 4") + SLOW_HOSTS_MATTER)
    milliseconds = ["1", "1"] * 6 + ["1.7", "1.6", "1", "1"]
    monkeypatch.setenv("TOY_REFERENCE_MS", ",".join(milliseconds))
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.OK  # it was measured again
    (slow,) = (trial for trial in project.results["trials"] if trial["status"] == "invalid")
    assert slow["order"] == 6
    assert slow["cause"] == "host"
    assert slow["reason"].startswith("the host computed 1.7 times slower than in its other trials")
    assert slow["reference"]["edge"]["before_cpu_s"] == 0.0017
    assert slow["latency_s"] == []


def test_what_the_product_does_wrong_is_not_put_down_to_the_host(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "parity")
    project.run("--benchmark-only")
    assert {trial["cause"] for trial in project.results["trials"]} == {"product"}


def test_results_tell_of_every_trial_how_busy_the_host_was(project: Project) -> None:
    project.run("--benchmark-only")
    for trial in project.results["trials"]:
        assert {"load_average", "stolen_s", "pressure_s", "foreign_cores", "marked_requests"} <= set(trial["host"])
        assert len(trial["waited_s"]) == len(trial["cpu_s"]) == 10


def test_a_session_beside_one_that_measures_is_refused_before_anything_is_built(project: Project) -> None:
    with only_session(0, print):
        result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: another session is measuring on this host*--edgeai-wait 10m"])
    assert not (project.path / "reports").exists()
    assert project.run("--benchmark-only").ret == pytest.ExitCode.OK


def test_what_measures_nothing_asks_for_no_lock(project: Project) -> None:
    with only_session(0, print):
        assert len(project.collected("--benchmark-only")) == 8
        assert project.run("--edgeai-prepare").ret == pytest.ExitCode.OK


def test_how_long_to_wait_is_said_with_a_unit(project: Project) -> None:
    assert project.run("--benchmark-only", "--edgeai-wait", "1.5m").ret == pytest.ExitCode.OK
    result = project.run("--benchmark-only", "--edgeai-wait", "10")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--edgeai-wait: expected a number with a unit (s, m, min, h), got '10'"])


def test_a_trial_that_later_ones_show_to_have_been_slow_is_taken_back_and_measured_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_tier = SETTINGS.replace('tiers = ["mobile", "edge"]', 'tiers = ["edge"]')
    project.settings(one_tier.replace("replicates = 2", "replicates = 4") + SLOW_HOSTS_MATTER)
    milliseconds = ["1.7", "1.6"] + ["1", "1"] * 20
    monkeypatch.setenv("TOY_REFERENCE_MS", ",".join(milliseconds))
    result = project.run("--benchmark-only", "--benchmark-json=saved.json")
    assert result.ret == pytest.ExitCode.OK
    first, *others = project.results["trials"]
    assert (first["status"], first["cause"], first["latency_s"]) == ("invalid", "host", [])
    assert first["reason"].startswith("the host computed 1.7 times slower than in its other trials")
    (again,) = (trial for trial in others if trial["id"] == first["id"])
    assert (again["status"], again["attempt"]) == ("valid", 1)
    with (project.report / "samples.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in file) == 1 + 8 * 10
    saved = json.loads((project.path / "saved.json").read_text(encoding="utf-8"))
    assert len({one["name"] for one in saved["benchmarks"]}) == len(saved["benchmarks"]) == 8
