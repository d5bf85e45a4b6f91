"""Operators that make parts meet chains of tiers and nothing else, and are measured through them like any other."""

from __future__ import annotations

import json

import pytest

from pytest_edgeai.commands.cli import main
from tests.plugin.conftest import PROCESSES, Project

CONFTEST = """
import toy_models
from pytest_edgeai.operators.partition import Partition

def pytest_edgeai_subjects(config):
    return [toy_models.subject("toy")]

class Deep(toy_models.Plain):
    def build(self, job):
        toy_models.write_deep_graph(job.folder / "model.onnx")
        return {"engine": "onnx"}

def pytest_edgeai_operators(config):
    return [Deep, Partition]
"""
SETTINGS = f"""
models = ["toy"]
operators = ["identity", "partition"]
{PROCESSES}
[topology.links.edge-cloud]
rate = "100 Mbit/s"
"""


@pytest.fixture
def chains(project: Project) -> Project:
    """A project with an operator that makes two parts."""
    project.pytester.makeconftest(CONFTEST)
    project.settings(SETTINGS)
    return project


def test_parts_go_to_the_chain_they_are_made_for_and_whole_artifacts_to_single_tiers(chains: Project) -> None:
    whole = [f"toy-identity-{tier}-r0" for tier in ("cloud", "edge", "mobile")]
    assert chains.collected() == [*whole, "toy-partition-mobile+edge-r0"]


def test_chains_are_chosen_as_tiers_are(chains: Project) -> None:
    assert chains.collected("--edgeai-tiers", "edge,edge+cloud,mobile+cloud") == [
        "toy-identity-edge-r0",
        "toy-partition-edge+cloud-r0",
        "toy-partition-mobile+cloud-r0",
    ]


def test_three_parts_are_asked_for_by_their_chain(chains: Project) -> None:
    chains.settings(SETTINGS + '\n[operator_parameters.partition]\nchain = "mobile+edge+cloud"\n')
    assert chains.collected()[-1] == "toy-partition-mobile+edge+cloud-r0"


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ("mobile", "*operator partition needs a chain of 2 tiers, for example mobile+edge*"),
        ("mobile+edge", "*operator identity needs a single tier*"),
        ("mobile,mobile+moon", "*mobile+moon: there is no tier 'moon'*"),
        ("mobile,edge+mobile", "*comes to a tier twice*"),
    ],
)
def test_tiers_that_do_not_fit_are_one_clear_error(chains: Project, tiers: str, sentence: str) -> None:
    result = chains.run("--edgeai-tiers", tiers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])


def test_a_marker_restricts_a_test_to_a_chain(chains: Project) -> None:
    chains.pytester.makepyfile(
        test_suite="""
            import pytest

            @pytest.mark.edgeai(tiers=["mobile+edge"])
            def test_strategy(trial):
                trial()
            """
    )
    assert chains.collected() == ["toy-partition-mobile+edge-r0"]


def test_a_chain_is_measured_through_its_tiers_and_reported_like_any_other(chains: Project) -> None:
    result = chains.run("--edgeai-tiers", "edge,mobile+edge")

    assert result.ret == 0, result.stdout.str()
    assert chains.verdicts() == {"toy-identity-edge": "pass", "toy-partition-mobile+edge": "pass"}
    (trial,) = [trial for trial in chains.results["trials"] if trial["operator"] == "partition"]
    assert trial["tier"] == "mobile+edge"
    assert {"compute", "transmit mobile-edge"} <= set(trial["spans_s"])
    assert {probe["link"] for probe in trial["probes"]} == {"mobile-edge"}
    assert set(trial["tiers"]) == {"mobile", "edge"}
    (made,) = [one for one in chains.results["artifacts"] if one["operator"] == "partition"]
    assert made["provenance"]["equivalence"]["basic_difference"] == 0
    assert made["provenance"]["part_parameters"] == [256, 64]
    whole = next(one for one in chains.results["strategies"] if one["operator"] == "identity")
    parts = next(one for one in chains.results["strategies"] if one["operator"] == "partition")
    assert whole["size_bytes"] < parts["size_bytes"] < 2 * whole["size_bytes"] + 1000


def test_a_session_and_the_analysis_of_its_samples_join_chains_to_tiers_as_the_study_does(chains: Project) -> None:
    assert chains.run("--edgeai-tiers", "mobile,edge,mobile+edge").ret == 0
    summary = chains.report.joinpath("summary.md").read_text(encoding="utf-8")
    assert "Tiers of toy-identity" in summary
    assert "| edge | partition-mobile+edge |" in summary
    # The study's published file has mobile_edge where a session has mobile+edge.
    published = chains.path / "published.csv"
    samples = chains.report.joinpath("samples.csv").read_text(encoding="utf-8")
    published.write_text(samples.replace("mobile+edge", "mobile_edge"), encoding="utf-8")
    found = []
    for number, source in enumerate((chains.report, published)):
        told = chains.path / f"{number}.json"
        assert main(["analyze", str(source), "--json", str(told)]) == 0
        found += [json.loads(told.read_text(encoding="utf-8"))["tables"]]
    for tables, chain in zip(found, ("mobile+edge", "mobile_edge"), strict=True):
        labels = {table["operator"]: [group["label"] for group in table["groups"]] for table in tables}
        assert labels == {"identity": ["mobile", "edge", f"partition-{chain}"]}
        assert [pair["delta_a_b"] for pair in tables[0]["pairs"]] == [
            pair["delta_a_b"] for pair in found[0][0]["pairs"]
        ]


def test_a_cut_that_is_not_there_is_refused_with_the_nearest(chains: Project) -> None:
    chains.settings(SETTINGS + '\n[operator_parameters.partition]\ncut = "hiddne"\n')
    result = chains.run("--edgeai-tiers", "mobile+edge", "--edgeai-operators", "partition")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*no cut is after the tensor 'hiddne': did you mean 'hidden'?*"])
