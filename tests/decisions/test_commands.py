"""`edgeai recommend` and `edgeai predict`: options, what is printed, and exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.commands.cli import main
from tests.decisions.reports import LINKS, ROUTES, SCALES, document, model_latency_s, strategy, trial, write

_COMPUTE_S = {"identity": 0.010, "sptq": 0.003}
_LENGTHS = {"m": 3000, "p": 60_000}


def _content(**topology: Any) -> dict[str, Any]:
    """Two models: sentences that are short on links, and photographs that are not."""
    strategies, trials = [], []
    for model, length in _LENGTHS.items():
        for operator, compute_s in _COMPUTE_S.items():
            for tier in SCALES:
                name = f"{model}-{operator}-{tier}"
                latency_s = model_latency_s(tier, compute_s, length, LINKS, SCALES)
                drop = (0.0, 0.0, 0.0) if operator == "identity" else (0.4, 0.1, 0.8)
                size_bytes = 9_000_000 if operator == "identity" else 2_000_000
                strategies.append(strategy(name, drop=drop, size_bytes=size_bytes))
                for replicate in range(6):
                    latencies_s = [latency_s + 1e-5 * (replicate + number) for number in range(5)]
                    sent = dict.fromkeys(ROUTES[tier], length)
                    trials.append(trial(name, latencies_s, compute_s={tier: compute_s}, sent_bytes=sent))
    return document(strategies, trials, **topology)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a report, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return write(tmp_path / "reports" / "2026-01-02T00-00-00", _content())


def _printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_newest_report_of_the_project_is_taken_where_none_is_named(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(report.with_name("2025-01-01T00-00-00"), document([], []))
    assert main(["recommend", "--max-latency", "50ms"]) == 0
    assert report.name in capsys.readouterr().out


def test_a_choice_is_a_decision_record_and_as_json_the_same(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--max-latency", "50ms", "--max-drop", "1.0", "--max-size", "5MB", "--max-memory", "200MB"]
    options += ["--tier", "edge", "--model", "m"]
    assert main(["recommend", str(report), *options]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Strategy of m: m-sptq-edge\n")
    assert "drop +0.40 pp [+0.10 pp, +0.80 pp], at most 1 pp wanted" in text
    assert "| m-identity-edge | no: size |" in text
    assert main(["recommend", str(report), *options, "--json"]) == 0
    (decision,) = _printed(capsys)
    assert decision["choice"] == "m-sptq-edge"
    assert decision["reason"] in text
    assert decision["limits"] == {
        "max_latency_s": 0.05,
        "max_drop": 1.0,
        "max_size_bytes": 5e6,
        "max_memory_bytes": 2e8,
    }
    assert {row["id"]: row["level"] for row in decision["strategies"]} == {
        "m-sptq-edge": "meets",
        "m-identity-edge": "fails",
    }


def test_one_model_without_a_feasible_strategy_is_exit_code_1_and_says_what_would_have_to_give(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", str(report), "--max-latency", "11ms", "--tier", "edge", "--max-drop", "0.3"]) == 1
    text = capsys.readouterr().out
    assert "# Strategy of m: none" in text
    assert "With 0.8 pp instead of 0.3 pp of drop, it would be m-sptq-edge" in text


def test_a_percentile_that_cannot_be_proven_is_no_choice_and_says_how_many_trials_would_do(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recommend", str(report), "--max-latency", "50ms", "--percentile", "95", "--model", "m"]) == 1
    assert "needs more requests for a proof: measure with about" in capsys.readouterr().out


@pytest.mark.parametrize(("objective", "choice"), [("latency", "sptq"), ("size", "sptq"), ("accuracy", "identity")])
def test_the_objective_decides(report: Path, capsys: pytest.CaptureFixture[str], objective: str, choice: str) -> None:
    assert main(["recommend", str(report), "--objective", objective, "--tier", "mobile", "--model", "m", "--json"]) == 0
    assert _printed(capsys)[0]["choice"] == f"m-{choice}-mobile"


def test_settings_ask_as_options_do_and_options_win(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = '[decide]\nmax_size_bytes = "5 MB"\nmodel = "m"\nobjective = "accuracy"\ntier = "mobile"\n'
    report.parents[1].joinpath("edgeai.toml").write_text(settings, encoding="utf-8")
    assert main(["recommend", "--json"]) == 0
    (decision,) = _printed(capsys)
    assert (decision["choice"], decision["limits"]) == ("m-sptq-mobile", {"max_size_bytes": 5e6})
    assert main(["recommend", "--json", "--max-size", "50MB"]) == 0
    assert _printed(capsys)[0]["choice"] == "m-identity-mobile"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["recommend", "--max-latency", "50"], "--max-latency: expected a number with a unit"),
        (["recommend", "--max-size", "5 apples"], "--max-size: expected a number with a unit"),
        (["recommend", "--percentile", "100"], "--percentile: it must be less than 100"),
        (["recommend", "--tier", "egde"], "--tier: there is no tier 'egde'; did you mean 'edge'?"),
        (["recommend", "--model", "x"], "--model: there is no model 'x'"),
        (["recommend", "nowhere"], "nowhere cannot be read: No such file or directory"),
        (["predict", "nowhere"], "nowhere cannot be read: No such file or directory"),
        (["predict", "--tier", "egde"], "--tier: there is no tier 'egde'; did you mean 'edge'?"),
        (["predict", "--link", "mobile-cloud=1Mbit/s"], "--link: there is no link 'mobile-cloud'"),
        (["predict", "--link", "mobile-edge"], "--link: a name, = and a value, not 'mobile-edge'"),
        (["predict", "--link", "mobile-edge=1"], "--link: expected a number with a unit (s, ms"),
        (["predict", "--link", "mobile-edge=1bit/s"], "--link: a rate from 1 kbit/s"),
        (["predict", *["--link", "mobile-edge=1ms"] * 2], "--link: mobile-edge is given twice"),
        (["predict", "--cores", "phone=2"], "--cores: there is no tier 'phone'"),
        (["predict", "--cores", "mobile=two"], "--cores: 'two' is not a number of cores"),
        (["predict", "--cores", "mobile=0"], "--cores: a number above 0 and at most 1024"),
        (["predict", "--cores", "cloud=32"], "--cores: cloud with 32 cores cannot be predicted"),
        (["predict", "--payload", "50"], "--payload: expected a number with a unit"),
        (["predict", "--percentile", "0"], "--percentile: a number above 0 and below 100"),
        (["predict", "--rates", "mobile-edge=5Mbit/s"], "--rates: a range such as mobile-edge=1Mbit/s..200Mbit/s"),
        (["predict", "--rates", "mobile-edge=5Mbit/s..1Mbit/s"], "--rates: the second rate is above the first"),
        (["predict", "--csv", "-"], "--csv needs --rates"),
    ],
)
def test_what_cannot_be_used_is_one_error_and_exit_code_2(
    report: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {sentence}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not the results.json of a report"),
        ('{"format": 1, "version": "0.1", "strategies": [], "trials": []}', "was written by version 0.1"),
    ],
)
def test_a_file_that_is_no_report_of_this_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    tmp_path.joinpath("results.json").write_text(text, encoding="utf-8")
    for command in ("recommend", "predict"):
        assert main([command, str(tmp_path), "--root", str(tmp_path)]) == 2
        assert sentence in capsys.readouterr().err


def test_a_project_without_reports_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--root", str(tmp_path)]) == 2
    assert "has no report: measure first" in capsys.readouterr().err


def test_predicted_latencies_are_those_of_the_model_and_marked_as_predicted(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--link", "edge-mobile=20Mbit/s,5ms", "--cores", "mobile=2", "--json"]
    assert main(["predict", str(report), *options]) == 0
    found = _printed(capsys)
    assert found["predicted"] is True
    rows = {row["id"]: row for row in found["strategies"]}
    near = LINKS["mobile-edge"]
    links = {**LINKS, "mobile-edge": type(near)(20e6, 0.005)}
    for model, length in _LENGTHS.items():
        for operator, compute_s in _COMPUTE_S.items():
            for tier in SCALES:
                row = rows[f"{model}-{operator}-{tier}"]
                expected = model_latency_s(tier, compute_s, length, links, {**SCALES, "mobile": 8.0})
                overhead_s = row["measured_s"] - model_latency_s(tier, compute_s, length, LINKS, SCALES)
                assert row["predicted_s"] == pytest.approx(expected + overhead_s, rel=0.01)
    assert main(["predict", str(report), *options[:-1]]) == 0
    text = capsys.readouterr().out
    assert "Predicted, not measured" in text
    assert "- mobile: 2 cores, compute scale 8" in text


def test_one_model_and_tier_are_predicted_where_they_are_asked_for(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["predict", "--model", "p", "--tier", "edge", "--payload", "120kB", "--percentile", "90", "--json"]) == 0
    )
    found = _printed(capsys)
    assert [row["id"] for row in found["strategies"]] == ["p-identity-edge", "p-sptq-edge"]
    assert found["percentile"] == 90
    for row in found["strategies"]:
        assert row["predicted_s"] - row["measured_s"] == pytest.approx(60_000 * 8 / 200e6)


def test_over_rates_the_best_tier_changes_where_the_lines_cross(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(report), "--model", "p", "--rates", "edge-cloud=1Mbit/s..1000Mbit/s", "--json"]) == 0
    best = [row for row in _printed(capsys)["best"] if row["among"] == "p-identity"]
    assert [row["strategy"] for row in best] == ["p-identity-edge", "p-identity-cloud"]
    edge_s = model_latency_s("edge", 0.010, 60_000, LINKS, SCALES)
    at = {**LINKS, "edge-cloud": type(LINKS["edge-cloud"])(best[0]["high_bps"])}
    assert model_latency_s("cloud", 0.010, 60_000, at, SCALES) == pytest.approx(edge_s, rel=0.02)


def test_curves_are_written_as_csv_and_as_a_plot(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = ["--rates", "edge-cloud=1Mbit/s..100Mbit/s", "--model", "m"]
    assert main(["predict", str(report), *rates, "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["strategy"] for row in rows} == {f"m-{one}-{tier}" for one in _COMPUTE_S for tier in SCALES}
    assert main(["predict", str(report), *rates, "--vega", "plot.json"]) == 0
    plot = json.loads(Path("plot.json").read_text(encoding="utf-8"))
    assert len(plot["data"]["values"]) == len(rows)
    assert "not measured" in plot["title"]
    assert set(rows[0]) == set(plot["data"]["values"][0])
    assert main(["predict", str(report), *rates, "--csv", "nowhere/at.csv"]) == 1
    assert "error: nowhere/at.csv cannot be written: " in capsys.readouterr().err


def test_strategies_that_cannot_be_predicted_are_named_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = _content()
    content["strategies"].append(strategy("m-qat-edge", verdict="invalid"))
    assert main(["predict", str(write(tmp_path, content))]) == 1
    assert "- m-qat-edge: no trial of it is valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"tiers": {"mobile": {"cores": 4, "compute_scale": 3.0}}}, "the compute scale of mobile is set"),
        ({}, "mobile was measured on 4 cores with 4 threads, and how its compute depends"),
    ],
)
def test_cores_whose_effect_is_not_known_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], sentence: str
) -> None:
    content = _content(**changed)
    if not changed:
        content["tiers"]["mobile"].update(cores=4, threads=4)
    assert main(["predict", str(write(tmp_path, content)), "--cores", "mobile=2"]) == 2
    assert sentence in capsys.readouterr().err


def test_links_that_are_not_held_hide_nothing_of_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe = {
        "link": "edge-cloud",
        "small": {"size_bytes": 400, "host_s": 0.01, "took_s": 0.01, "ideal_s": 0.0},
        "large": {"size_bytes": 4000, "host_s": 0.01, "took_s": 0.01, "ideal_s": 0.0},
    }
    predicted = {}
    for shaping in ("held", "kernel"):
        content = _content(shaping=shaping)
        for one in content["trials"]:
            one["probes"] = [{**probe, "direction": direction} for direction in ("up", "down")]
        folder = write(tmp_path / shaping, content)
        assert main(["predict", str(folder), "--link", "edge-cloud=1Gbit/s", "--json"]) == 0
        predicted[shaping] = {row["id"]: row["predicted_s"] for row in _printed(capsys)["strategies"]}
    assert predicted["held"]["m-sptq-cloud"] > predicted["kernel"]["m-sptq-cloud"] + 0.005
    assert predicted["held"]["m-sptq-edge"] == pytest.approx(predicted["kernel"]["m-sptq-edge"])


def test_the_settings_with_their_table_are_read_without_numpy() -> None:
    """Projects that have the plugin installed and do not use it pay nothing."""
    code = "import sys, pytest_edgeai.settings; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
