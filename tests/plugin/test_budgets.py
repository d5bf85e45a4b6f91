"""Budgets of resources and ratios, further trials for tail budgets, and energy: verdicts, reports and exit codes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.measure import energy
from tests.plugin.conftest import SETTINGS, Project

ONE = SETTINGS.replace('"mobile", ', "").replace("replicates = 2", "replicates = 5")
"""Five trials of each operator on a single tier."""
RESOURCES = """
[[budgets.resources]]
strategies = "toy-identity-*"
max_size_bytes = "1 MB"
max_load_s = "1 s"
max_cold_start_s = "100 s"
max_energy_j = 1
"""


def limits(project: Project) -> dict[tuple[str, str], dict[str, Any]]:
    """Each limit by strategy and name."""
    return {(row["id"], limit["name"]): limit for row in project.results["strategies"] for limit in row["budgets"]}


def test_every_limit_of_resources_and_ratios_is_judged_and_reported(project: Project) -> None:
    project.settings(
        ONE
        + """
[[budgets.resources]]
strategies = "toy-*"
max_size_bytes = "1 MB"
max_load_s = "1 s"
max_cold_start_s = 1e-9
max_memory_bytes = "1 GB"

[[budgets.relative]]
strategies = "toy-*"
max_ratio_to = "identity"
size = 1e-3
load = 1.0
latency = 1000
"""
    )
    result = project.run("--benchmark-only", "-v", "--junit-xml=out.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    found = {key: limit["outcome"] for key, limit in limits(project).items()}
    assert found == {
        ("toy-identity-edge", "max_size_bytes"): "pass",
        ("toy-identity-edge", "max_memory_bytes"): "inconclusive",  # the toys do not tell it
        ("toy-identity-edge", "max_load_s"): "pass",
        ("toy-identity-edge", "max_cold_start_s"): "fail",
        ("toy-worse-edge", "max_size_bytes"): "pass",
        ("toy-worse-edge", "max_memory_bytes"): "inconclusive",
        ("toy-worse-edge", "max_load_s"): "pass",
        ("toy-worse-edge", "max_cold_start_s"): "fail",
        ("toy-worse-edge", "latency to identity"): "pass",
        ("toy-worse-edge", "size to identity"): "fail",
        ("toy-worse-edge", "load to identity"): "pass",
    }
    load = limits(project)["toy-worse-edge", "max_load_s"]
    assert (load["value"], load["low"], load["high"], load["unit"]) == (0.001, 0.001, 0.001, "s")
    sentence = "the median time to load and answer the first request is above 1e-06 ms (at least * ms)"
    ratio = "the artifact's size as a ratio to that of identity is * (limit 0.001)"
    result.stdout.fnmatch_lines(["toy-worse-edge *max_load_s *pass *1 ms *1000 ms*"])
    result.stdout.fnmatch_lines([f"toy-worse-edge: fail: {sentence}; {ratio}"])
    cases = ET.parse(project.path / "out.xml").iter("testcase")
    (failure,) = [one[0] for one in cases if one.get("name") == "toy-worse-edge" and one.get("classname")]
    assert "as a ratio to that of identity" in str(failure.get("message", failure.text))
    for name in ("summary.md", "report.html"):
        assert "max_cold_start_s" in (project.report / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ("[[budgets.resources]]\nstrategies = 'toy-*'", "*budgets.resources.0: it has no limit: give max_size_bytes,*"),
        (
            "[[budgets.resources]]\nstrategies = 'toi-*'\nmax_load_s = 1",
            "*budgets.resources: no strategy is named by 'toi-[*]'; did you mean 'toy-*",
        ),
        (
            "[[budgets.resources]]\nstrategies = 'toy-*'\nmax_memory_mb = 1",
            "*budgets.resources.0.max_memory_mb: there is no setting 'max_memory_mb'; did you mean 'max_memory_bytes'*",
        ),
        (
            "[[budgets.resources]]\nstrategies = 'toy-*'\nmax_size_bytes = '1 Mb'",
            "*budgets.resources.0.max_size_bytes: expected a number with a unit (B, kB, *",
        ),
        (
            "[[budgets.relative]]\nstrategies = 'toy-*'\nmax_ratio_to = 'identiti'\nsize = 1",
            "*budgets.relative: there is no operator 'identiti'; did you mean 'identity'?*",
        ),
        (
            "[[budgets.relative]]\nstrategies = 'toy-*'\nmax_ratio_to = 'partition'\nsize = 1",
            "*budgets.relative: toy-identity-edge is named by 'toy-[*]', and there is no partition of toy on edge to *",
        ),
    ],
)
def test_a_budget_that_cannot_be_judged_is_refused_before_anything_is_built(
    project: Project, budget: str, sentence: str
) -> None:
    project.settings(ONE + budget)
    result = project.run("--benchmark-only", "--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: " + sentence])


def test_an_undecided_tail_budget_gets_further_trials_up_to_its_limit(project: Project) -> None:
    # Fifty requests cannot show it, whatever they take, and the next look is the last.
    budget = '[[budgets.latency]]\nstrategies = "toy-identity-*"\nmax_p95_s = 10\n'
    project.settings(ONE + "\n[budgets]\nmax_tail_requests = 150\n" + budget)
    result = project.run("--benchmark-only")
    result.stdout.fnmatch_lines(["edgeai: toy *: 2 strategies, 10 trials, and up to 10 more where a percentile is *"])
    result.stdout.fnmatch_lines(["edgeai: 10 more trials, since toy-identity-edge is undecided so far"])
    strategies = {row["id"]: row for row in project.results["strategies"]}
    assert [strategies[name]["trials"] for name in ("toy-identity-edge", "toy-worse-edge")] == [15, 5]
    limit = limits(project)["toy-identity-edge", "max_p95_s"]
    assert result.ret == (pytest.ExitCode.OK if limit["outcome"] == "pass" else pytest.ExitCode.TESTS_FAILED)
    if limit["outcome"] != "pass":
        assert limit["reason"].endswith("budgets.max_tail_requests is 150")


def test_a_tail_budget_that_is_decided_gets_no_further_trials(project: Project) -> None:
    project.settings(ONE + '[[budgets.latency]]\nstrategies = "toy-identity-*"\nmax_p95_s = 1e-9\n')
    assert project.run("--benchmark-only").ret == pytest.ExitCode.TESTS_FAILED
    assert project.verdicts()["toy-identity-edge"] == "fail"
    assert {row["trials"] for row in project.results["strategies"]} == {5}


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Show a counter of a package to which each request of the toys adds microjoules."""

    def show(request_uj: int) -> None:
        zone = tmp_path / "intel-rapl:0"
        zone.mkdir()
        for name, text in (("name", "package-0"), ("energy_uj", "9000000"), ("max_energy_range_uj", "9999999999")):
            zone.joinpath(name).write_text(f"{text}\n", encoding="utf-8")
        monkeypatch.setattr(energy, "POWERCAP", tmp_path)
        monkeypatch.setenv("TOY_ENERGY", json.dumps([str(zone / "energy_uj"), request_uj]))

    return show


