"""A chain of operators by its name, `>` and all: deployed for real, saved, and read again by the commands."""

from __future__ import annotations

import json

import pytest

from pytest_edgeai.commands.cli import main
from tests.plugin.conftest import Project

SETTINGS = """
models = ["toy"]
operators = ["identity", "identity>worse"]
tiers = ["mobile"]
backend = "process"
replicates = 2

[profiles.quick]
inputs = 3
warmup = 1

[budgets.accuracy_drop_pp.operators]
"identity>worse" = 100
"""
CHAIN = "toy-identity>worse-mobile"


def test_a_chain_is_measured_saved_compared_and_analysed_by_its_name(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(SETTINGS)
    result = project.run("--benchmark-only", "--benchmark-save=first", "--junit-xml=junit.xml")
    assert result.ret == 0, result.stdout.str()
    assert project.verdicts() == {"toy-identity-mobile": "pass", CHAIN: "pass"}
    trials = [trial for trial in project.results["trials"] if trial["operator"] == "identity>worse"]
    assert ["compute" in trial["spans_s"] for trial in trials] == [True, True]
    assert "toy-identity&gt;worse-mobile-r0" in (project.path / "junit.xml").read_text(encoding="utf-8")
    assert CHAIN in (project.report / "summary.md").read_text(encoding="utf-8")

    project.run("--benchmark-only", "--benchmark-save=second", "--edgeai-compare=first")
    assert {row["strategy"] for row in project.results["comparison"]["strategies"]} == {"toy-identity-mobile", CHAIN}
    capsys.readouterr()
    main(["compare", f"--root={project.path}", "first", "second", "--json=-"])
    compared = json.loads(capsys.readouterr().out)
    assert CHAIN in {row["strategy"] for row in compared["strategies"]}

    samples, figures = project.report / "samples.csv", project.path / "figures"
    assert main(["analyze", str(samples), "--json", "-", "--figures", str(figures)]) == 0
    analysed = json.loads(capsys.readouterr().out)
    assert "identity>worse" in {row["operator"] for row in analysed["strategies"]}
    assert list(figures.glob("*.svg"))
