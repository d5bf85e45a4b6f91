"""The JUnit report has a failure exactly where the exit code is not 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from pytest_edgeai.commands.cli import main
from pytest_edgeai.versions.checksum import sign
from tests.plugin.conftest import SETTINGS, Project


def _cases(project: Project, suite: str = "edgeai.verdicts") -> dict[str | None, str]:
    """Why each verdict's test case is a failure, or an empty string."""
    tree = ET.parse(project.path / "junit.xml")
    cases = {}
    for case in tree.iter("testcase"):
        failure = case.find("failure")
        if case.get("classname") == suite:
            cases[case.get("name")] = "" if failure is None else str(failure.get("message"))
    (counted,) = (int(suite.get("failures", "-1")) for suite in tree.iter("testsuite"))
    assert counted == sum(case.find("failure") is not None for case in tree.iter("testcase"))
    return cases


def test_a_green_session_has_a_passed_case_for_each_strategy(project: Project) -> None:
    assert project.run("--benchmark-only", "--junit-xml=junit.xml").ret == 0
    assert _cases(project) == dict.fromkeys(project.verdicts(), "")


def test_a_broken_budget_is_a_failure_though_every_test_passed(project: Project) -> None:
    project.settings(SETTINGS.replace("default = 100", "default = 2"))
    result = project.run("--benchmark-only", "--junit-xml=junit.xml")
    result.assert_outcomes(passed=8)  # the verdicts are counted in the JUnit report only
    cases = _cases(project)
    assert {name for name, failure in cases.items() if failure} == {"toy-worse-mobile", "toy-worse-edge"}
    assert cases["toy-worse-edge"].startswith("fail: top1 is ")


def test_a_session_in_which_all_was_skipped_has_failures(project: Project) -> None:
    assert project.run("--benchmark-skip", "--junit-xml=junit.xml").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert set(_cases(project).values()) == {"not measured: all trials were skipped"}


def test_an_interrupted_session_has_failures(project: Project, fault: Callable[[str], None]) -> None:
    fault("interrupt")
    result = project.run("--benchmark-only", "--junit-xml=junit.xml", subprocess=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert all(_cases(project).values())


def test_a_comparison_has_cases_of_its_own(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run("--benchmark-only", "--edgeai-tiers=mobile,edge", "--benchmark-save=both")
    project.run("--benchmark-only", "--edgeai-tiers=edge", "--benchmark-save=one")
    result = project.run("--benchmark-only", "--edgeai-tiers=edge", "--edgeai-compare=both", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not any(_cases(project).values())  # the budgets are kept
    compared = _cases(project, "edgeai.compare")
    assert compared["toy-worse-mobile"].startswith("missing: ")
    path = project.path / "junit.xml"
    assert main(["compare", f"--root={project.path}", "both", "one", f"--junit={path}"]) == 1
    capsys.readouterr()
    assert _cases(project, "edgeai.compare").keys() == compared.keys()


def test_a_comparison_of_nothing_is_a_failure(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run("--benchmark-only", "--edgeai-tiers=edge", "--benchmark-save=one")
    (saved,) = (project.path / ".benchmarks").rglob("*_one.json")
    document = json.loads(saved.read_text(encoding="utf-8"))
    document["edgeai"]["strategies"] = {}
    saved.write_text(json.dumps(sign(document)), encoding="utf-8")
    path = project.path / "junit.xml"
    assert main(["compare", f"--root={project.path}", "one", "one", f"--junit={path}"]) == 1
    capsys.readouterr()
    assert "nothing to compare" in _cases(project, "edgeai.compare")["session"]
