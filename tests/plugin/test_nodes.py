"""Operators for several nodes meet placements of as many, and are measured through them like any other."""

from __future__ import annotations

import pytest

from pytest_edgeai.commands.cli import main
from tests.plugin.conftest import PROCESSES, Project

CONFTEST = """
import shutil

import toy_models
from pytest_edgeai.parallel import node_folder
from pytest_edgeai.parallel.aggregation import Aggregation

def pytest_edgeai_subjects(config):
    return [toy_models.subject("toy")]

class Several(toy_models.Plain):
    name = "several"
    nodes = 2

    def divide(self, job):
        for number in range(self.nodes):
            folder = node_folder(job.folder, number)
            folder.mkdir()
            for file in ("model.onnx", "pipeline.json"):
                shutil.copy(job.folder / file, folder)
        Aggregation("variants", self.nodes, toy_models.CLASSES, 2, deadline_s=30.0).write(job.folder)
        return {"nodes": [{"parameters": 64, "macs": 64, "size_bytes": 500}] * self.nodes}

def pytest_edgeai_operators(config):
    return [toy_models.Plain, Several]
"""
SETTINGS = f"""
models = ["toy"]
operators = ["identity", "several"]
{PROCESSES}
[topology.links.mobile-edge]
rate = "20 Mbit/s"
"""


@pytest.fixture
def nodes(project: Project) -> Project:
    """A project with an operator for two nodes."""
    project.pytester.makeconftest(CONFTEST)
    project.settings(SETTINGS)
    return project


def test_artifacts_for_nodes_go_to_nodes_of_the_origin_and_others_to_single_tiers(nodes: Project) -> None:
    whole = [f"toy-identity-{tier}-r0" for tier in ("cloud", "edge", "mobile")]
    assert nodes.collected() == [*whole, "toy-several-mobile*2-r0"]


def test_nodes_are_chosen_as_tiers_are(nodes: Project) -> None:
    assert nodes.collected("--edgeai-tiers", "edge,mobile*2,edge*2,mobile*3") == [
        "toy-identity-edge-r0",
        "toy-several-edge*2-r0",
        "toy-several-mobile*2-r0",
    ]


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ("mobile", "*--edgeai-tiers: operator several needs 2 nodes of a tier, for example mobile[*]2"),
        ("mobile*2", "*operator identity needs a single tier"),
        ("mobile,edge*3", "*operator several needs 2 nodes of a tier*"),
        ("mobile,mobile*1", "*'mobile[*]1' is not a tier and a number of nodes from 2*"),
        ("mobile,moon*2", "*moon[*]2: there is no tier 'moon'*"),
    ],
)
def test_tiers_that_do_not_fit_are_one_clear_error(nodes: Project, tiers: str, sentence: str) -> None:
    result = nodes.run("--edgeai-tiers", tiers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])


def test_nodes_are_measured_and_reported_like_any_other(nodes: Project) -> None:
    result = nodes.run("--edgeai-tiers", "edge,edge*2", "--benchmark-json", "saved.json")

    assert result.ret == 0, result.stdout.str()
    assert nodes.verdicts() == {"toy-identity-edge": "pass", "toy-several-edge*2": "pass"}
    valid = [trial for trial in nodes.results["trials"] if trial["status"] == "valid"]  # a busy host may spoil a try
    (trial,) = [trial for trial in valid if trial["operator"] == "several"]
    assert (trial["id"], trial["tier"]) == ("toy-several-edge*2-r0", "edge*2")
    assert set(trial["slowest"]) <= {"edge[0]", "edge[1]"}
    assert len(trial["slowest"]) == 3
    assert {"compute", "aggregate", "transmit mobile-edge"} <= set(trial["spans_s"])
    assert {probe["link"] for probe in trial["probes"]} == {"mobile-edge[0]", "mobile-edge[1]"}
    assert set(trial["tiers"]) == {"edge[0]", "edge[1]"}
    for number, latency_s in enumerate(trial["latency_s"]):
        assert sum(spans[number] for spans in trial["spans_s"].values()) == pytest.approx(latency_s)
    scales = {name: one["compute_scale"] for name, one in nodes.results["tiers"].items()}
    assert scales["mobile"] / scales["edge"] == pytest.approx(2)
    whole, several = nodes.results["artifacts"]
    assert whole["combinations"] == []
    assert [one["nodes"] for one in several["combinations"]] == [[0], [1], [0, 1]]
    assert {one["value"] for one in several["combinations"]} == {several["metrics"]["top1"]}
    page = (nodes.report / "report.html").read_text(encoding="utf-8")
    assert "toy-several, without node 1" in page
    assert page.index("Combinations of the nodes of toy-several") < page.index("Nodes that requests waited for")
    summary = (nodes.report / "summary.md").read_text(encoding="utf-8")
    assert "## Slowest nodes" in summary
    assert "| `toy-several-edge*2` |" in summary


def test_a_placement_of_nodes_survives_files_and_the_commands_that_read_them(nodes: Project) -> None:
    options = ("--edgeai-tiers", "edge,edge*2", "--edgeai-replicates", "2")  # as many as a comparison takes
    nodes.run(*options, "--benchmark-json", "saved.json")
    for source in (nodes.report, nodes.report / "results.json", nodes.path / "saved.json"):
        assert main(["analyze", str(source)]) == 0
    again = nodes.run(*options, "--edgeai-compare", str(nodes.path / "saved.json"))
    assert "edge*2" in again.stdout.str()


def test_a_node_that_misses_the_deadline_makes_the_trial_invalid(nodes: Project) -> None:
    nodes.pytester.makeconftest(CONFTEST.replace("deadline_s=30.0", "deadline_s=1e-6"))
    result = nodes.run("--edgeai-tiers", "mobile*2", "--edgeai-operators", "several")
    assert result.ret == 1
    assert nodes.verdicts() == {"toy-several-mobile*2": "invalid"}
    result.stdout.fnmatch_lines(["*no node has answered*mobile?0?: no answer within the deadline of 1e-06 s*"])
