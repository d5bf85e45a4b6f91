"""The gate over the commits of a repository: a comment changes nothing, an operator that got worse turns it red."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.plugin.conftest import CONFTEST, Project
from tests.plugin.test_gate import SETTINGS, outcomes

OPERATOR = '''
"""An operator that loses a little."""

import numpy as np

from pytest_edgeai.operators import NoParameters, Operator
from toy_models import CLASSES, WIDTH, write_graph

DETOURS = 0
KEPT = CLASSES


class Rounded(Operator[NoParameters]):
    """Goes through detours, and forgets the last classes."""

    name = "worse"

    def build(self, job):
        """Write its graph."""
        width = 1024
        detours = [np.eye(WIDTH, width), *[np.eye(width)] * DETOURS]
        write_graph(job.folder / "model.onnx", *detours, np.eye(width, CLASSES) * (np.arange(CLASSES) < KEPT))
        return {"engine": "onnx"}
'''


@pytest.fixture
def repository(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one commit, at which a session is saved."""
    # Other tests run meanwhile. They make a request of this length longer by a part of it, not by many times.
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps({"toy-identity": 10, "toy-worse": 10}))
    project.settings(SETTINGS)
    project.path.joinpath("conftest.py").write_text(
        CONFTEST.replace("toy_models.Worse", "rounded.Rounded").replace("import", "import rounded, ", 1),
        encoding="utf-8",
    )
    project.path.joinpath(".gitignore").write_text(".benchmarks/\nreports/\n__pycache__/\n", encoding="utf-8")
    git(project, "init", "-q", "-b", "main")
    commit(project, OPERATOR)
    assert project.run("--benchmark-only", "--benchmark-autosave").ret == 0
    return project


def git(project: Project, *words: str) -> None:
    """Run git in the project."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *words], cwd=project.path, check=True, capture_output=True)


def commit(project: Project, operator: str) -> None:
    """Commit the project with its operator as it is given."""
    project.path.joinpath("rounded.py").write_text(operator, encoding="utf-8")
    git(project, "add", ".")
    git(project, "commit", "-qm", "change")


def test_a_comment_is_green(repository: Project) -> None:
    commit(repository, OPERATOR.replace("DETOURS = 0", "DETOURS = 0  # none so far"))
    result = repository.run("--benchmark-only", "--edgeai-compare=HEAD~1")
    assert result.ret == 0, result.stdout.str()
    assert set(outcomes(repository)) == {
        f"toy-{name}-{tier}" for name in ("identity", "worse") for tier in ("mobile", "edge")
    }
    assert set(outcomes(repository).values()) <= {"pass", "inconclusive", "improvement"}


def test_an_operator_that_became_slower_and_less_accurate_is_red_and_nothing_else(repository: Project) -> None:
    commit(repository, OPERATOR.replace("DETOURS = 0", "DETOURS = 120").replace("KEPT = CLASSES", "KEPT = CLASSES - 1"))
    result = repository.run("--benchmark-only", "--edgeai-compare=HEAD~1")
    assert result.ret == 1
    rows = {row["strategy"]: row for row in repository.results["comparison"]["strategies"]}
    assert {name for name, row in rows.items() if row["outcome"] == "regression"} == {
        "toy-worse-mobile",
        "toy-worse-edge",
    }
    for name in ("toy-worse-mobile", "toy-worse-edge"):
        assert rows[name]["latency"]["outcome"] == "regression"
        assert rows[name]["latency"]["change"] > 0.5
        assert rows[name]["accuracy_gain"] < -10
    assert {row["outcome"] for name, row in rows.items() if "identity" in name} <= {
        "pass",
        "inconclusive",
        "improvement",
    }