@pytest.mark.parametrize(("request_uj", "outcome"), [(250_000, "pass"), (5_000_000, "fail")])
def test_energy_is_that_of_the_measured_requests_with_its_source(
    project: Project, powercap: Callable[[int], None], request_uj: int, outcome: str
) -> None:
    powercap(request_uj)
    project.settings(ONE + RESOURCES)
    result = project.run("--benchmark-only", "--edgeai-operators=identity")
    assert result.ret == (pytest.ExitCode.OK if outcome == "pass" else pytest.ExitCode.TESTS_FAILED)
    (row,) = project.results["strategies"]
    assert (row["energy_j"], row["energy_source"]) == (pytest.approx(request_uj / 1e6), "RAPL package-0")
    assert limits(project)["toy-identity-edge", "max_energy_j"]["outcome"] == outcome
    assert "RAPL package-0" in (project.report / "summary.md").read_text(encoding="utf-8")


def test_energy_that_cannot_be_read_is_absent_and_its_budget_inconclusive(
    project: Project, powercap: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    powercap(1)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "nothing")
    project.settings(ONE + RESOURCES)
    result = project.run("--benchmark-only", "--edgeai-operators=identity")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    reason = "this host has no energy counter of a processor package (RAPL by powercap)"
    result.stdout.fnmatch_lines([f"*: inconclusive: the median energy of a request is not known: {reason}"])
    (row,) = project.results["strategies"]
    assert (row["energy_j"], row["energy_source"]) == (None, "")
    assert {trial["energy"]["unknown"] for trial in project.results["trials"]} == {reason}
