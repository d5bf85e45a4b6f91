"""The history of saved sessions: what is read, where it changed, what is pruned, and the formats of other tools."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.commands.cli import main
from pytest_edgeai.errors import VersionError
from pytest_edgeai.reporting.history import sentences
from pytest_edgeai.versions import storage
from pytest_edgeai.versions.exchange import read, write
from pytest_edgeai.versions.history import History, in_order, make_history
from pytest_edgeai.versions.storage import INDEX, PRUNED, read_storage
from pytest_edgeai.versions.summaries import Summary
from tests.saved_sessions import MACHINE, commit_of, save, session, twelve

EDGE = "bert-sptq-edge"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A storage with the sessions of twelve commits."""
    made = tmp_path / ".benchmarks"
    twelve(made)
    return made


def found(folder: Path, **selection: Any) -> History:
    return make_history(read_storage(folder).sessions, **selection)


def run(folder: Path, *arguments: str) -> int:
    return main(["history", *arguments, f"--storage={folder}"])


def ranges(history: History) -> set[tuple[str, str, str, str]]:
    """Each change by strategy, quantity and the commits on either side."""
    sessions = history.sessions
    return {
        (one.strategy, one.quantity.name, sessions[one.last].commit, sessions[one.first].commit)
        for one in history.changes
    }


def test_changes_have_the_commits_on_either_side_and_their_size(folder: Path) -> None:
    history = found(folder)
    slower, worse = (commit_of(4), commit_of(5)), (commit_of(8), commit_of(9))
    assert ranges(history) == {
        (EDGE, "latency", *slower),
        (EDGE, "compute", *slower),
        (EDGE, "CPU time", *slower),
        (EDGE, "transmit mobile-edge", *slower),
        (EDGE, "top1", *worse),
        ("bert-identity-cloud", "top1", *worse),
    }
    assert all(one.is_worse for one in history.changes)
    latency = next(one for one in history.changes if one.quantity.name == "latency")
    assert latency.low < 0.3 < latency.high
    assert latency.after / latency.before == pytest.approx(1 + latency.change)
    accuracy = next(one for one in history.changes if one.quantity.name == "top1")
    assert (accuracy.change, accuracy.before, accuracy.after) == (-4, 95, 91)


def test_medians_are_those_of_all_requests_of_the_trials(tmp_path: Path) -> None:
    document = session(0, {EDGE: 0.02}, trials=3, requests=5)
    save(tmp_path, document, 1)
    (one,) = read_storage(tmp_path).sessions
    trials = document["edgeai"]["strategies"][EDGE]["trials"]
    every = sorted(value for trial in trials for value in trial["latency_s"])
    assert one.values[EDGE]["latency"] == pytest.approx(every[7])
    assert one.values[EDGE]["compute"] == pytest.approx(0.5 * every[7])
    assert (one.values[EDGE]["top1"], one.values[EDGE]["size"]) == (95.0, 2e6)
    assert one.keys == {EDGE: ("bert", "sptq", "edge")}


def test_sessions_are_in_the_order_of_their_commits_and_then_of_their_times(folder: Path) -> None:
    ordered = in_order(reversed(read_storage(folder).sessions))
    assert [one.commit for one in ordered] == [commit_of(number) for number in range(12)]
    late = replace(ordered[3], saved_at="2027-01-01T00:00:00+00:00", file="late")
    elsewhere = replace(ordered[3], committed_at="2026-01-04T09:00:00+09:00", file="same moment in Tokyo")
    assert [one.file for one in in_order([late, elsewhere, *ordered])][3:6] == [
        ordered[3].file,
        "same moment in Tokyo",
        "late",
    ]


def test_sessions_under_other_conditions_and_of_other_branches_are_left_out_with_a_sentence(folder: Path) -> None:
    sessions = list(read_storage(folder).sessions)
    strange = [replace(one, conditions="other", file=f"other {one.file}") for one in sessions[:3]]
    assert make_history([*strange, *sessions]).remarks[0].startswith("3 of 15 sessions are left out")
    feature = [replace(one, branch="feature", file=f"feature {one.file}") for one in sessions[:2]]
    history = make_history([*feature, *sessions])
    assert "the sessions are of several branches: main (12), feature (2)" in history.remarks[0]
    assert len(make_history([*feature, *sessions], branch="main").sessions) == 12
    with pytest.raises(VersionError, match="--branch: there is no saved session of branch 'mian'; did you mean 'main'"):
        make_history(sessions, branch="mian")
    unsigned = [replace(one, signed=False) for one in sessions]
    assert make_history(unsigned).remarks[0].startswith("12 of 12 sessions were saved before sessions had checksums")


def test_a_step_between_two_sessions_of_one_commit_is_not_blamed_on_a_commit(tmp_path: Path) -> None:
    for number in range(10):
        document = session(0, {EDGE: 0.02 if number < 5 else 0.04})
        document["datetime"] = f"2026-01-{number + 1:02d}T00:00:00+00:00"
        del document["edgeai"]["checksum"]
        save(tmp_path, document, number + 1)
    history = found(tmp_path)
    assert {history.between(one) for one in history.changes} == {f"between two sessions of {commit_of(0)[:8]}"}


