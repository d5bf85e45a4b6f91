"""What could not be written was not measured. The disk is "full" by the system's own limit of the size of a file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pytest_edgeai.reporting.files import SAMPLES
from tests.plugin.conftest import Project

FULL_IN_TWO_TRIALS = """
import pathlib, resource

def test_strategy(trial, edgeai_session):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if len(edgeai_session.records) in (2, 5):
        size = (edgeai_session.log.path / "samples.csv").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        trial()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
"""


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / SAMPLES).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_trial_whose_samples_cannot_be_written_is_invalid_and_leaves_no_rows(project: Project) -> None:
    project.pytester.makepyfile(test_suite=FULL_IN_TWO_TRIALS)
    result = project.run("--benchmark-only", "--benchmark-json=out.json", subprocess=True)
    result.assert_outcomes(passed=6, failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*its samples were not kept: */samples.csv cannot be written: File too large"])
    assert "invalid" in project.verdicts().values()
    rows = _rows(project.report)
    assert len(rows) == 6 * 10
    assert all(float(row["latency_s"]) > 0 for row in rows)
    assert [trial["status"] for trial in project.results["trials"]].count("valid") == 6


def test_a_session_whose_report_cannot_be_written_is_not_green(project: Project) -> None:
    with project.path.joinpath("conftest.py").open("a", encoding="utf-8") as file:
        file.write(
            """
import pytest, resource

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, limits[1]))  # less than results.json
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
"""
        )
    result = project.run("--benchmark-only", subprocess=True)
    result.assert_outcomes(passed=8)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "edgeai: results.json, summary.md, metrics.txt cannot be written in *: File too large",
            "edgeai: 4 pass (not green)",
        ]
    )
    assert "INTERNALERROR" not in result.stdout.str()
    assert [path.name for path in project.report.iterdir()] == [SAMPLES]
