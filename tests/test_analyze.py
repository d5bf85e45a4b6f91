"""`edgeai analyze`: what it writes, and one clear sentence for options and outputs that are not possible."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_edgeai.commands.cli import main

from .stats.paper import paper_text

REFERENCE = Path(__file__).parent / "stats" / "reference"
HEADER = "model,operator,tier,run,latency_s"
GOOD = """\
model,operator,tier,run,latency_s
bert,identity,edge,0,0.011
bert,identity,edge,1,0.012
bert,identity,edge,2,0.013
bert,sptq,edge,0,0.006
bert,sptq,edge,1,0.0055
bert,sptq,edge,2,0.007
"""


@pytest.fixture
def answers() -> Any:
    return json.loads((REFERENCE / "answers.json").read_text(encoding="utf-8"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(GOOD, encoding="utf-8")
    return path


def analysed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Any:
    """The JSON that the command prints."""
    assert main(["analyze", *map(str, arguments), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def test_the_json_has_the_promised_keys_and_independently_computed_values(
    capsys: pytest.CaptureFixture[str], answers: Any
) -> None:
    document = analysed(capsys, REFERENCE / "latencies.csv", "--inputs", "6")

    assert set(document) == {"tables", "strategies", "settings", "cautions"}
    for table, expected in zip(document["tables"], answers["tables"], strict=True):
        assert set(table) == {"dimension", "model", "operator", "tier", "groups", "kruskal", "pairs", "blocked"}
        assert table["groups"] == expected["groups"]
        total = sum(group["n"] for group in table["groups"])
        effect = expected["kruskal"]["h"] * (total + 1) / (total**2 - 1)
        assert table["kruskal"] == pytest.approx(expected["kruskal"] | {"epsilon_squared": effect}, rel=1e-9)
        assert table["blocked"]["friedman"]["q"] == pytest.approx(expected["blocked"]["q"], rel=1e-9)
        for pair, wanted in zip(table["pairs"], expected["pairs"], strict=True):
            texts = ("a", "b", "magnitude")
            assert pair.pop("delta_low") <= pair["delta_a_b"] <= pair.pop("delta_high")
            assert [pair.pop(key) for key in texts] == [wanted[key] for key in texts]
            assert pair == pytest.approx(without(wanted, *texts, "delta_num", "delta_den"), rel=1e-8)
    for strategy in document["strategies"]:
        assert set(strategy) == {"model", "operator", "tier", "n", "median_s", "p95_s", "shapiro"}
        assert set(strategy["shapiro"]) == {"w", "p"}
    assert document["settings"] == {"alpha": 0.05, "p_adjust": "holm", "inputs": 6}


def test_the_papers_file_gives_the_papers_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    golden = json.loads(paper_text("golden.json"))
    latencies = tmp_path / "latencies.csv"
    latencies.write_text(paper_text("latencies.csv"), encoding="utf-8")

    document = analysed(capsys, latencies, "--p-adjust", "none")

    assert document["cautions"] == []
    for table, expected in zip(document["tables"], golden["tables"], strict=True):
        assert table["kruskal"]["log10_p"] == pytest.approx(expected["kruskal"]["log10_p"], rel=1e-6)
        for pair, cell in zip(table["pairs"], expected["cells"], strict=True):
            assert (pair["delta_a_b"], pair["magnitude"]) == (cell["delta_a_b"], cell["magnitude"])
            assert pair["log10_p"] == pytest.approx(cell["log10_p_raw"], rel=1e-6)
            assert pair["significant"] == bool(cell["cell"]["raw"])
    hidden = [(t["model"], t["tier"]) for t in document["tables"] if t["blocked"]["words"]]
    assert hidden == [("resnet", "cloud"), ("resnext", "cloud")]


def test_the_order_of_columns_and_rows_and_other_columns_change_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with (REFERENCE / "latencies.csv").open(encoding="utf-8", newline="") as reference:
        rows = list(csv.DictReader(reference))
    random.Random(3).shuffle(rows)
    rows.sort(key=lambda row: row["model"], reverse=True)  # models stand in the order in which they appear
    other = tmp_path / "other.csv"
    with other.open("w", encoding="utf-8-sig", newline="") as written:
        writer = csv.writer(written, quoting=csv.QUOTE_ALL)
        writer.writerow(["latency_s", "note", "run", "tier", " operator ", "model", "load"])
        for row in rows:
            names = [row["tier"], row["operator"], row["model"]]
            writer.writerow([f"{row['latency_s']}\n", "a, b", row["run"], *names, "nan"])

    def tables(path: Path) -> list[Any]:
        return sorted(analysed(capsys, path)["tables"], key=lambda one: (one["model"], one["dimension"], str(one)))

    found, expected = tables(other), tables(REFERENCE / "latencies.csv")
    keys = [(one["model"], one["dimension"], one["operator"], one["tier"]) for one in expected]
    by_key = {(one["model"], one["dimension"], one["operator"], one["tier"]): one for one in found}
    for key, one in zip(keys, expected, strict=True):
        assert by_key[key]["kruskal"] == one["kruskal"]
        deltas = {frozenset((pair["a"], pair["b"])): abs(pair["delta_a_b"]) for pair in one["pairs"]}
        assert {frozenset((p["a"], p["b"])): abs(p["delta_a_b"]) for p in by_key[key]["pairs"]} == deltas


def test_a_caution_and_a_number_are_given_where_nothing_can_be_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    alone = tmp_path / "alone.csv"
    alone.write_text("\n".join(GOOD.splitlines()[:4]) + "\n", encoding="utf-8")

    document = analysed(capsys, alone)

    assert document["tables"] == []
    assert document["strategies"][0]["median_s"] == 0.012
    assert document["cautions"] == [
        "there is nothing to compare: no two strategies differ in operator only, or in tier only"
    ]


def test_a_file_that_is_given_twice_is_read_with_a_caution(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    rows = len(GOOD.splitlines()) - 1
    assert analysed(capsys, tmp_path / "one.csv")["cautions"] == []
    document = analysed(capsys, tmp_path / "one.csv", tmp_path / "two.csv")
    (caution,) = document["cautions"]
    assert caution.startswith(f"{rows} rows repeat others in model, operator, tier, run and latency (first ")
    assert "two.csv, line 2, as " in caution


def test_adjustment_and_level_are_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    reference = REFERENCE / "latencies.csv"

    raw = analysed(capsys, reference, "--p-adjust", "none")
    bonferroni = analysed(capsys, reference, "--p-adjust", "bonferroni", "--alpha", "0.01")

    for table, other in zip(raw["tables"], bonferroni["tables"], strict=True):
        family = len(table["pairs"])
        for pair, adjusted in zip(table["pairs"], other["pairs"], strict=True):
            assert pair["p_adjusted"] == pair["p"]
            assert adjusted["p_adjusted"] == min(1.0, family * pair["p"])
            assert adjusted["significant"] == (adjusted["p_adjusted"] < 0.01 and table["kruskal"]["p"] < 0.01)


@pytest.mark.parametrize(
    "method", ["sidak", "holm-sidak", "simes-hochberg", "hommel", "fdr_bh", "fdr_by", "fdr_tsbh", "fdr_tsbky"]
)
def test_every_adjustment_of_scikit_posthocs_is_known(
    capsys: pytest.CaptureFixture[str], file: Path, method: str
) -> None:
    assert analysed(capsys, file, "--p-adjust", method)["settings"]["p_adjust"] == method


def test_a_logarithm_stays_finite_where_p_underflows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "far.csv"
    rows = [f"m,{name},edge,{i},{base + i * 1e-9!r}" for name, base in (("a", 1.0), ("b", 2.0)) for i in range(3000)]
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")

    (table,) = analysed(capsys, path)["tables"]

    assert table["pairs"][0]["p"] == 0.0
    assert -math.inf < table["pairs"][0]["log10_p"] < -300
    assert main(["analyze", str(path)]) == 0
    assert "<1e-300" in capsys.readouterr().out


def test_tables_are_printed_without_colours_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    assert main(["analyze", str(file)]) == 0
    printed = capsys.readouterr()
    assert "Operators of bert on edge" in printed.out
    assert "Kruskal–Wallis H = 3.857 on 1 df, p = 0.0495, ε² = 0.771." in printed.out
    assert "\x1b[" not in printed.out
    assert printed.err == ""


def test_the_words_are_there_where_the_input_hides_the_operators(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "payload.csv"
    rows = [
        f"m,{name},cloud,{i},{i + 1 + extra}" for name, extra in (("identity", 0), ("sptq", 0.01)) for i in range(9)
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")

    assert main(["analyze", str(path), "--markdown", str(tmp_path / "out.md")]) == 0

    sentence = "the unblocked test (p = 0.691) cannot see a difference between the operators; blocked by input"
    assert sentence in capsys.readouterr().out
    assert sentence in (tmp_path / "out.md").read_text(encoding="utf-8")


def test_a_column_input_tells_the_blocks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "inputs.csv"
    rows = [
        f"m,{name},edge,{i + number * 100},{7 + i % 3},{0.1 + (i % 3) + 0.001 * i + number * 0.01}"
        for number, name in enumerate(("identity", "sptq"))
        for i in range(12)
    ]
    path.write_text("\n".join(["model,operator,tier,run,input,latency_s", *rows]) + "\n", encoding="utf-8")

    (table,) = analysed(capsys, path)["tables"]

    assert table["blocked"]["friedman"]["blocks"] == 3
    assert table["blocked"]["input_share"] > 0.99


def test_figures_csv_and_markdown_are_written(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--figures", str(out), "--csv", str(out), "--markdown", "-"]

    assert main(["analyze", str(file), *options]) == 0

    pictures = {path.name: path.read_text(encoding="utf-8") for path in out.glob("*.svg")}
    operators = "operators-of-bert-on-edge"
    assert set(pictures) == {f"{operators}.svg", f"distributions-of-{operators}.svg", "q-q-of-bert.svg"}
    for content in pictures.values():
        assert ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        assert "sptq" in content
    (pair,) = csv.DictReader((out / "pairs.csv").open(encoding="utf-8", newline=""))
    assert (pair["a"], pair["b"], float(pair["delta_a_b"])) == ("identity", "sptq", 1.0)
    strategies = list(csv.DictReader((out / "strategies.csv").open(encoding="utf-8", newline="")))
    assert [float(row["median_s"]) for row in strategies] == [0.012, 0.006]
    assert "| identity | sptq | 2.00 |" in capsys.readouterr().out


def test_standard_input_is_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert len(analysed(capsys, "-")["strategies"]) == 2


def test_several_files_are_read_as_one(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.csv"
    second.write_text(GOOD.replace("sptq", "qat").replace("identity", "pruned"), encoding="utf-8")
    (table,) = analysed(capsys, file, second)["tables"]
    assert [group["label"] for group in table["groups"]] == ["identity", "sptq", "qat", "pruned"]


def test_a_file_without_a_last_line_end_is_read_with_a_caution(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text(GOOD.rstrip(), encoding="utf-8")
    (caution,) = analysed(capsys, file)["cautions"]
    assert caution.startswith(f"{file}, line 7: the file ends without a line end")
    main(["analyze", str(file)])
    assert f"caution: {caution}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alpha", "5"], "argument --alpha: '5' is not a number between 0 and 1"),
        (["--alpha", "nan"], "argument --alpha: 'nan' is not a number between 0 and 1"),
        (["--p-adjust", "homl"], "argument --p-adjust: unknown p-value adjustment 'homl'; known: none, bonferroni"),
        (["--inputs", "1"], "argument --inputs: '1' is not a whole number of at least 2"),
    ],
)
def test_an_option_that_is_not_possible_is_exit_code_2(
    options: list[str], said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["analyze", str(file), *options])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_output_that_cannot_be_written_is_said(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(file), "--json", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: --json: {tmp_path} cannot be written: Is a directory\n"
    assert main(["analyze", str(file), "--json", "-", "--markdown", "-"]) == 2
    assert "cannot both be printed" in capsys.readouterr().err
