"""Latencies from files: one clear sentence for every file that cannot be used, and the others read as they are."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_edgeai.commands.cli import main
from pytest_edgeai.commands.latency_files import LatencyFileError, read_latencies

from .test_analyze import GOOD, HEADER


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


@pytest.mark.parametrize(
    "document",
    [
        {"benchmarks": [1, 2]},
        {"benchmarks": [{"name": "a", "extra_info": {"edgeai": 3}, "stats": {"data": [1.0]}}]},
        {"benchmarks": [{"name": "a", "extra_info": {"edgeai": {}}, "stats": 5}]},
        {"trials": [1]},
        {"trials": [{"model": "m", "operator": "o", "tier": "t", "replicate": "r", "run": 3}]},
        {
            "trials": [
                {
                    "model": "m",
                    "operator": "o",
                    "tier": "t",
                    "replicate": 0,
                    "run": [0],
                    "input": ["x"],
                    "latency_s": [1.0],
                }
            ]
        },
    ],
)
def test_json_of_another_form_is_one_sentence_that_names_the_file(document: object, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(LatencyFileError, match=r"other\.json"):
        read_latencies([str(path)])
