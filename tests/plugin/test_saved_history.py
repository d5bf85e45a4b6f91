"""A session that was really saved, in the history."""

from __future__ import annotations

import json

import pytest

from pytest_edgeai.commands.cli import main
from tests.plugin.conftest import Project


def test_the_history_has_the_medians_of_the_report(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run("--benchmark-only", "--benchmark-save=one").ret == 0
    capsys.readouterr()
    assert main(["history", f"--root={project.path}", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["remarks"] == []
    found = {(one["strategy"], one["quantity"]): one["values"] for one in document["series"]}
    results = project.results
    assert {strategy for strategy, _ in found} == {row["id"] for row in results["strategies"]}
    for row in results["strategies"]:
        assert found[row["id"], "latency"] == [pytest.approx(row["median_s"])]
        assert {name: found[row["id"], name] for name in row["spans_s"]} == {
            name: [pytest.approx(value)] for name, value in row["spans_s"].items()
        }
        assert found[row["id"], "load"] == [pytest.approx(row["load_s"])]
    correct = found["toy-identity-mobile", "top1"], found["toy-worse-mobile", "top1"]
    assert correct[0] > correct[1]
