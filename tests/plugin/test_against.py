"""Two versions in one session: what is measured twice, what is not, and what each verdict and error looks like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.errors import VersionError
from pytest_edgeai.versions.checkouts import checked_out, describe_distribution, find_commit
from tests.plugin.conftest import CONFTEST, Project
from tests.plugin.test_gate import SETTINGS, outcomes
from tests.plugin.test_gate_commits import OPERATOR, commit, git

AGAINST = SETTINGS.replace("replicates = 4", "replicates = 6")
WORSE = OPERATOR.replace("DETOURS = 0", "DETOURS = 16").replace("KEPT = CLASSES", "KEPT = CLASSES - 1")
BOTH = {f"toy-{name}-{tier}" for name in ("identity", "worse") for tier in ("mobile", "edge")}
OF_WORSE = {name for name in BOTH if "worse" in name}


def begin_repository(project: Project) -> None:
    """Make a repository of a project, with one commit."""
    project.settings(AGAINST)
    with_rounded = CONFTEST.replace("toy_models.Worse", "rounded.Rounded").replace("import", "import rounded, ", 1)
    project.path.joinpath("conftest.py").write_text(with_rounded, encoding="utf-8")
    project.path.joinpath(".gitignore").write_text(".benchmarks/\nreports/\n__pycache__/\n", encoding="utf-8")
    git(project, "init", "-q", "-b", "main")
    commit(project, OPERATOR)


@pytest.fixture
def repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one commit of a project."""
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps({"toy-identity": 1, "toy-worse": 1}))
    begin_repository(project)
    return project


def compared(project: Project) -> dict[str, dict[str, Any]]:
    """The rows of the newest comparison by strategy."""
    return {row["strategy"]: row for row in project.results["comparison"]["strategies"]}


def measured_twice(project: Project) -> set[str]:
    """Strategies that have trials of the other version."""
    return {"-".join((one["model"], one["operator"], one["tier"])) for one in project.results["against"]["trials"]}


def test_a_comment_makes_the_same_artifact_which_is_measured_once(repository: Project) -> None:
    commit(repository, OPERATOR.replace("DETOURS = 0", "DETOURS = 0  # none so far"))
    result = repository.run("--benchmark-only", "--edgeai-against=HEAD~1")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*against HEAD~1 (*): 0 of 4 strategies are measured in both versions, 4 have the*"])
    assert measured_twice(repository) == set()
    rows = compared(repository)
    assert set(rows) == BOTH
    assert all(row["same_artifact"] and row["outcome"] == "pass" for row in rows.values())


def test_a_worse_operator_is_measured_in_both_versions_and_red_and_nothing_else(repository: Project) -> None:
    repository.path.joinpath("rounded.py").write_text(WORSE, encoding="utf-8")  # not committed: it is what is gated
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--junit-xml=junit.xml")
    assert result.ret == 1
    assert measured_twice(repository) == OF_WORSE
    rows = compared(repository)
    assert {name for name, row in rows.items() if row["outcome"] == "regression"} == OF_WORSE
    for name in OF_WORSE:
        assert rows[name]["latency"]["outcome"] == "regression"
        assert rows[name]["latency"]["change"] > 1
        assert rows[name]["latency"]["trials"] == [6, 6]
        assert rows[name]["accuracy_gain"] < -10
    for name in BOTH - OF_WORSE:
        assert rows[name]["same_artifact"]
        assert rows[name]["outcome"] == "pass"
    results = repository.results
    order = {one["id"]: one["order"] for one in (*results["trials"], *results["against"]["trials"])}
    assert len(order) == 24 + 12
    assert all(abs(place - order[name.partition("@")[0]]) == 1 for name, place in order.items() if "@" in name)
    ours = (repository.report / "samples.csv").read_text(encoding="utf-8").splitlines()
    theirs = (repository.report / "samples-against.csv").read_text(encoding="utf-8").splitlines()
    assert (len(ours) - 1, len(theirs) - 1) == (4 * 6 * 4, 2 * 6 * 4)
    assert 'name="edgeai.gate" value="red"' in repository.path.joinpath("junit.xml").read_text(encoding="utf-8")


