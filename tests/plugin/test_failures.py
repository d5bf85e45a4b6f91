"""What cannot be made: told once in each report, and what depends on it is not tried but refers to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests.plugin.conftest import ANY_HOST, CONFTEST, SETTINGS, Project

Fault = Callable[[str], None]
SENTENCE = "the toy is broken: mend it"


@pytest.fixture
def builds(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The artifacts that were built, with a store of its own to build them in."""
    file = project.path / "builds"
    file.touch()
    monkeypatch.setenv("TOY_BUILDS", str(file))
    project.settings('store = "fresh"\n' + SETTINGS)
    return lambda: file.read_text(encoding="utf-8").split()


def _breaking(project: Project) -> None:
    """Let the baseline operator fail."""
    broken = f"""

class Broken(toy_models.Plain):
    def build(self, job):
        raise toy_models.BuildError({SENTENCE!r})
"""
    project.pytester.makeconftest(CONFTEST.replace("toy_models.Plain", "Broken") + broken)


def _told(project: Project, result: pytest.RunResult) -> dict[str, int]:
    """How often the reason is told, by where."""
    cases = ET.parse(project.path / "junit.xml").getroot().iter("failure")
    return {
        "terminal": result.stdout.str().count(SENTENCE) + result.stderr.str().count(SENTENCE),
        "summary.md": (project.report / "summary.md").read_text(encoding="utf-8").count(SENTENCE),
        "results.json": (project.report / "results.json").read_text(encoding="utf-8").count(SENTENCE),
        "JUnit": sum(SENTENCE in str(case.get("message")) for case in cases),
    }


ONCE = {"terminal": 1, "summary.md": 1, "results.json": 1, "JUnit": 1}


def test_an_operator_that_raises_is_told_once_and_its_trials_are_not_run(
    project: Project, builds: Callable[[], list[str]], fault: Fault
) -> None:
    fault("build")
    result = project.run("--benchmark-only", "--junitxml=junit.xml", "--benchmark-save=it")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _told(project, result) == ONCE
    result.assert_outcomes(passed=4, deselected=4)
    assert builds() == ["toy-identity", "toy-worse"]
    results = project.results
    assert {row["id"]: row["reason"] for row in results["strategies"] if row["verdict"] == "invalid"} == {
        f"toy-worse-{tier}": "not measured, since artifact toy-worse could not be made" for tier in ("mobile", "edge")
    }
    assert {trial["operator"] for trial in results["trials"]} == {"identity"}
    (saved,) = project.path.glob(".benchmarks/*/*_it.json")
    assert "artifact toy-worse could not be made" in saved.read_text(encoding="utf-8")


def test_without_its_baseline_nothing_of_a_model_is_run_and_what_starts_from_it_is_not_tried(
    project: Project, builds: Callable[[], list[str]]
) -> None:
    _breaking(project)
    result = project.run("--benchmark-only", "--junitxml=junit.xml", "--edgeai-operators=worse,slow")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _told(project, result) == ONCE
    result.assert_outcomes(deselected=8)
    assert builds() == []
    reasons = {row["id"]: row["reason"] for row in project.results["strategies"]}
    assert reasons["toy-worse-edge"] == "not measured, since artifact toy-worse could not be made"
    baseline = "artifact toy-identity, its baseline, could not be made"
    assert reasons["toy-slow-edge"] == f"not measured, since {baseline}"
    result.stdout.fnmatch_lines(["artifact toy-worse could not be made: artifact toy-identity could not be made"])


def test_another_model_is_measured_all_the_same(project: Project, builds: Callable[[], list[str]]) -> None:
    broken = f"""

class Picky(toy_models.Worse):
    def build(self, job):
        if job.subject.name == "other":
            raise toy_models.BuildError({SENTENCE!r})
        return super().build(job)
"""
    project.pytester.makeconftest(CONFTEST.replace("toy_models.Worse", "Picky") + broken)
    result = project.run("--benchmark-only", "--edgeai-models=toy,other", "--junitxml=junit.xml")
    assert _told(project, result) == ONCE
    result.assert_outcomes(passed=12, deselected=4)


def test_a_quiet_session_tells_it_too(project: Project, builds: Callable[[], list[str]], fault: Fault) -> None:
    fault("build")
    assert project.run("--benchmark-only", "-q", "-q").stdout.str().count(SENTENCE) == 1


def test_a_test_of_the_artifact_alone_tells_it_itself(
    project: Project, builds: Callable[[], list[str]], fault: Fault
) -> None:
    fault("build")
    project.pytester.makepyfile(test_suite="def test_artifact(artifact): assert artifact.entry")
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"artifact toy-worse could not be made: {SENTENCE}"])


def test_a_graph_that_cannot_be_read_is_told_once(project: Project) -> None:
    (project.path / "price.onnx").write_bytes(b"no graph" * 10)
    np.savez(project.path / "houses.npz", x=np.zeros((40, 4), np.float32), reference=np.arange(40.0))
    declared = '[subjects.price]\ngraph = "price.onnx"\nexamples = "houses.npz"\nmetrics = ["mae"]\n'
    settings = 'backend = "instant"\ntiers = ["edge"]\nreplicates = 1\nstore = "fresh"\nmodels = ["price"]\n'
    (project.path / "edgeai.toml").write_text(settings + declared + ANY_HOST, encoding="utf-8")
    project.pytester.makeconftest(
        "import toy_models\n\ndef pytest_edgeai_backends(config):\n    return {'instant': toy_models.InstantBackend}\n"
    )
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["artifact price-identity could not be made: */price.onnx is not an ONNX file: *"])
    result.stdout.fnmatch_lines(["artifact price-sptq could not be made: artifact price-identity could not be made"])
    assert result.stdout.str().count("is not an ONNX file") == 1
    assert "Traceback" not in result.stdout.str()


def test_a_failure_to_prepare_is_told_once_and_its_line_refers_to_it(
    project: Project, builds: Callable[[], list[str]], tmp_path: Path
) -> None:
    _breaking(project)
    result = project.run("--edgeai-prepare", "--tb=short", "-rN")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count(SENTENCE) == 1
    result.stdout.fnmatch_lines(["*toy-worse: failed after *", "artifact toy-identity could not be made"])
    assert builds() == []
