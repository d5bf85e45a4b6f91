"""Two versions with servers and tiers of their own: a change outside the artifact is seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pytest_edgeai
from tests.plugin.conftest import PROCESSES, Project
from tests.plugin.test_against import compared, measured_twice
from tests.plugin.test_gate_commits import git

SETTINGS = 'models = ["toy"]\noperators = ["identity"]\ntiers = ["edge"]\n' + PROCESSES.replace(
    "replicates = 1", "replicates = 6"
)
GATE = "\n[gate]  # wide, because these sessions are really timed, on a host that may be busy\nmin_change = 1.0\n"
GATE += "must_see = 9.0\nmax_replicates = 1\n"
DELAYED = SETTINGS + GATE + '\n[topology.links.mobile-edge]\nrate = "200 Mbit/s"\ndelay = "20 ms"\n'
ONE = "toy-identity-edge"


@pytest.fixture
def repository(project: Project) -> Project:
    """A repository with one commit of a project whose tiers are processes."""
    project.settings(SETTINGS + GATE)
    project.path.joinpath(".gitignore").write_text(".benchmarks/\nreports/\n__pycache__/\n", encoding="utf-8")
    git(project, "init", "-q", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    return project


@pytest.fixture
def with_plugin(repository: Project) -> Path:
    """The folder of the plugin, of which the repository has a copy that no commit has yet."""
    source = Path(pytest_edgeai.__file__).parent
    copy = repository.path / "pytest_edgeai"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def commit_and_take_away(project: Project, plugin: Path) -> None:
    """Commit a copy of the plugin, which this version does not have."""
    git(project, "add", ".")
    git(project, "commit", "-qm", "with a plugin of its own")
    shutil.rmtree(plugin)


def change(path: Path, before: str, after: str) -> None:
    """Replace what stands in a file once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_a_slower_link_of_the_settings_is_seen_by_its_own_tiers_alone(repository: Project) -> None:
    repository.settings(DELAYED)
    result = repository.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 0, "the artifact is the same, and so it is measured once"
    assert measured_twice(repository) == set()
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-whole")
    assert result.ret == 1, result.stdout.str()
    assert measured_twice(repository) == {ONE}
    row = compared(repository)[ONE]
    assert row["outcome"] == "regression"
    assert row["latency"]["change"] > 1
    remarks = "\n".join(repository.results["comparison"]["remarks"])
    assert "outside the artifacts, topology.links.mobile-edge.delay_s was 0.0 and is 0.02" in remarks


def test_servers_of_the_other_version_run_its_trials(repository: Project, with_plugin: Path) -> None:
    checked = "        _check(tensors, self.inputs)\n"
    change(with_plugin / "serving" / "repository.py", checked, f"{checked}        time.sleep(0.03)\n")
    commit_and_take_away(repository, with_plugin)
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-whole")
    assert result.ret == 0, result.stdout.str()
    row = compared(repository)[ONE]
    assert row["outcome"] == "improvement"
    assert "code of the servers was" in "\n".join(repository.results["comparison"]["remarks"])


def test_what_differs_in_nothing_is_measured_once(repository: Project) -> None:
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-whole")
    assert result.ret == 0, result.stdout.str()
    assert measured_twice(repository) == set()
    assert compared(repository)[ONE]["outcome"] == "pass"


def test_servers_that_are_started_otherwise_are_refused(repository: Project, with_plugin: Path) -> None:
    change(with_plugin / "versions" / "own_servers.py", "CONTRACT: Final = 1", "CONTRACT: Final = 0")
    commit_and_take_away(repository, with_plugin)
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-whole")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --edgeai-against: the servers of main (*) cannot be started by this version*"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--edgeai-whole"], "--edgeai-whole needs --edgeai-against REV beside it*"),
        (
            ["--edgeai-whole", "--edgeai-against=main", "--edgeai-backend=instant"],
            "--edgeai-whole: the backend instant cannot run servers of another version*",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(repository: Project, options: list[str], sentence: str) -> None:
    result = repository.run("--benchmark-only", "--collect-only", *options)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {sentence}"])


def test_tiers_that_the_other_version_does_not_have_are_refused(repository: Project) -> None:
    repository.settings(
        SETTINGS.replace('tiers = ["edge"]', 'tiers = ["hub"]')
        + GATE
        + '\n[topology.links.mobile-hub]\nrate = "1 Mbit/s"\n'
        + "".join(f'\n[topology.tiers.{name}]\ncores = 2\nmemory = "1 GiB"\n' for name in ("mobile", "hub"))
    )
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-whole")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --edgeai-against: the tiers of main (*) cannot be used here: *'hub'*"])
