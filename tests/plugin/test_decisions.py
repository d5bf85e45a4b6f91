"""A choice at the end of a session, and predictions from what a session has measured on real links."""

from __future__ import annotations

import json

import pytest

from pytest_edgeai.commands.cli import main
from tests.plugin.conftest import PROCESSES, SETTINGS, Project

DECIDE = """
[decide]
max_latency_s = "1 s"
max_drop = 100
"""
ENOUGH = SETTINGS.replace("replicates = 2", "replicates = 5")


def test_the_end_of_a_session_chooses_as_the_command_does_and_says_so_everywhere(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(ENOUGH + DECIDE)
    result = project.run("--benchmark-only")
    assert result.ret == 0, result.stdout.str()
    (decision,) = project.results["decisions"]
    assert decision["model"] == "toy"
    assert decision["choice"] in {row["id"] for row in project.results["strategies"]}
    result.stdout.fnmatch_lines([f"choice for toy: {decision['choice']} has the least latency of the 4 of 4 *"])
    assert f"- toy: {decision['reason']}" in (project.report / "summary.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["recommend", "--json", "--root", str(project.path)]) == 0
    assert json.loads(capsys.readouterr().out) == [decision]


def test_without_the_table_nothing_is_chosen(project: Project) -> None:
    project.settings(SETTINGS)
    result = project.run("--benchmark-only")
    assert project.results["decisions"] == []
    result.stdout.no_fnmatch_line("choice for *")
    assert "The choice" not in (project.report / "summary.md").read_text(encoding="utf-8")


def test_that_nothing_can_be_chosen_is_said_and_the_session_is_green(project: Project) -> None:
    project.settings(ENOUGH + DECIDE.replace("1 s", "1 us"))
    result = project.run("--benchmark-only")
    assert result.ret == 0
    assert project.results["decisions"][0]["choice"] is None
    result.stdout.fnmatch_lines(["choice for toy: None of 4 strategies of toy meets the constraints beyond doubt. *"])


def test_an_unproven_strategy_is_not_chosen(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_UNPROVEN", "memory")
    project.settings(ENOUGH + DECIDE)
    project.run("--benchmark-only")
    (decision,) = project.results["decisions"]
    assert decision["choice"] is None
    assert {one["reason"] for one in decision["excluded"]} == {"unproven: mobile: memory", "unproven: edge: memory"}


def test_a_choice_among_nothing_is_a_remark(project: Project) -> None:
    project.settings(SETTINGS + '[decide]\nmodel = "other"\ntier = "edge"\n')
    project.run("--benchmark-only")
    assert "decide: no strategy of this session is of other on edge: nothing was chosen" in project.results["remarks"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('tier = "egde"', "decide: there is no tier 'egde'; did you mean 'edge'?"),
        ('max_latency_s = "fast"', "decide.max_latency_s: expected a number with a unit"),
        ("percentile = 100", "decide.percentile: it must be less than 100"),
        ("max_latency = 1", "decide.max_latency: there is no setting 'max_latency'; did you mean 'max_latency_s'?"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_error_before_anything_is_built(
    project: Project, line: str, sentence: str
) -> None:
    project.settings(f"{SETTINGS}[decide]\n{line}\n")
    result = project.run("--benchmark-only")
    assert result.ret == 4
    assert sentence in result.stderr.str()
    assert not (project.path / "reports").exists()


def test_what_was_measured_on_real_links_is_predicted_for_a_slower_one(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.settings(f'models = ["toy"]\noperators = ["identity"]\ntiers = ["mobile", "cloud"]\n{PROCESSES}')
    assert project.run("--benchmark-only").ret == 0
    trials = {trial["tier"]: trial for trial in project.results["trials"]}
    assert trials["mobile"]["sent_bytes"] == {}
    cloud = trials["cloud"]
    assert set(cloud["computed_s"]) == {"cloud"}
    assert cloud["computed_s"]["cloud"] == pytest.approx(cloud["spans_s"]["compute"])
    bits = 8 * (cloud["sent_bytes"]["edge-cloud"][0] + cloud["received_bytes"]["edge-cloud"][0])
    capsys.readouterr()
    assert main(["predict", "--root", str(project.path), "--link", "edge-cloud=100kbit/s", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)["strategies"]}
    mobile, slower = rows["toy-identity-mobile"], rows["toy-identity-cloud"]
    assert mobile["predicted_s"] == mobile["measured_s"]
    longer_s = bits / 100e3 - bits / 1e6
    # The slower a held link is, the more of what the host takes by itself is hidden in its time.
    hidden_s = sum(max(probe["small"]["host_s"], probe["large"]["host_s"]) for probe in cloud["probes"])
    difference_s = slower["predicted_s"] - slower["measured_s"]
    assert 0.9 * longer_s - hidden_s < difference_s < 1.1 * longer_s
    assert difference_s > 0.5 * longer_s
