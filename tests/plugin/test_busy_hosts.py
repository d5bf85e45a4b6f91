"""Trials that the host has spoiled are invalid, and their records say that it was the host."""

from __future__ import annotations

import pytest

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
    assert result.ret == pytest.ExitCode.TESTS_FAILED
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
