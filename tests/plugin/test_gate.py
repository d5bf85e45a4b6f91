"""A session against a saved one: how it is found, what each verdict looks like, and with which exit code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_edgeai.commands.cli import main
from pytest_edgeai.versions.checksum import sign
from tests.plugin.conftest import Project

SETTINGS = """
models = ["toy"]
operators = ["identity", "worse"]
tiers = ["mobile", "edge"]
backend = "instant"
replicates = 4

[profiles.quick]
inputs = 4

[budgets.accuracy_drop_pp]
default = 100

[gate]  # wide, because these sessions are really timed, on a host that may be busy
min_change = 1.0
must_see = 9.0
max_replicates = 1
"""
SLOWER = {"toy-worse-mobile", "toy-worse-edge"}
STEADY = {"toy-identity": 5, "toy-worse": 5}


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    """Files that were saved once, by name: measuring them again for each test would take long."""
    return {}


@pytest.fixture
def gated(project: Project, monkeypatch: pytest.MonkeyPatch, kept: dict[str, bytes]) -> Project:
    """A project whose requests take five milliseconds, with a session saved under the name `main`."""
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps(STEADY))
    project.settings(SETTINGS)
    if not kept:
        assert project.run("--benchmark-only", "--benchmark-save=main").ret == 0
        kept.update({str(saved(project).relative_to(project.path)): saved(project).read_bytes()})
    for name, content in kept.items():
        project.path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        project.path.joinpath(name).write_bytes(content)
    return project


def saved(project: Project) -> Path:
    """The file of the newest saved session."""
    return sorted(project.path.glob(".benchmarks/*/*.json"))[-1]


def outcomes(project: Project) -> dict[str, str]:
    """The newest session's comparison by strategy."""
    return {row["strategy"]: row["outcome"] for row in project.results["comparison"]["strategies"]}


def test_a_session_like_the_saved_one_is_green(gated: Project) -> None:
    result = gated.run("--benchmark-only", "--edgeai-compare=main")
    assert result.ret == 0, result.stdout.str()
    assert set(outcomes(gated).values()) <= {"pass", "inconclusive", "improvement"}
    result.stdout.fnmatch_lines(["*this session against main: *"])


