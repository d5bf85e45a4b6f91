"""Tables that fit a terminal, for any names and widths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pytest_edgeai.reporting.drawing import Sheet, drawn
from pytest_edgeai.reporting.fitting import shortened
from pytest_edgeai.reporting.rows import ESSENTIAL, HEADINGS, IMPORTANCE
from pytest_edgeai.verdicts import OUTCOMES

NAMES = st.text(st.sampled_from("abcdefghij-+>*.[]/µ模型"), min_size=1, max_size=120)
NUMBERS = st.floats(0, 1e5).map(lambda value: f"{value:.2f} ms")


@st.composite
def rows(draw: st.DrawFn) -> list[str]:
    """A row of the verdict table."""
    by_heading = {
        "strategy": draw(NAMES),
        "verdict": draw(st.sampled_from(OUTCOMES)),
        "drop": draw(st.floats(-99, 99)).__format__("+.2f") + " " + draw(st.sampled_from(["pp", "EUR", "m² K / W"])),
        "trials": draw(st.sampled_from(["5/5", "0/30", "30/30, 60 tries"])),
        "accuracy": draw(st.sampled_from(["–", "top-1 95.8 %, top-5 99.6 %", "not measured"])),
    }
    return [by_heading.get(heading) or draw(NUMBERS) for heading in HEADINGS]


def verdicts(given_rows: list[list[str]]) -> Sheet:
    """The verdict table."""
    return Sheet(HEADINGS, given_rows, IMPORTANCE, ESSENTIAL)


@pytest.mark.parametrize("width", [80, 100])
@given(found=st.lists(rows(), min_size=1, max_size=5))
def test_no_line_is_longer_than_the_terminal_and_no_cell_but_a_name_is_cut(width: int, found: list[list[str]]) -> None:
    lines = drawn(verdicts(found), width, colours=False).split("\n")
    assert len(lines) == 1 + len(found)
    assert max(map(cell_len, lines)) <= width
    assert lines[0].split()[:3] == ["strategy", "verdict", "median"]
    for line, row in zip(lines[1:], found, strict=True):
        cells = dict(zip(HEADINGS, row, strict=True))
        for heading in IMPORTANCE[1:ESSENTIAL]:
            assert cells[heading] in line, heading


@given(found=st.lists(rows(), min_size=1, max_size=5), width=st.integers(60, 250))
def test_a_whole_table_shows_every_cell_in_as_many_tables_as_it_takes(found: list[list[str]], width: int) -> None:
    text = drawn(verdicts(found), width, colours=False, whole=True)
    assert max(map(cell_len, text.split("\n"))) <= width
    for heading in HEADINGS:
        assert heading in text
    for row in found:
        for cell in row[1:]:
            assert cell in text


def test_a_wide_terminal_shows_all_columns_in_one_table_and_names_whole() -> None:
    row = ["a-very-long-name-of-a-model-distilled>qat-mobile+edge", *["1.00 ms"] * (len(HEADINGS) - 1)]
    lines = drawn(verdicts([row]), 300, colours=False).split("\n")
    assert lines[0].split("  ")[0] == "strategy"
    assert all(heading in lines[0] for heading in HEADINGS)
    assert lines[1].startswith(row[0])


def test_names_are_whole_where_the_essential_columns_fit_beside_them() -> None:
    name = "n" * 30
    row = [name, "pass", *["1.00 ms"] * (len(HEADINGS) - 2)]
    assert drawn(verdicts([row]), 80, colours=False).split("\n")[1].startswith(name)


def test_columns_are_left_out_from_the_least_important_on() -> None:
    row = ["name", "pass", *["1.00 ms"] * (len(HEADINGS) - 2)]
    for width in range(60, 200):
        heading = drawn(verdicts([row]), width, colours=False).split("\n")[0]
        shown = [name for name in IMPORTANCE if name in heading.replace("link error", "link error")]
        assert shown == list(IMPORTANCE[: len(shown)])


@given(name=NAMES, width=st.integers(1, 60))
def test_a_name_loses_its_middle_and_only_where_it_must(name: str, width: int) -> None:
    (short,) = shortened([name], width)
    assert cell_len(short) <= width
    if cell_len(name) <= width:
        assert short == name
    else:
        start, _, end = short.partition("…")
        assert name.startswith(start)
        assert name.endswith(end)


def test_different_names_stay_different() -> None:
    names = [f"a-long-model-name-distilled>{operator}-mobile+edge+cloud" for operator in ("qat", "sptq", "pruned")]
    assert len(set(shortened(names, 40))) == 3