def test_a_better_operator_is_an_improvement(repository: Project) -> None:
    commit(repository, WORSE)
    repository.path.joinpath("rounded.py").write_text(OPERATOR, encoding="utf-8")
    result = repository.run("--benchmark-only", "--edgeai-against=HEAD")
    assert result.ret == 0, result.stdout.str()
    assert {name for name, outcome in outcomes(repository).items() if outcome == "improvement"} == OF_WORSE


def test_what_differs_takes_more_trials_than_usual_and_nothing_else_does(repository: Project) -> None:
    repository.settings(AGAINST.replace("replicates = 6\n", "", 1).replace("[gate]", "[gate]\nreplicates = 6"))
    commit(repository, OPERATOR)
    repository.path.joinpath("rounded.py").write_text(WORSE, encoding="utf-8")
    result = repository.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*4 strategies, 5 trials of each, and where main (*) differs 6 of each version"])
    rows = compared(repository)
    assert {name: rows[name]["latency"]["trials"] for name in OF_WORSE} == {name: [6, 6] for name in OF_WORSE}
    trials = {row["id"]: row["trials"] for row in repository.results["strategies"]}
    assert trials == dict.fromkeys(OF_WORSE, 6) | dict.fromkeys(BOTH - OF_WORSE, 5)


def test_what_five_trials_cannot_decide_gets_more_until_it_is_decided(repository: Project) -> None:
    """All five pairs of both strategies have one sign: as rare as 1 in 16 by chance, which is not rare enough."""
    # On a host that is busy, the change is not much more than the 100 % that other tests ask for.
    settings = AGAINST.replace("min_change = 1.0", "min_change = 0.2").replace("s = 1\n", "s = 16\n")
    repository.settings(settings.replace("replicates = 6", "replicates = 5"))
    repository.path.joinpath("rounded.py").write_text(WORSE, encoding="utf-8")
    result = repository.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 1
    rows = compared(repository)
    for name in OF_WORSE:
        assert rows[name]["outcome"] == "regression", result.stdout.str()
        assert rows[name]["latency"]["trials"][0] == rows[name]["latency"]["trials"][1] > 5
    trials = {row["id"]: row["trials"] for row in repository.results["strategies"]}
    assert {trials[name] for name in BOTH - OF_WORSE} == {5}


def test_too_few_trials_to_decide_anything_are_refused(repository: Project) -> None:
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-replicates=4")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --edgeai-against: 4 trials of toy-* cannot tell a change from chance: it takes 5 a side at least*"]
    )


def test_what_is_the_same_can_be_measured_twice(repository: Project) -> None:
    repository.settings(AGAINST + "measure_same = true\n")
    result = repository.run("--benchmark-only", "--edgeai-against=main", "-k", "identity")
    assert result.ret == 0, result.stdout.str()
    assert measured_twice(repository) == BOTH - OF_WORSE
    rows = compared(repository)
    assert all(not row["same_artifact"] and row["latency"]["trials"] == [6, 6] for row in rows.values())


def test_what_the_other_version_does_not_have_is_new(repository: Project) -> None:
    conftest = repository.path.joinpath("conftest.py")
    named = conftest.read_text(encoding="utf-8")
    conftest.write_text(named.replace("toy_models.Slow]", "toy_models.Slow, toy_models.Worse2]"), encoding="utf-8")
    toys = repository.path.joinpath("toy_models.py")
    second = '\n\nclass Worse2(Worse):\n    """Another."""\n\n    name = "worse2"\n'
    toys.write_text(toys.read_text(encoding="utf-8") + second, encoding="utf-8")
    repository.settings(AGAINST.replace('"worse"]', '"worse", "worse2"]'))
    result = repository.run("--benchmark-only", "--edgeai-against=main", "-k", "worse2")
    assert result.ret == 0, result.stdout.str()
    assert outcomes(repository) == {"toy-worse2-mobile": "new", "toy-worse2-edge": "new"}


def test_what_only_the_other_version_measures_is_missing(repository: Project) -> None:
    repository.settings(AGAINST.replace('["identity", "worse"]', '["identity"]'))
    result = repository.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 1
    assert {name for name, outcome in outcomes(repository).items() if outcome == "missing"} == OF_WORSE
    result = repository.run("--benchmark-only", "--edgeai-against=main", "--edgeai-operators=identity")
    assert result.ret == 0, "what was not asked for is not missing"