@pytest.mark.parametrize("where", ["this session", "the saved one"])
def test_a_comparison_that_cannot_decide_is_refused_at_collection(gated: Project, where: str) -> None:
    given = ["--edgeai-replicates=1"]
    if where == "the saved one":
        gated.run("--benchmark-only", "--benchmark-save=once", *given)
        given = []
    name = "main" if given else "once"
    result = gated.run("--benchmark-only", f"--edgeai-compare={name}", *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --edgeai-compare: *1 trial of toy-*2 a side at least*--edgeai-replicates 10"])


def test_a_session_is_judged_by_the_window_of_saved_ones_that_is_asked_for(
    gated: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sessions of a branch where none has that name; those with uncommitted changes do not count there."""
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert "cpu_s" in document["edgeai"]["strategies"]["toy-identity-edge"]["trials"][0]
    for number, dirty in enumerate((False, True, False, False, False), start=2):
        document["commit_info"] = {"id": "0" * 40, "branch": "trunk", "dirty": dirty}
        path.with_name(f"{number:04}_nightly.json").write_text(json.dumps(sign(document)), encoding="utf-8")
    result = gated.run("--benchmark-only", "--edgeai-compare=trunk", "--edgeai-window=10")
    assert result.ret in (0, 1), result.stdout.str()
    compared = gated.results["comparison"]
    assert compared["window"] == ["0002_nightly", "0004_nightly", "0005_nightly", "trunk"]
    assert compared["compute_by"] in ("CPU time", "instructions", "wall time")
    assert {one["component"] for row in compared["strategies"] for one in row["components"]} >= {"compute"}
    assert all(row["spread"] for row in compared["strategies"])
    result.stdout.fnmatch_lines(["*judged by the spread between 4 sessions: compute by *"])
    # Of two saved sessions, the later one and what came after it are not in the window.
    capsys.readouterr()
    assert compare(gated, "trunk", "0006_nightly", "--window=9", "--json=-") in (0, 1)
    assert json.loads(capsys.readouterr().out)["window"] == ["0002_nightly", "0004_nightly", "trunk"]
    assert compare(gated, "trunk", "latest", "--window=2", "--json=-") == 2
    assert "a window of 2 sessions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--edgeai-window=10"], "--edgeai-window: it is about saved sessions: give --edgeai-compare as well"),
        (
            ["--edgeai-compare=main", "--edgeai-window=2"],
            "--edgeai-window: a window of 2 sessions does not tell how sessions differ: *",
        ),
        (["--edgeai-compare=latest", "--edgeai-window=3"], "--edgeai-compare: latest is one session, and a window *"),
    ],
)
def test_a_window_that_tells_nothing_is_refused_at_collection(gated: Project, options: list[str], message: str) -> None:
    result = gated.run("--benchmark-only", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_what_cannot_be_decided_is_not_green(gated: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """One trial a side, thirty times as slow: nothing is sure, and nothing is well."""
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))
    for strategy in document["edgeai"]["strategies"].values():
        del strategy["trials"][1:]
    path.with_name("0007_before.json").write_text(json.dumps(sign(document)), encoding="utf-8")
    for strategy in document["edgeai"]["strategies"].values():
        strategy["trials"][0]["latency_s"] = [30 * one for one in strategy["trials"][0]["latency_s"]]
    path.with_name("0008_after.json").write_text(json.dumps(sign(document)), encoding="utf-8")
    assert compare(gated, "before", "after") == 1
    assert "4 inconclusive (not green)" in capsys.readouterr().out
    assert compare(gated, "after", "before") == 0  # faster, or not: no failure, and not green
    assert "4 inconclusive (not green, tolerated)" in capsys.readouterr().out
    gated.settings(SETTINGS + 'inconclusive = "pass"\n')
    assert compare(gated, "before", "after") == 0
    assert "4 inconclusive (not green, tolerated)" in capsys.readouterr().out


def test_a_slowdown_of_everything_is_red_where_the_reference_stayed_and_where_there_is_none(
    gated: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))

    def save(name: str, factor: float, reference_s: float | None) -> None:
        document["edgeai"]["strategies"] = {
            f"s{number}": {
                "artifact": "",
                "trials": [
                    {
                        "input": [0, 1, 2],
                        "latency_s": [factor * (0.1 + 0.001 * trial + 0.01 * one) for one in range(3)],
                        "peak_memory_bytes": None,
                        **({} if reference_s is None else {"reference_s": {"mobile": reference_s}}),
                    }
                    for trial in range(10)
                ],
            }
            for number in range(6)
        }
        path.with_name(f"{name}.json").write_text(json.dumps(sign(document)), encoding="utf-8")

    save("0011_quick", 1.0, 0.002)
    save("0012_slow", 2.82, 0.00202)
    save("0013_slow-host", 2.82, 0.006)
    save("0014_unknown", 2.82, None)
    gated.settings(SETTINGS.replace("min_change = 1.0", "min_change = 0.03"))
    assert compare(gated, "quick", "slow") == 1
    assert "6 regression (not green)" in capsys.readouterr().out
    assert compare(gated, "quick", "slow-host") == 1
    printed = capsys.readouterr().out
    assert "6 inconclusive (not green)" in printed
    assert "but so is the reference computation of its tiers (+200.0%)" in printed
    assert compare(gated, "quick", "unknown") == 1
    printed = capsys.readouterr().out
    assert "6 inconclusive (not green)" in printed
    assert "the reference computation was not measured in both sessions for 6 of the strategies" in printed


def test_what_is_slower_is_red_and_nothing_else(gated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps(STEADY | {"toy-worse": 40}))
    result = gated.run("--benchmark-only", "--edgeai-compare=latest", "--junit-xml=junit.xml")
    assert result.ret == 1
    found = outcomes(gated)
    assert {name for name, outcome in found.items() if outcome == "regression"} == {
        "toy-worse-mobile",
        "toy-worse-edge",
    }
    assert set(gated.verdicts().values()) == {"pass"}  # the budgets are kept; it is the comparison that is red
    result.stdout.fnmatch_lines(["toy-worse-edge: regression: latency +*"])
    comment = (gated.report / "comparison.md").read_text(encoding="utf-8")
    assert comment.startswith("### ❌ ")
    assert "| toy-worse-edge | regression |" in comment
    properties = {one.get("name"): one.get("value") for one in ET.parse(gated.path / "junit.xml").iter("property")}
    assert properties["edgeai.gate"] == "red"
    assert properties["edgeai.gate.toy-worse-edge"] == "regression"
    assert properties["edgeai.gate.toy-identity-edge"] != "regression"


def test_what_is_faster_is_an_improvement(gated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps(STEADY | {"toy-worse": 0}))
    assert gated.run("--benchmark-only", "--edgeai-compare=1").ret == 0
    assert outcomes(gated)["toy-worse-edge"] == "improvement"


def test_what_is_missing_is_red_and_what_is_new_is_not(gated: Project) -> None:
    result = gated.run("--benchmark-only", "--edgeai-compare=main", "--edgeai-tiers=edge")
    assert result.ret == 1
    assert outcomes(gated)["toy-worse-mobile"] == "missing"
    gated.run("--benchmark-only", "--edgeai-tiers=edge", "--benchmark-save=few")
    assert gated.run("--benchmark-only", "--edgeai-compare=few").ret == 0
    assert outcomes(gated)["toy-worse-mobile"] == "new"


def test_a_trial_that_is_invalid_is_red(gated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_FAULT", "deploy edge")
    assert gated.run("--benchmark-only", "--edgeai-compare=main").ret == 1
    assert outcomes(gated)["toy-worse-edge"] == "invalid"
    assert outcomes(gated)["toy-worse-mobile"] != "invalid"


def test_other_settings_are_not_comparable_and_it_says_which(gated: Project) -> None:
    gated.settings(SETTINGS + '\n[topology.links.mobile-edge]\nrate = "100 Mbit/s"\n')
    result = gated.run("--benchmark-only", "--edgeai-compare=main")
    assert result.ret == 1
    assert set(outcomes(gated).values()) == {"incomparable"}
    result.stdout.fnmatch_lines(
        ["main and this session cannot be compared: topology.links.mobile-edge.rate_bps was 2*"]
    )


def test_other_accuracy_and_size_are_regressions(gated: Project) -> None:
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))
    artifact = document["edgeai"]["artifacts"]["toy-worse"]
    artifact["metrics"] = {name: percent + 5 for name, percent in artifact["metrics"].items()}
    document["edgeai"]["artifacts"]["toy-identity"]["size_bytes"] //= 2
    path.write_text(json.dumps(sign(document)), encoding="utf-8")
    result = gated.run("--benchmark-only", "--edgeai-compare=main")
    assert result.ret == 1
    result.stdout.fnmatch_lines_random(
        ["toy-worse-edge: regression: *fell by 5.00 pp*", "toy-identity-edge: regression: *the artifact grew by *"]
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no session is saved in * save one by*"),
        ("{", "*is no JSON*"),
        ("{}", "*holds no session of pytest-edgeai*"),
        ('{"edgeai": {"format": 1}}', "*is not whole*"),
        ('{"edgeai": {"format": 99}}', "*has format 99*"),
    ],
)
def test_a_baseline_that_cannot_be_used_ends_the_session_at_collection(
    project: Project, content: str | None, said: str
) -> None:
    if content is not None:
        folder = project.path / ".benchmarks" / "machine"
        folder.mkdir(parents=True)
        (folder / "0001_main.json").write_text(content, encoding="utf-8")
    result = project.run("--benchmark-only", "--edgeai-compare=latest")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --edgeai-compare: {said}"])


def test_a_name_that_is_not_there_is_named_with_the_nearest_one(gated: Project) -> None:
    result = gated.run("--benchmark-only", "--edgeai-compare=mian")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*mian*main*"])


def test_a_session_is_found_by_the_revision_that_it_was_saved_at(gated: Project) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(["git", *identity, *words], cwd=gated.path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", "conftest.py")
    git("commit", "-qm", "one")
    git("tag", "v1")
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["commit_info"] = {"id": git("rev-parse", "HEAD"), "dirty": False}
    path.write_text(json.dumps(sign(document)), encoding="utf-8")
    git("commit", "-qm", "two", "--allow-empty")
    assert gated.run("--benchmark-only", "--edgeai-compare=v1").ret == 0
    document["commit_info"]["dirty"] = True
    path.write_text(json.dumps(sign(document)), encoding="utf-8")
    result = gated.run("--benchmark-only", "--edgeai-compare=v1")
    result.stdout.fnmatch_lines(["*v1 (*main.json) was saved with changes that were not committed: it is not of that*"])
    assert gated.run("--benchmark-only", "--edgeai-compare=HEAD~1").ret == 0
    assert gated.run("--benchmark-only", "--edgeai-compare=HEAD").ret == pytest.ExitCode.USAGE_ERROR


def compare(project: Project, *arguments: str) -> int:
    return main(["compare", f"--root={project.path}", *arguments])


def test_two_saved_sessions_are_compared_by_the_command(
    gated: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_SLEEP_MS", json.dumps(STEADY | {"toy-worse": 40}))
    gated.run("--benchmark-only", "--benchmark-save=change")
    capsys.readouterr()
    assert compare(gated, "main", "change") == 1
    printed = capsys.readouterr().out
    assert "toy-worse-edge: regression: latency +" in printed
    assert "change against main: " in printed
    assert "\x1b[" not in printed
    assert compare(gated, "change", "main") == 0
    capsys.readouterr()
    files = {name: gated.path / f"found.{name}" for name in ("json", "markdown", "junit", "html")}
    assert compare(gated, "1", "2", *(f"--{name}={path}" for name, path in files.items())) == 1
    document: dict[str, Any] = json.loads(files["json"].read_text(encoding="utf-8"))
    assert document["green"] is False
    assert {row["strategy"] for row in document["strategies"] if row["outcome"] == "regression"} == {
        "toy-worse-mobile",
        "toy-worse-edge",
    }
    failed = [
        case.get("name") for case in ET.parse(files["junit"]).iter("testcase") if case.find("failure") is not None
    ]
    assert sorted(map(str, failed)) == ["toy-worse-edge", "toy-worse-mobile"]
    assert "### ❌ " in files["markdown"].read_text(encoding="utf-8")
    page = files["html"].read_text(encoding="utf-8")
    assert page.index("<strong>toy-worse-edge</strong>") < page.index("Trials of both versions")
    assert "2 against 1: not green" in page


@pytest.mark.parametrize("how", ["edited", "without a checksum", "cut off"])
def test_a_saved_session_that_was_changed_is_refused_and_one_without_a_checksum_is_remarked_on(
    gated: Project, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))
    if how == "without a checksum":
        del document["edgeai"]["checksum"]
    for strategy in document["edgeai"]["strategies"].values():
        for trial in strategy["trials"]:
            trial["latency_s"] = [0.25 * one for one in trial["latency_s"]]
    text = json.dumps(document)
    path.with_name("0005_quick.json").write_text(text[:-500] if how == "cut off" else text, encoding="utf-8")
    code = compare(gated, "main", "quick")
    printed = capsys.readouterr()
    if how == "without a checksum":
        assert code == 0
        assert printed.out.count("0005_quick.json was saved before sessions had checksums") == 1
        assert "0001_main.json" not in printed.out
        return
    assert code == 2
    assert "0005_quick.json" in printed.err
    result = gated.run("--benchmark-only", "--edgeai-compare=quick")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "is not what was saved" if how == "edited" else "is no JSON"
    result.stderr.fnmatch_lines([f"ERROR: --edgeai-compare: *0005_quick.json {said}*"])


@pytest.mark.parametrize("wanted", ["nobody", "missing.json"])
def test_the_command_refuses_what_is_not_there(gated: Project, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(gated, "main", wanted) == 2
    assert wanted in capsys.readouterr().err


def test_a_change_that_is_no_number_is_null_in_json(gated: Project, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(gated)
    document = json.loads(path.read_text(encoding="utf-8"))
    for artifact in document["edgeai"]["artifacts"].values():
        artifact["metrics"] = {"f1": 50.0}
    before = gated.path / "before.json"
    before.write_text(json.dumps(sign(document)), encoding="utf-8")
    compare(gated, str(before), "main", "--json=-")
    rows = json.loads(capsys.readouterr().out)["strategies"]
    assert [row["accuracy_gain"] for row in rows] == [None] * 4
    assert gated.run("--benchmark-only", f"--edgeai-compare={before}").ret in (0, 1)
    assert [row["accuracy_gain"] for row in gated.results["comparison"]["strategies"]] == [None] * 4
