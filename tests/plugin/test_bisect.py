"""`edgeai bisect` on histories of toys: what it finds, what it skips, what it refuses, and that it leaves nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from pytest_edgeai.commands.cli import main
from tests.plugin.conftest import Project
from tests.plugin.test_against import begin_repository
from tests.plugin.test_against_whole import DELAYED, GATE, ONE, SETTINGS
from tests.plugin.test_gate_commits import OPERATOR, commit, git

SLOWER = OPERATOR.replace("DETOURS = 0", "DETOURS = 16")
LESS_ACCURATE = OPERATOR.replace("KEPT = CLASSES", "KEPT = CLASSES - 1")
BROKEN = OPERATOR.replace("width = 1024", "raise ValueError('no width')")
STRATEGY = "--strategy=toy-worse-edge"


@pytest.fixture
def repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one commit of a project, which has the tag `good`."""
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps({"toy-worse": 1}))
    begin_repository(project)
    git(project, "tag", "good")
    return project


def history(project: Project, *operators: str) -> list[str]:
    """Commit a version of the operator after the other; the digests of the commits."""
    for number, operator in enumerate(operators):
        commit(project, f"{operator}# {number}\n")
    return said_by_git(project, "rev-list", "--reverse", "good..HEAD").split()


def said_by_git(project: Project, *words: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *words], cwd=project.path, check=True, capture_output=True, text=True).stdout


def bisected(project: Project, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the document that is printed; no checkout is left, and the working copy is as it was."""
    status = said_by_git(project, "status", "--porcelain")
    capsys.readouterr()
    code = main(["bisect", "good", "main", STRATEGY, "--json", f"--root={project.path}", *options])
    out = capsys.readouterr().out
    assert said_by_git(project, "worktree", "list").count("\n") == 1
    assert said_by_git(project, "status", "--porcelain") == status
    return code, json.loads(out)


def test_the_commit_that_is_slower_is_found_and_measured_against_the_one_before(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = history(repository, OPERATOR, SLOWER, SLOWER)
    repository.path.joinpath("rounded.py").write_text("not committed, and no Python", encoding="utf-8")
    code, found = bisected(repository, capsys)
    assert (code, found["outcome"], found["confirmed"]) == (0, "found", True), found
    assert found["commit"]["digest"] == digests[1]
    assert (found["commit"]["subject"], found["commit"]["author"]) == ("change", "a <a@b.c>")
    assert found["change"]["kind"] == "latency"
    assert found["change"]["against"] == digests[0][:10]
    assert 0 < found["change"]["low"] <= found["change"]["change"] <= found["change"]["high"]
    reasons = {one["commit"]: one["reason"] for one in found["answers"]}
    assert reasons[digests[0]] == "its artifact is the same: not measured"
    assert [one["measured_s"] > 0 for one in found["answers"]] == [True, False, False, True]
    log = repository.path.parent / "bisect.log"
    log.write_text(found["log"], encoding="utf-8")
    git(repository, "checkout", "-q", "--", "rounded.py")
    assert f"{digests[1]} is the first bad commit" in said_by_git(repository, "bisect", "replay", str(log))


def test_accuracy_needs_no_measurement_and_what_cannot_be_built_is_stepped_over(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = history(repository, OPERATOR, BROKEN, OPERATOR, LESS_ACCURATE, LESS_ACCURATE)
    code, found = bisected(repository, capsys)
    assert (code, found["commit"]["digest"]) == (0, digests[3]), found
    assert found["change"]["kind"] == "accuracy"
    assert found["change"]["low"] > 5
    assert found["seconds_measured"] == 0


def test_broken_commits_beside_the_one_that_is_worse_leave_several(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = history(repository, OPERATOR, BROKEN, LESS_ACCURATE)
    code, found = bisected(repository, capsys, f"--tests={repository.path / 'test_suite.py'}")
    assert (code, found["outcome"]) == (1, "skipped")
    assert [one["digest"] for one in found["suspects"]] == digests[1:]
    assert "no width" in next(one["reason"] for one in found["answers"] if one["mark"] == "broken")
    assert f"git bisect skip {digests[1]}" in found["log"]


def test_with_servers_of_its_own_a_change_of_the_settings_is_found(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.settings(SETTINGS + GATE)
    git(repository, "commit", "-qam", "processes")
    git(repository, "tag", "-f", "good")
    repository.settings(DELAYED)
    git(repository, "commit", "-qam", "a slower link")
    code, found = bisected(repository, capsys, "--whole", f"--strategy={ONE}")
    assert (code, found["commit"]["subject"]) == (0, "a slower link"), found
    assert found["change"]["low"] > 0


def test_what_did_not_get_worse_has_no_commit(repository: Project, capsys: pytest.CaptureFixture[str]) -> None:
    history(repository, OPERATOR)
    assert main(["bisect", "good", STRATEGY, f"--root={repository.path}"]) == 1
    said = capsys.readouterr()
    assert "is not worse than good" in said.out
    assert "edgeai: 1 commit: about 2 comparisons at most, 24 trials; how long a trial takes is not known" in said.err


def test_a_dry_run_says_what_it_would_cost_and_does_nothing(
    repository: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repository.run("--benchmark-only", "-k", "toy-worse-edge").ret == 0
    history(repository, *[OPERATOR] * 9)
    code, cost = bisected(repository, capsys, "--dry-run", "--replicates=8")
    assert code == 0
    assert (cost["commits"], cost["steps"], cost["trials"]) == (9, 6, 96)
    assert cost["total_s"] == pytest.approx(6 * (16 * cost["trial_s"] + cost["build_s"]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere", "main", STRATEGY], "error: * has no revision 'nowhere'"),
        (["main", "good", STRATEGY], "is not an ancestor of"),
        (["main", "main", STRATEGY], "are one commit"),
        (["good", "main", "--strategy=toy-edge"], "--strategy: 'toy-edge' is not MODEL-OPERATOR-TIER"),
        (["good", "main", STRATEGY, "--whole"], "--whole: the backend instant cannot run servers of each commit"),
        (["good", "main", STRATEGY, "--tests=nowhere"], "--tests: there is no nowhere"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(
    repository: Project, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    history(repository, OPERATOR)
    assert main(["bisect", *words, f"--root={repository.path}"]) == 2
    assert sentence.removeprefix("error: * ") in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max-slowdown=10", "--max-slowdown=x%", "--replicates=4"])
def test_numbers_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bisect", "a", "b", STRATEGY, option])
    assert ended.value.code == 2


def test_a_signal_leaves_no_checkout(repository: Project) -> None:
    history(repository, SLOWER)
    command = [sys.executable, "-c", "from pytest_edgeai.commands.cli import main; raise SystemExit(main())"]
    with subprocess.Popen(
        [*command, "bisect", "good", STRATEGY, "--of=latency"], cwd=repository.path, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        said = next(line for line in child.stderr if line.startswith("edgeai: measuring"))
        assert "6 trials of each" in said
        child.send_signal(signal.SIGTERM)
        rest = child.stderr.read()
    assert child.returncode == 130
    assert "interrupted: nothing was found, and no checkout is left" in rest
    assert said_by_git(repository, "worktree", "list").count("\n") == 1
