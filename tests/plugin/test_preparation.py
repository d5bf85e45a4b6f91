"""`--edgeai-prepare`: every artifact is built once, by however many workers and sessions, and measuring builds none."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest._io import TerminalWriter

from pytest_edgeai.reporting.preparation import PreparationLines
from tests.plugin.conftest import SETTINGS, Project

EVERY = ["other-identity", "other-worse", "toy-identity", "toy-worse"]


@pytest.fixture
def builds(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What was built, in a project with two models and an empty store."""
    log = project.path / "builds.txt"
    monkeypatch.setenv("TOY_BUILDS", str(log))
    project.settings('store = "fresh"\n' + SETTINGS.replace('["toy"]', '["toy", "other"]'))
    return lambda: sorted(log.read_text(encoding="utf-8").splitlines()) if log.exists() else []


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_each_artifact_is_built_once_and_measuring_builds_none(
    project: Project, builds: Callable[[], list[str]], workers: list[str]
) -> None:
    result = project.run("--edgeai-prepare", *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*edgeai: artifact * of 4, *: ready after * s, *"])
    result.stdout.fnmatch_lines(["edgeai: 4 artifacts are ready, 4 built now"])
    result.stdout.no_fnmatch_line("*Benchmarks are automatically disabled*")
    assert builds() == EVERY
    measured = project.run("--benchmark-only")
    assert measured.ret == pytest.ExitCode.OK
    measured.stdout.no_fnmatch_line("*edgeai: artifact *")
    assert builds() == EVERY
    assert set(project.verdicts().values()) == {"pass"}


def test_two_sessions_at_once_build_each_artifact_once(
    project: Project, builds: Callable[[], list[str]], fault: Callable[[str], None]
) -> None:
    fault("slow")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--edgeai-prepare", "--edgeai-models=toy"]
    sessions = [
        subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [session.communicate(timeout=120)[0] for session in sessions]
    assert [session.returncode for session in sessions] == [0, 0], outputs
    assert builds() == ["toy-identity", "toy-worse"]
    assert "another process is building" in "".join(outputs)


def test_a_prepared_store_is_left_as_it_is(project: Project, builds: Callable[[], list[str]]) -> None:
    project.run("--edgeai-prepare", "--edgeai-models=toy")
    before = builds()
    result = project.run("--edgeai-prepare", "--edgeai-models=toy")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*artifact 1 of 2, toy-identity: in the store, *", "*2 artifacts are ready, 0 built now"]
    )
    assert builds() == before


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_an_artifact_that_fails_is_one_failed_item_in_one_sentence(
    project: Project, builds: Callable[[], list[str]], fault: Callable[[str], None], workers: list[str]
) -> None:
    fault("build")
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.edgeai(models=["toy"])
        def test_strategy(trial):
            trial()

        @pytest.mark.edgeai(models=["other"], operators=["identity"])
        def test_other(artifact):
            pass
        """
    )
    result = project.run("--edgeai-prepare", *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*edgeai: artifact * of 3, toy-worse: failed after * s*"])
    assert result.outlines.count("the toy is broken: mend it") == 1
    result.stdout.fnmatch_lines(["FAILED edgeai-prepare::toy-worse - Failed: the toy is broken: mend it"])
    assert "Traceback" not in result.stdout.str()


def test_a_build_that_dies_fails_its_item_and_no_other(
    project: Project, builds: Callable[[], list[str]], fault: Callable[[str], None]
) -> None:
    fault("crash")
    result = project.run("--edgeai-prepare", "--edgeai-models=toy")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*toy-worse: failed after * s*", "the process that built it ended while *"])


def test_what_is_prepared_is_what_the_selected_tests_need_and_their_baselines(project: Project) -> None:
    result = project.run("--edgeai-prepare", "--collect-only", "-q", "-k", "worse and edge")
    result.stdout.fnmatch_lines(["edgeai-prepare::toy-identity", "edgeai-prepare::toy-worse"])
    result.stdout.no_fnmatch_line("test_suite.py*")
    nothing = project.run("--edgeai-prepare", "-k", "nowhere")
    assert nothing.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_items_are_in_the_order_of_models_with_bases_first(project: Project) -> None:
    result = project.run(
        "--edgeai-prepare", "--collect-only", "-q", "--edgeai-models=toy,other", "--edgeai-operators=worse,identity"
    )
    lines = [line for line in result.stdout.lines if line.startswith("edgeai-prepare::")]
    names = ("toy-identity", "toy-worse", "other-identity", "other-worse")
    assert lines == [f"edgeai-prepare::{name}" for name in names]


def test_tests_that_need_no_artifact_are_not_run(project: Project) -> None:
    project.pytester.makepyfile(test_suite="def test_other():\n    raise AssertionError\n")
    assert project.run("--edgeai-prepare").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_no_tier_is_started(project: Project, fault: Callable[[str], None]) -> None:
    fault("backend")
    assert project.run("--edgeai-prepare").ret == pytest.ExitCode.OK
    assert not (project.path / "reports").exists()


def test_each_worker_may_have_a_store_of_its_own(project: Project, builds: Callable[[], list[str]]) -> None:
    project.settings(SETTINGS.replace('["toy"]', '["toy", "other"]'))
    stores = [project.path / "a", project.path / "b"]
    workers = [f"--tx=popen//env:EDGEAI_STORE={store}" for store in stores]
    result = project.run("--edgeai-prepare", "--dist=load", *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.OK
    found = [len([path for path in (store / "artifacts").iterdir() if path.is_dir()]) for store in stores]
    assert found == [2, 2]


def test_a_worker_in_another_folder_builds_into_the_store_there_and_stores_are_merged_by_copying(
    project: Project, builds: Callable[[], list[str]], tmp_path: Path
) -> None:
    there = tmp_path / "builder"
    shutil.copytree(project.path, there)
    # Paths among the arguments would have to lie in a folder that pytest-xdist copies; settings of pytest need not.
    which = ("-o", "testpaths=test_suite.py", "--edgeai-prepare")
    result = project.run(*which, "--dist=load", "--tx=popen", f"--tx=popen//chdir={there}", subprocess=True)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=4)
    assert builds() == EVERY
    stores = [folder / "fresh" for folder in (project.path, there)]
    assert [len(list((store / "artifacts").glob("*/model.onnx"))) for store in stores] == [2, 2]
    shutil.copytree(stores[1], stores[0], dirs_exist_ok=True)
    again = project.run("--edgeai-prepare")
    again.stdout.fnmatch_lines(["edgeai: 4 artifacts are ready, 0 built now"])
    assert builds() == EVERY


def test_what_is_not_on_this_machine_is_named(project: Project, tmp_path: Path) -> None:
    text = io.StringIO()
    lines = PreparationLines(TerminalWriter(text), 0)
    for name, folder in (("toy-identity", tmp_path), ("toy-worse", tmp_path / "elsewhere")):
        report = pytest.TestReport(
            f"edgeai-prepare::{name}",
            ("edgeai-prepare", None, name),
            {},
            "passed",
            None,
            "call",
            user_properties=[
                ("edgeai_built", True),
                ("edgeai_build_s", 1.0),
                ("edgeai_size_bytes", 10),
                ("edgeai_folder", str(folder)),
                ("edgeai_metrics", {"top1": 50.0}),
                ("edgeai_scores", ["top-1 50.0 %"]),
            ],
            duration=2.0,
        )
        lines.pytest_runtest_logreport(report)

    class Reporter:
        written: list[str] = []  # noqa: RUF012  # lives as long as the test

        def write_line(self, line: str, **markup: bool) -> None:
            self.written.append(line)

    lines.pytest_terminal_summary(Reporter())  # type: ignore[arg-type]  # all it needs
    assert Reporter.written[0] == "edgeai: 2 artifacts are ready, 2 built now"
    assert Reporter.written[1].startswith("edgeai: not in a store of this machine: toy-worse; copy ")