def test_what_the_other_version_cannot_build_is_not_green(repository: Project) -> None:
    commit(repository, OPERATOR.replace("width = 1024", "raise ValueError('no width')"))
    repository.path.joinpath("rounded.py").write_text(OPERATOR, encoding="utf-8")
    result = repository.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 1
    assert {name for name, outcome in outcomes(repository).items() if outcome == "incomparable"} == OF_WORSE
    result.stdout.fnmatch_lines(
        ["*toy-worse-edge*incomparable*", "*could not make its artifact: ValueError: no width*"]
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--edgeai-against=nowhere"], "--edgeai-against: * has no revision 'nowhere'"),
        (["--edgeai-against=main", "--edgeai-compare=latest"], "--edgeai-against and --edgeai-compare: *"),
        (
            ["--edgeai-against=main", "-m", "strategy(version='main')"],
            "--edgeai-against: toy-*-r0 is selected in one of the two *",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    repository: Project, options: list[str], sentence: str
) -> None:
    result = repository.run("--benchmark-only", *options)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {sentence}*"])


def test_versions_with_other_samples_are_not_compared(repository: Project) -> None:
    toys = repository.path.joinpath("toy_models.py")
    others = toys.read_text(encoding="utf-8").replace('"validation": 2', '"validation": 3')
    toys.write_text(others.replace('ExampleSource("numbers"', 'ExampleSource("others"'), encoding="utf-8")
    result = repository.run("--benchmark-only", "--edgeai-against=main", "-k", "identity")
    assert result.ret == 1
    assert set(outcomes(repository).values()) == {"incomparable"}
    result.stdout.fnmatch_lines(["*toy-identity-edge: incomparable: main (*) has other samples to send"])


def test_tests_that_the_other_version_does_not_have_are_refused(repository: Project) -> None:
    (repository.path / "test_suite.py").rename(repository.path / "test_other.py")
    result = repository.run("--benchmark-only", "--edgeai-against=main", "test_other.py")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --edgeai-against: main (*) has no tests in test_other.py"])


def test_a_version_that_cannot_run_says_why(repository: Project) -> None:
    commit(repository, OPERATOR + "\nimport nothing_of_that_name\n")
    repository.path.joinpath("rounded.py").write_text(OPERATOR, encoding="utf-8")
    result = repository.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --edgeai-against: main (*did not make its artifacts ready*nothing_of_that_name*"]
    )


def test_outside_of_a_repository_is_refused(project: Project) -> None:
    result = project.run("--benchmark-only", "--edgeai-against=main")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --edgeai-against: * is in no git repository*"])


def test_a_checkout_leaves_nothing_and_has_the_commits_files(repository: Project) -> None:
    (repository.path / "src").mkdir()
    (repository.path / "src" / "module.py").write_text("", encoding="utf-8")
    commit(repository, WORSE)
    repository.path.joinpath("rounded.py").write_text("changed", encoding="utf-8")
    with checked_out(find_commit("HEAD", repository.path)) as checkout:
        rounded = checkout.counterpart(repository.path / "rounded.py")
        assert rounded.read_text(encoding="utf-8") == WORSE
        assert checkout.folder in checkout.search_path
        assert checkout.folder / "src" in checkout.search_path
        assert checkout.counterpart(Path("/elsewhere")) == Path("/elsewhere")
    assert not rounded.exists()
    assert repository.path.joinpath("rounded.py").read_text(encoding="utf-8") == "changed"
    command = ["git", "worktree", "list"]
    listed = subprocess.run(command, cwd=repository.path, capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == 1


def test_entry_points_of_a_checkout_are_its_own(tmp_path: Path) -> None:
    project, target = tmp_path / "project", tmp_path / "target"
    project.mkdir()
    target.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "pytest-edgeai"\nversion = "7"\n[project.entry-points."pytest_edgeai.operators"]\n'
        'only = "somewhere:Only"\n',
        encoding="utf-8",
    )
    describe_distribution(project, target)
    script = (
        "from importlib import metadata; print(metadata.version('pytest-edgeai'), "
        "[point.name for point in metadata.entry_points(group='pytest_edgeai.operators')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(target)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "7 ['only']"


def test_a_revision_is_looked_up_with_care(repository: Project, tmp_path: Path) -> None:
    found = find_commit("main", repository.path)
    assert found.label == f"main ({found.digest[:10]})"
    assert find_commit(found.digest, repository.path).label == found.digest[:10]
    with pytest.raises(VersionError, match="has no revision '--all'"):
        find_commit("--all", repository.path)
