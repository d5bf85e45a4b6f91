"""The files that a session leaves, and that they tell the same."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import numpy as np
import pytest

from pytest_edgeai.commands.cli import main
from pytest_edgeai.reporting.page.rendering import render
from tests.plugin.conftest import SETTINGS, Project


def test_samples_and_results_tell_the_same(project: Project) -> None:
    project.run("--benchmark-only")
    latencies = defaultdict(list)
    with (project.report / "samples.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            latencies[row["model"], row["operator"], row["tier"]].append(float(row["latency_s"]))
            beside = ("latency_s", "cpu_s", "waited_s")
            spans = [
                float(value) for name, value in row.items() if name.endswith("_s") and name not in beside and value
            ]
            assert float(row["cpu_s"]) > 0
            assert 0 <= float(row["waited_s"]) < float(row["latency_s"])
            # transmit_s is the sum of its hops, of which the toys have none
            assert sum(spans) == pytest.approx(float(row["latency_s"]), rel=1e-6, abs=1e-9)
    for strategy in project.results["strategies"]:
        values = latencies[strategy["model"], strategy["operator"], strategy["tier"]]
        assert len(values) == 20
        assert strategy["median_s"] == pytest.approx(np.median(values))
        assert strategy["p95_s"] == pytest.approx(np.percentile(values, 95))
        assert strategy["iqr_s"] == pytest.approx(np.subtract(*np.percentile(values, [75, 25])))


def test_what_a_server_does_not_tell_is_absent_and_not_zero(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_FAULT", "silent")
    project.run("--benchmark-only")
    with (project.report / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        told = {name for name in row if name.endswith("_s") and row[name]}
        assert told == {"latency_s", "exchange_s"}
        assert float(row["exchange_s"]) == pytest.approx(float(row["latency_s"]))
    for strategy in project.results["strategies"]:
        assert set(strategy["spans_s"]) == {"exchange"}
        assert strategy["load_s"] is None
    assert all(set(trial["spans_s"]) == {"exchange"} and trial["load_s"] == {} for trial in project.results["trials"])
    summary = (project.report / "summary.md").read_text(encoding="utf-8")
    line = next(line for line in summary.splitlines() if line.startswith("| toy-identity-edge |"))
    headings = next(line for line in summary.splitlines() if line.startswith("| strategy |")).split(" | ")
    cells = dict(zip(headings, line.split(" | "), strict=True))
    assert {cells[name] for name in ("compute", "stretch", "transmit", "load")} == {"–"}


def test_runs_are_numbered_through_the_replicates_and_tell_the_input(project: Project) -> None:
    project.run("--benchmark-only")
    inputs = {}
    with (project.report / "samples.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["operator"], row["tier"], int(row["run"]))
            assert key not in inputs
            inputs[key] = int(row["input"])
            assert int(row["run"]) // 10 == int(row["replicate"])
    by_position = defaultdict(set)
    for (_, _, run), number in inputs.items():
        by_position[run % 10].add(number)
    assert all(len(numbers) == 1 for numbers in by_position.values())


def test_results_name_the_artifacts_the_host_and_the_settings(project: Project) -> None:
    project.run("--benchmark-only", "--edgeai-seed=5")
    results = project.results
    assert results["seed"] == 5
    assert results["green"] is True
    assert results["host"]["cores"] >= 1
    assert results["backend"]["name"] == "instant"
    assert results["settings"]["replicates"] == 2
    assert results["tiers"]["mobile"]["compute_scale"] >= 1
    assert {(one["model"], one["operator"]) for one in results["artifacts"]} == {("toy", "identity"), ("toy", "worse")}
    for artifact in results["artifacts"]:
        assert len(artifact["digest"]) == 64
        assert artifact["provenance"]["engine"] == "onnx"
        assert artifact["provenance"]["parameters"] == 64
    assert {trial["status"] for trial in results["trials"]} == {"valid"}
    assert sorted(trial["order"] for trial in results["trials"]) == list(range(8))


def test_results_have_the_statistics(project: Project) -> None:
    project.run("--benchmark-only")
    tables = project.results["statistics"]["tables"]
    found = {(table["dimension"], table["model"], table["operator"], table["tier"]) for table in tables}
    assert found == {
        ("operator", "toy", None, "mobile"),
        ("operator", "toy", None, "edge"),
        ("tier", "toy", "identity", None),
        ("tier", "toy", "worse", None),
    }


def test_the_summary_has_a_row_for_each_strategy(project: Project) -> None:
    project.run("--benchmark-only")
    summary = (project.report / "summary.md").read_text(encoding="utf-8")
    for name in project.verdicts():
        assert f"| {name} | pass |" in summary
    assert "### Operators of toy on edge" in summary


def test_the_summary_says_what_tiers_were_given_and_what_is_unproven(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_UNPROVEN", "memory")
    result = project.run("--benchmark-only")
    summary = (project.report / "summary.md").read_text(encoding="utf-8")
    row = next(line for line in summary.splitlines() if line.startswith("| edge | here |"))
    assert row.split("|")[3].strip() == str(project.results["tiers"]["edge"]["cores"])
    assert row.endswith("| memory |")
    sentence = "unproven on tier edge: memory"
    assert sentence in project.results["remarks"]
    assert f"- {sentence}" in summary
    result.stdout.fnmatch_lines([f"edgeai: {sentence}"])


def test_each_session_gets_a_folder_and_latest_leads_to_the_newest(project: Project) -> None:
    project.run("--benchmark-only")
    first = project.report.resolve()
    project.run("--benchmark-only")
    assert project.report.resolve() != first
    assert (first / "results.json").is_file()


def test_reports_go_where_the_option_says(project: Project) -> None:
    project.run("--benchmark-only", "--edgeai-report=elsewhere")
    assert (project.path / "elsewhere" / "latest" / "results.json").is_file()


def test_pytest_benchmarks_json_has_raw_samples_and_spans(project: Project) -> None:
    project.run("--benchmark-only", "--benchmark-json=out.json")
    document = json.loads((project.path / "out.json").read_text(encoding="utf-8"))
    assert len(document["benchmarks"]) == 8
    for benchmark in document["benchmarks"]:
        details = benchmark["extra_info"]["edgeai"]
        assert len(benchmark["stats"]["data"]) == 10
        assert len(details["spans_s"]["compute"]) == 10
        assert len(details["artifact"]) == 64
        assert benchmark["params"]["edgeai_tier"] in ("mobile", "edge")


def test_what_pytest_benchmark_saves_has_raw_samples_without_being_asked(project: Project) -> None:
    project.run("--benchmark-only", "--benchmark-save=one")
    (saved,) = (project.path / ".benchmarks").rglob("*_one.json")
    document = json.loads(saved.read_text(encoding="utf-8"))
    assert all(len(one["stats"]["data"]) == 10 for one in document["benchmarks"])


def test_pytest_benchmarks_comparison_works_unchanged(project: Project) -> None:
    project.run("--benchmark-only", "--benchmark-save=one")
    result = project.run("--benchmark-only", "--benchmark-compare=0001")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*toy-identity-mobile-r0* (0001_one)*"])


def test_progress_says_which_trial_of_how_many_and_how_long_it_will_take(project: Project) -> None:
    result = project.run("--benchmark-only", "-v")
    result.stdout.re_match_lines([r"  trial 1/8, \d+:\d\d left: toy-\S+, median \d+\.\d\d ms"])
    result.stdout.re_match_lines([r"  trial 8/8, 0:00 left: .*"])


def test_progress_says_which_artifact_is_built(project: Project) -> None:
    project.settings('store = "fresh"\n' + (project.path / "edgeai.toml").read_text(encoding="utf-8"))
    result = project.run("--benchmark-only")
    result.stdout.re_match_lines(
        [
            r"edgeai: artifact 1 of 2, toy-identity: building",
            r"edgeai: artifact 1 of 2, toy-identity: ready after \d+\.\d s",
            r"edgeai: artifact 2 of 2, toy-worse: building",
        ]
    )


def test_a_quiet_session_prints_no_progress(project: Project) -> None:
    assert "trial 1/8" not in project.run("--benchmark-only", "-q").stdout.str()


def test_output_to_a_file_has_no_colours(project: Project) -> None:
    assert "\x1b[" not in project.run("--benchmark-only").stdout.str()
    assert "\x1b[" in project.run("--benchmark-only", "--color=yes").stdout.str()


def test_accuracy_is_tested_on_the_samples_of_each_model(project: Project) -> None:
    project.settings(SETTINGS.replace("default = 100", "default = 2"))
    result = project.run("--benchmark-only", "-v")
    rows = {row["id"]: row["accuracy"] for row in project.results["strategies"]}
    assert rows["toy-identity-edge"]["drop"] == 0
    worse = rows["toy-worse-edge"]
    assert worse == rows["toy-worse-mobile"]
    assert worse["drop_low"] < worse["drop"] < worse["drop_high"]
    assert (worse["budget"], worse["limit"], worse["baseline"]) == ("broken beyond doubt", 2, "identity")
    wrong = round(worse["drop"] * 40 / 100)  # of 40 samples, which the baseline gets right
    assert worse["mcnemar"] == {"only_baseline_right": wrong, "only_operator_right": 0, "p": 2 / 2**wrong}
    result.stdout.re_match_lines([r"toy-worse +.* 2 pp broken beyond doubt"])
    assert "| toy-worse | top-1 |" in (project.report / "summary.md").read_text(encoding="utf-8")


def test_operators_are_compared_over_models_with_the_caveat(project: Project) -> None:
    result = project.run("--benchmark-only", "-v")
    (pair,) = project.results["accuracy_statistics"]["pairs"]
    assert (pair["a"], pair["b"], pair["n"], pair["n_once"]) == ("identity", "worse", 2, 1)
    caveat = project.results["accuracy_statistics"]["caveat"]
    assert "2 values of an operator are 1 of a model and metric, and 1 cannot give a p below 1." in caveat
    assert caveat in (project.report / "summary.md").read_text(encoding="utf-8")
    result.stdout.fnmatch_lines(["Accuracies of operators *: no significant pair", f"  {caveat}"])


def test_the_statistics_are_compared_within_inputs_as_well(project: Project) -> None:
    project.run("--benchmark-only")
    for table in project.results["statistics"]["tables"]:
        assert table["blocked"]["friedman"]["blocks"] == 10
        assert len(table["blocked"]["pairs"]) == len(table["pairs"])
    summary = (project.report / "summary.md").read_text(encoding="utf-8")
    assert "Blocked by input, Friedman's Q" in summary
    assert "| a - b per input |" in summary


def test_the_analysis_of_what_a_session_left_is_that_of_the_session(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run("--benchmark-only", "--benchmark-json=out.json")
    expected = {
        (one["dimension"], one["operator"], one["tier"]): one for one in project.results["statistics"]["tables"]
    }
    capsys.readouterr()
    for name in ("", "samples.csv", "results.json", "../../out.json"):
        assert main(["analyze", str(project.report / name), "--json", "-"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["cautions"] == []
        for table in found["tables"]:
            same = expected[table["dimension"], table["operator"], table["tier"]]
            assert (same["kruskal"], same["blocked"]["friedman"]) == (table["kruskal"], table["blocked"]["friedman"])


def test_a_session_leaves_a_page_with_all_of_its_strategies(project: Project) -> None:
    project.run("--benchmark-only", "--edgeai-seed=5", "--benchmark-save=first")
    page = (project.report / "report.html").read_text(encoding="utf-8")
    results = project.results
    assert results["arguments"][-3:] == ["--benchmark-only", "--edgeai-seed=5", "--benchmark-save=first"]
    assert page == render(results)
    assert all(f'<th scope="row">{one["id"]}</th>' in page for one in results["strategies"])
    assert "--benchmark-only --edgeai-seed=5 --benchmark-save=first" in page
    assert 'id="comparison"' not in page

    project.run("--benchmark-only", "--edgeai-compare=first")
    page = (project.report / "report.html").read_text(encoding="utf-8")
    assert 'id="comparison"' in page
    assert "Trials of both versions" in page
    for row in project.results["comparison"]["strategies"]:
        before, after = row["trial_medians_s"]
        assert [len(before), len(after)] == row["latency"]["trials"] == [2, 2]
        assert min(after) <= row["median_s"][1] <= max(after)
