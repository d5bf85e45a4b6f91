"""A session that is ended from outside reports what it measured, whichever signal ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from pytest_edgeai.collection.interruption import Interruption
from tests.plugin import forked
from tests.plugin.conftest import PROCESSES, Project
from tests.tiers.peers import children_of, processes, wait_until

ARGUMENTS = ("-p", "no:cacheprovider", "--benchmark-only", "--benchmark-json=out.json")
COMMAND = (sys.executable, "-m", "pytest", *ARGUMENTS)
SUITE = """
import pathlib, time

def test_strategy(trial, replicate):
    if replicate == 0:
        trial()
    else:
        pathlib.Path("waiting").touch()
        time.sleep(600)
"""
"""Makes one trial of each strategy, then waits for its end."""
DEPLOYED = """
import pathlib, time

def test_strategy(trial, deployment):
    pathlib.Path("waiting").touch()
    time.sleep(600)
"""
"""Waits for its end with a deployment."""


@pytest.fixture(autouse=True)
def signals_end_sessions() -> Iterator[None]:
    """Signals that the tests' own parent ignores, as under nohup, would be ignored by the sessions of tests, too."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _ended_by(project: Project, number: int, suite: str = SUITE) -> tuple[int | None, str, set[int]]:
    """Run a session until it waits, send it a signal: its exit code, what it printed, and its children's numbers."""
    project.path.joinpath("test_suite.py").write_text(suite, encoding="utf-8")
    output = project.path / "output.txt"
    session = forked.started(ARGUMENTS, project.path, output, output)
    assert session.pid is not None
    try:
        assert wait_until(lambda: (project.path / "waiting").exists() or not session.is_alive())
        children = set(children_of(session.pid))
        os.kill(session.pid, number)
        session.join(120)
    finally:
        session.kill()
    return session.exitcode, output.read_text(encoding="utf-8"), children


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_was_measured_is_reported_as_after_ctrl_c(project: Project, name: str) -> None:
    code, output, _ = _ended_by(project, signal.Signals[name])
    assert code == pytest.ExitCode.INTERRUPTED
    sentence = f"the session was interrupted by {name}: 4 of 8 trials are valid"
    assert f"edgeai: {sentence}" in output
    assert sentence in project.results["remarks"]
    assert sentence in (project.report / "summary.md").read_text(encoding="utf-8")
    assert (project.results["interrupted"], project.results["green"]) == (f"by {name}", False)
    assert set(project.verdicts().values()) == {"invalid"}
    assert len((project.report / "samples.csv").read_text(encoding="utf-8").splitlines()) == 1 + 4 * 10
    assert len(json.loads((project.path / "out.json").read_text(encoding="utf-8"))["benchmarks"]) == 4


def test_tiers_end_with_a_session_that_is_terminated(project: Project) -> None:
    project.settings('models = ["toy"]\noperators = ["identity"]\ntiers = ["mobile"]\n' + PROCESSES)
    project.path.joinpath("conftest.py").write_text(
        "import toy_models\n\ndef pytest_edgeai_subjects(config):\n    return [toy_models.subject('toy')]\n\n"
        "def pytest_edgeai_operators(config):\n    return [toy_models.Plain]\n",
        encoding="utf-8",
    )
    code, output, children = _ended_by(project, signal.SIGTERM, DEPLOYED)
    assert code == pytest.ExitCode.INTERRUPTED, output
    assert children
    assert wait_until(lambda: not children & set(processes()))


@pytest.mark.parametrize("trap", ["trap '' INT", "trap '' INT HUP"])
def test_a_session_whose_parent_ignores_signals_is_terminated_all_the_same(project: Project, trap: str) -> None:
    project.path.joinpath("test_suite.py").write_text(SUITE, encoding="utf-8")
    with subprocess.Popen(("sh", "-c", f'{trap}; exec "$@"', "sh", *COMMAND), cwd=project.path) as session:
        try:
            assert wait_until(lambda: (project.path / "waiting").exists() or session.poll() is not None)
            session.send_signal(signal.SIGTERM)
            assert session.wait(120) == pytest.ExitCode.INTERRUPTED
        finally:
            session.kill()
    assert project.results["interrupted"] == "by SIGTERM"


def test_a_signal_that_the_parent_ignores_stays_ignored(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import os, signal

        def test_strategy(trial):
            trial()
            for name in ("SIGHUP", "SIGINT"):
                os.kill(os.getpid(), signal.Signals[name])
        """
    )
    ignoring = ("sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh", *COMMAND)
    ended = subprocess.run(ignoring, cwd=project.path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert project.results["interrupted"] is None


def test_handlers_are_there_while_trials_are_made_and_not_after(project: Project) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    project.pytester.makepyfile(
        test_suite="""
        import signal

        def test_strategy(trial):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            trial()
        """,
        test_other="def test_other():\n    pass\n",
    )
    project.run("--benchmark-only").assert_outcomes(passed=8, skipped=1)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_session_without_trials_leaves_signals_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import signal\n\ndef test_other():\n    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_only_the_first_signal_interrupts_so_that_the_report_is_written() -> None:
    interruption = Interruption()
    interruption.install()
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        interruption.restore()
    assert interruption.name == "SIGTERM"


def test_ctrl_c_in_the_first_trial_is_no_internal_error(project: Project, fault: Callable[[str], None]) -> None:
    fault("interrupt")
    result = project.run("--benchmark-only", "--benchmark-json=out.json", subprocess=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert set(project.verdicts().values()) == {"invalid"}
    assert json.loads((project.path / "out.json").read_text(encoding="utf-8"))["benchmarks"] == []
