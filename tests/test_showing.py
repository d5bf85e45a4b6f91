"""`edgeai show` and `edgeai figures`: which report, what is written, and one sentence where there is none."""

from __future__ import annotations

import csv
import json
import webbrowser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_edgeai.commands.cli import main
from pytest_edgeai.reporting.figures import latex
from pytest_edgeai.reporting.page.parts import Row, Table
from tests.page.documents import document


def report(parent: Path, name: str) -> Path:
    folder = parent / "reports" / name
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(document(models=("bert",))), encoding="utf-8")
    return folder


def test_the_newest_report_is_opened_and_gets_a_page_where_it_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path, "2026-01-01T00-00-00")
    newest = report(tmp_path, "2026-01-02T00-00-00")
    opened: list[str] = []

    def note(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", note)
    assert main(["show", f"--root={tmp_path}"]) == 0
    page = newest / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert opened == [page.as_uri()]
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_print_opens_nothing_and_a_page_that_is_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report(tmp_path, "2026-01-01T00-00-00")
    (folder / "report.html").write_text("as it was", encoding="utf-8")
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("a browser was opened"))
    assert main(["show", str(folder), "--print"]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").read_text(encoding="utf-8") == "as it was"


def test_without_a_browser_the_path_is_told_and_the_exit_code_is_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report(tmp_path, "2026-01-01T00-00-00")
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert main(["show", str(folder)]) == 2
    told = capsys.readouterr()
    assert told.out == f"{folder / 'report.html'}\n"
    assert told.err.startswith("error: no browser can be opened")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 0, "strategies": []}', '{"format": 1}'])
def test_what_is_no_report_is_refused_in_one_sentence(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(content, encoding="utf-8")
    assert main(["show", str(tmp_path), "--print"]) == 2
    assert main(["figures", str(path), str(tmp_path / "out")]) == 2
    assert all(line.startswith(f"error: {path} ") for line in capsys.readouterr().err.splitlines())
    assert main(["show", f"--root={tmp_path}"]) == 2
    assert main(["show", str(tmp_path / "nothing")]) == 2
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "run pytest --benchmark-only, or name a report",
        "name a folder that has results.json",
    ]


def test_every_plot_is_a_drawing_and_every_table_a_file_in_two_formats(tmp_path: Path) -> None:
    folder, out = report(tmp_path, "2026-01-01T00-00-00"), tmp_path / "out"
    assert main(["figures", str(folder), str(out)]) == 0
    drawings = {path.stem: path.read_text(encoding="utf-8") for path in out.glob("*.svg")}
    assert {"latency-and-drop", "spans-bert", "boxes-bert", "quantiles-bert", "speedups-operators", "cuts"} <= set(
        drawings
    )
    for text in drawings.values():
        marks = [one for one in ET.fromstring(text).iter() if "mark-" in one.get("class", "") and len(one)]
        assert marks
    assert {path.stem for path in out.glob("*.csv")} == {path.stem for path in out.glob("*.tex")}
    with (out / "strategies.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["strategy"] for row in rows] == [one["id"] for one in document(models=("bert",))["strategies"]]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = report(tmp_path, "2026-01-01T00-00-00"), tmp_path / "out"
    out.write_text("a file", encoding="utf-8")
    assert main(["figures", str(folder), str(out)]) == 2
    assert capsys.readouterr().err == f"error: {out} cannot be written: File exists\n"


def test_what_latex_would_take_for_commands_is_escaped() -> None:
    text = latex(Table("name", "a table", ("model_name", "share"), [Row(("a_b & c", "5 %"))]))
    assert r"model\_name & share \\" in text
    assert r"a\_b \& c & 5 \% \\" in text
    assert r"\begin{tabular}{lr}" in text