def test_a_time_that_changed_around_the_same_artifact_and_code_is_blamed_on_the_host(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = [replace(one, contents={EDGE: "same"}) for one in read_storage(folder).sessions]
    history = make_history(sessions, strategies=[EDGE])
    times = [one for one in history.changes if one.quantity.unit == "s"]
    assert len(times) == 4
    assert all(one.is_unchanged and not one.is_worse and not one.is_better for one in times)
    assert [one.quantity.name for one in history.changes if one.is_worse] == ["top1"]
    assert any("so it was the host" in line for line in sentences(history))
    others: list[dict[str, Any]] = [{"code": "other"}, {"contents": {EDGE: "other"}}, {"contents": {}}]
    for changed in others:
        spoiled = [replace(one, **changed) if one.committed_at >= "2026-01-06" else one for one in sessions]
        assert not any(one.is_unchanged for one in make_history(spoiled).changes)


def test_files_are_opened_once_and_again_when_they_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = storage.read_session

    def reading(path: Path, name: str) -> Summary | None:
        opened.append(name)
        return original(path, name)

    monkeypatch.setattr(storage, "read_session", reading)
    first = read_storage(folder)
    assert len(opened) == 12
    assert read_storage(folder) == first
    assert len(opened) == 12
    path = save(folder, session(11, {EDGE: 0.5}), 12)
    os.utime(path, ns=(1, 1))
    changed = in_order(read_storage(folder).sessions)[-1]
    assert len(opened) == 13
    assert changed.values[EDGE]["latency"] == pytest.approx(0.5, rel=0.1)
    (folder / INDEX).write_text("{", encoding="utf-8")
    assert len(read_storage(folder).sessions) == 12
    assert len(opened) == 25


def test_damaged_sessions_are_named_and_left_out_and_other_files_do_not_matter(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = sorted((folder / MACHINE).iterdir())[:3]
    document = json.loads(first.read_text(encoding="utf-8"))
    trial = document["edgeai"]["strategies"][EDGE]["trials"][0]
    trial["latency_s"] = [0.25 * one for one in trial["latency_s"]]
    first.write_text(json.dumps(document), encoding="utf-8")
    second.write_bytes(second.read_bytes()[:-100])
    third.write_text('{"benchmarks": []}', encoding="utf-8")
    for _ in range(2):  # they are not forgotten
        assert run(folder) == 1
        printed = capsys.readouterr()
        assert "9 sessions of 9 commits" in printed.out
        lines = printed.err.splitlines()
        assert len(lines) == 2
        assert f"{MACHINE}/{first.name} is not what was saved" in lines[0]
        assert f"{MACHINE}/{second.name} is no JSON" in lines[1]


def test_the_terminal_has_no_line_wider_than_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(folder, "--strategy=bert-*-edge") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert f"between {commit_of(4)[:8]} and {commit_of(5)[:8]}, 2026-01-06:" in lines
    assert any(line.startswith("  bert-sptq-edge: latency +2") for line in lines)
    assert not any("bert-identity-cloud" in line for line in lines)


@pytest.mark.parametrize(("newest", "code"), [(2, 0), (3, 1), (12, 1)])
def test_a_job_that_watches_fails_where_one_of_the_newest_sessions_began_to_be_worse(
    folder: Path, newest: int, code: int
) -> None:
    assert run(folder, f"--fail-within={newest}") == code
    assert run(folder, f"--fail-within={newest}", "--min-points=5", "--min-change=50%") == 0


def test_json_and_csv_have_every_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    series = {(one["strategy"], one["quantity"]): one for one in document["series"]}
    assert series[EDGE, "top1"]["values"] == [95.0] * 9 + [91.0] * 3
    assert {
        (one["last_before"], one["first_after"]) for one in document["changes"] if one["quantity"] == "latency"
    } == {(commit_of(4), commit_of(5))}
    assert run(folder, "--csv", "--last=2") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["value"] for row in rows if (row["strategy"], row["quantity"]) == (EDGE, "top1")] == ["91.0", "91.0"]
    assert {row["commit"] for row in rows} == {commit_of(10), commit_of(11)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy=resnet-*"], "no saved session has a strategy like 'resnet-*' (known: "),
        (["--branch=other"], "there is no saved session of branch 'other'"),
        (["--commit-url=javascript:alert(1)//{commit}"], "is no address of commits"),
        (["--commit-url=https://example.org/"], "with {commit} in it"),
        (["--from=missing.js"], "missing.js cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_storage_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nowhere") == 2
    assert "no session is saved in" in capsys.readouterr().err
    assert main(["history", "--storage=elasticsearch+http://there"]) == 2
    assert "sessions are found in files only" in capsys.readouterr().err
    assert run(tmp_path) == 2
    assert "there is no saved session of pytest-edgeai" in capsys.readouterr().err


def test_pruning_deletes_the_oldest_files_and_keeps_their_history(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder / MACHINE / "0013_other.json"
    other.write_text('{"benchmarks": []}', encoding="utf-8")
    before = found(folder)
    files = sorted((folder / MACHINE).iterdir())
    capsys.readouterr()
    assert main(["history", "prune", "--keep=4", "--dry-run", "--storage", str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sorted((folder / MACHINE).iterdir()) == files
    assert not (folder / PRUNED).exists()
    assert main(["history", "prune", "--keep=4", "--storage", str(folder)]) == 0
    assert [line.replace("deleted", "would delete") for line in capsys.readouterr().out.splitlines()] == said
    assert [line.split()[2] for line in said[:-1]] == [f"{MACHINE}/{path.name}" for path in files[:8]]
    assert sorted((folder / MACHINE).iterdir()) == files[8:]
    after = found(folder)
    assert after.sessions == before.sessions
    assert ranges(after) == ranges(before)
    assert main(["history", "prune", "--keep=4", "--storage", str(folder)]) == 0
    assert "deleted 0 sessions" in capsys.readouterr().out
    (folder / PRUNED).write_text("{}\n", encoding="utf-8")
    assert run(folder) == 2
    assert "line 1 of" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["github-action-benchmark-data", "asv"])
def test_what_is_written_for_another_tool_is_read_as_it_was(folder: Path, tmp_path: Path, form: str) -> None:
    history = found(folder)
    target = tmp_path / "written"
    write(history.sessions, target, form)
    again = make_history(read(target))
    assert ranges(again) == ranges(history)
    for one, other in zip(history.sessions, again.sessions, strict=True):
        assert other.quantities == one.quantities
        assert other.values.keys() == one.values.keys()
        assert all(other.values[name] == pytest.approx(values) for name, values in one.values.items())
        for key in ("commit", "committed_at", "saved_at", "branch", "dirty", "conditions", "keys", "contents", "code"):
            assert getattr(other, key) == getattr(one, key)


def test_the_newest_session_is_written_for_github_and_bencher(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = found(folder).sessions[-1]
    forms = ("github-action-benchmark", "github-action-benchmark-larger", "bencher")
    for form in forms:
        arguments = ["history", "export", f"--format={form}", str(tmp_path / form), f"--storage={folder}"]
        assert main(arguments) == 0
    smaller, larger, metrics = (json.loads((tmp_path / form).read_text(encoding="utf-8")) for form in forms)
    by_name = {one["name"]: one for one in smaller}
    assert by_name[f"{EDGE}/latency"]["unit"] == "ms"
    assert by_name[f"{EDGE}/latency"]["value"] == pytest.approx(newest.values[EDGE]["latency"] * 1e3)
    assert {one["name"]: one["value"] for one in larger} == {
        f"{EDGE}/top1": 91.0,
        "bert-identity-cloud/top1": 91.0,
    }
    assert metrics[EDGE]["latency"]["value"] == pytest.approx(newest.values[EDGE]["latency"] * 1e9)
    assert metrics[EDGE]["file-size"] == {"value": 2e6}


def test_the_history_of_another_project_is_read_from_github_action_benchmarks_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        {
            "commit": {"id": commit_of(number), "timestamp": f"2026-02-{number + 1:02d}T12:00:00+01:00", "url": ""},
            "date": 1_770_000_000_000 + 86_400_000 * number,
            "tool": "cargo",
            "benches": [
                {"name": "fib", "value": (100, 101, 99)[number % 3] * (2 if number > 6 else 1), "unit": "ns/iter"},
                {"name": "load", "value": 10, "unit": "MB"},
            ],
        }
        for number in range(12)
    ]
    path = tmp_path / "data.js"
    document = {"lastUpdate": 0, "repoUrl": "", "entries": {"Rust": entries}}
    path.write_text(f"window.BENCHMARK_DATA = {json.dumps(document, indent=2)}", encoding="utf-8")
    assert main(["history", f"--from={path}", "--json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["strategy"], change["first_after"], change["worse"]) == ("Rust: fib", commit_of(7), True)
    assert (change["before"], change["after"]) == pytest.approx((1e-7, 2e-7), rel=0.02)


def test_results_of_asv_are_read_with_their_parameters(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    described = {
        "version": 2,
        "time_it": {"name": "time_it", "type": "time", "unit": "seconds", "params": [["1", "2"]]},
    }
    (tmp_path / "benchmarks.json").write_text(json.dumps(described), encoding="utf-8")
    (tmp_path / "vm" / "machine.json").write_text("{}", encoding="utf-8")
    results = {"time_it": [[0.5, None], [["1", "2"]], "v"]}
    document = {
        "commit_hash": commit_of(1),
        "date": 1_770_000_000_000,
        "result_columns": ["result", "params", "version"],
        "results": results,
        "version": 2,
    }
    (tmp_path / "vm" / "abc-env.json").write_text(json.dumps(document), encoding="utf-8")
    (one,) = read(tmp_path)
    assert one.values == {"time_it(1)": {"latency": 0.5}}
    assert one.commit == commit_of(1)
