"""`edgeai analyze`: what it writes, and one clear sentence for every file that cannot be used."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_edgeai.cli import main
from pytest_edgeai.latency_files import LatencyFileError, read_latencies

from .stats.paper import PAPER

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
        assert table["kruskal"] == pytest.approx(expected["kruskal"], rel=1e-9)
        assert table["blocked"]["friedman"]["q"] == pytest.approx(expected["blocked"]["q"], rel=1e-9)
        for pair, wanted in zip(table["pairs"], expected["pairs"], strict=True):
            texts = ("a", "b", "magnitude")
            assert [pair.pop(key) for key in texts] == [wanted[key] for key in texts]
            assert pair == pytest.approx(without(wanted, *texts, "delta_num", "delta_den"), rel=1e-8)
    for strategy in document["strategies"]:
        assert set(strategy) == {"model", "operator", "tier", "n", "median_s", "p95_s", "shapiro"}
        assert set(strategy["shapiro"]) == {"w", "p"}
    assert document["settings"] == {"alpha": 0.05, "p_adjust": "holm", "inputs": 6}


def test_the_papers_file_gives_the_papers_tables(capsys: pytest.CaptureFixture[str]) -> None:
    if not (PAPER / "latencies.csv").is_file():
        pytest.skip(f"the paper's measurements are not beside this repository: no {PAPER}")
    golden = json.loads((PAPER / "golden.json").read_text(encoding="utf-8"))

    document = analysed(capsys, PAPER / "latencies.csv", "--p-adjust", "none")

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
    assert "Kruskal–Wallis H = 3.857 on 1 df, p = 0.0495." in printed.out
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

    pictures = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert set(pictures) == {"operators-of-bert-on-edge.png", "q-q-of-bert.png"}
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
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


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BAD_FILES = {
    "empty": ("", "{file} is empty: it needs a line with the columns model,operator,tier,run,latency_s, and rows"),
    "header only": (HEADER + "\n", "{file} holds no latencies: there is nothing below its header"),
    "missing column": (
        replaced("latency_s", "latency_ms"),
        "{file}, line 1: there is no column latency_s; the first line must name model,operator,tier,run,latency_s "
        "(in any order, others are ignored), and it names model,operator,tier,run,latency_ms",
    ),
    "semicolons": (GOOD.replace(",", ";"), "{file}, line 1: there is no column model; *; separate columns by commas"),
    "twice the same column": (
        replaced("tier,run", "tier,run,run"),
        "{file}, line 1: the column run is there 2 times; keep one",
    ),
    "NaN": (replaced("0.0055", "NaN"), "{file}, line 6: latency_s is NaN, which is no latency; mend or delete the row"),
    "infinite": (replaced("0.0055", "inf"), "{file}, line 6: latency_s is inf, which is no latency; *"),
    "negative": (
        replaced("0.0055", "-0.0055"),
        "{file}, line 6: latency_s is -0.0055, which is negative; mend or delete the row",
    ),
    "text": (
        replaced("0.0055", "fast"),
        "{file}, line 6: latency_s is 'fast', which is not a number; give seconds such as 0.0123, or delete the row",
    ),
    "nothing": (replaced("0.0055", ""), "{file}, line 6: latency_s is '', which is not a number; *"),
    "a decimal comma": (replaced("0.0055", '"0,0055"'), "{file}, line 6: latency_s is '0,0055', which is not a *"),
    "underscores": (replaced("0.0055", "1_0"), "{file}, line 6: latency_s is '1_0', which is not a number; *"),
    "an empty name": (
        replaced("bert,sptq,edge,1", "bert,,edge,1"),
        "{file}, line 6: operator is empty; name it or delete the row",
    ),
    "a run that is text": (
        replaced("sptq,edge,1", "sptq,edge,first"),
        "{file}, line 6: run is 'first', which is no whole number; number the runs from 0",
    ),
    "cut off within a row": (
        GOOD[: GOOD.rindex(",2,")],
        "{file}, line 7: there are 3 values for 5 columns, and the file ends there: it seems to be cut off; *",
    ),
    "cut off within quotes": (
        GOOD + 'bert,"spt',
        "{file}, line 8: this is no CSV (unexpected end of data); mend the line, or copy the file again *",
    ),
    "too few values": (
        replaced("sptq,edge,1,", "sptq,edge,"),
        "{file}, line 6: there are 4 values for 5 columns; mend or delete the line",
    ),
    "too many values": (
        replaced("0.0055", "0.0055,1"),
        "{file}, line 6: there are 6 values for 5 columns; mend or delete the line",
    ),
    "two samples": (
        replaced("bert,sptq,edge,1,0.0055\n", ""),
        "{file}, line 5 and line 6: the strategy bert-sptq-edge has 2 samples, and 3 are needed; measure it again or "
        "delete its rows",
    ),
    "one sample": (
        GOOD + "bert,qat,edge,0,1\n",
        "{file}, line 8: the strategy bert-qat-edge has 1 sample, and 3 are needed; *",
    ),
    "equal samples": (
        GOOD.replace("0.0055", "0.006").replace("0.007", "0.006"),
        "{file}, line 5 to line 7: all 3 samples of the strategy bert-sptq-edge equal 0.006 s, as no clock shows; "
        "measure it again or delete its rows",
    ),
    "broken JSON": ("{\n ", "{file}, line 2: this is no JSON (*); copy the file again if it is cut off"),
    "another JSON": ("{}", "{file} is JSON, but neither pytest-benchmark's nor a session's results.json"),
    "another project's benchmark": (
        '{"benchmarks": [{"name": "test_it", "extra_info": {}, "stats": {"data": [1]}}]}',
        "{file}: the benchmark 'test_it' is no trial of pytest-edgeai: *",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_used_is_one_sentence_and_exit_code_2(
    content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")

    assert main(["analyze", str(path), "--json", "-"]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    pytest.LineMatcher(printed.err.splitlines()).fnmatch_lines(
        [f"error: {sentence}".replace("{file}", str(path)).replace("[", "[[]")], consecutive=True
    )
    assert printed.err.count("\n") == 1


def test_a_file_that_is_not_there_and_one_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, binary = tmp_path / "missing.csv", tmp_path / "binary.csv"
    binary.write_bytes(b"model,operator\n\xff\xfe")

    assert main(["analyze", str(missing)]) == 2
    assert capsys.readouterr().err == f"error: {missing} cannot be read: No such file or directory\n"
    assert main(["analyze", str(binary)]) == 2
    assert capsys.readouterr().err == (
        f"error: {binary}, line 2: this is not UTF-8 text (byte 0xff); save it as UTF-8\n"
    )


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


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    strategies=st.dictionaries(
        st.tuples(names, names, names),
        st.lists(st.floats(0, 1e6), min_size=3, max_size=6).filter(lambda values: len(set(values)) > 1),
        min_size=1,
        max_size=4,
    ),
    shuffle=st.randoms(),
)
def test_what_csv_wrote_is_read_as_it_was(
    strategies: dict[tuple[str, str, str], list[float]], shuffle: random.Random, tmp_path: Path
) -> None:
    rows = [[*name, run, repr(value)] for name, values in strategies.items() for run, value in enumerate(values)]
    shuffle.shuffle(rows)
    path = tmp_path / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER.split(","), *rows])

    found = read_latencies([str(path)])

    assert [[row.model, row.operator, row.tier, row.run, repr(row.latency_s)] for row in found.rows] == rows


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, len(GOOD) - 1))
def test_a_file_that_is_cut_off_is_refused_or_comes_with_a_caution_unless_whole_rows_are_gone(
    length: int, tmp_path: Path
) -> None:
    path = tmp_path / "cut.csv"
    path.write_text(GOOD[:length], encoding="utf-8")
    try:
        latencies = read_latencies([str(path)])
    except LatencyFileError:
        return
    assert latencies.cautions or GOOD[:length].endswith("\n")
