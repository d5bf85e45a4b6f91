"""Tables as text for a terminal of a given width: what does not fit is left out, or follows in further tables."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_edgeai.reporting.fitting import fit

if TYPE_CHECKING:
    import pytest
    from rich.table import Table

_LOG_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table before it is fitted to a width.

    Parameters
    ----------
    headings, rows
        Plain cells; those of column 0 are names.
    importance
        All headings, the most important first.
    essential
        How many of these are shown on any terminal.
    style
        The style of a cell, given its row and heading; empty for none.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    importance: Sequence[str]
    essential: int
    style: Callable[[int, str], str] = lambda _row, _heading: ""


def drawn(sheet: Sheet, width: int, *, colours: bool, whole: bool = False) -> str:
    """The table's lines, none wider than `width`, without a line end after the last.

    Parameters
    ----------
    sheet
        The table.
    width
        Of the terminal.
    colours
        Whether cells have their styles.
    whole
        Whether columns that do not fit follow in further tables; else they are left out.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(
        file=text, width=width, force_terminal=colours, no_color=not colours, highlight=False, legacy_windows=False
    )
    importance, essential = list(sheet.importance), sheet.essential
    while True:
        found = fit(sheet.headings, sheet.rows, importance, essential, width)
        console.print(_table(sheet, found.columns, found.names))
        shown = {sheet.headings[number] for number in found.columns[1:]}
        importance = [heading for heading in importance if heading not in shown]
        if not whole or len(importance) == 1:
            return "\n".join(line.rstrip() for line in text.getvalue().rstrip("\n").split("\n"))
        console.print()
        essential = 2


class Screen:
    """Where the end of a session is written: tables fit, and on a terminal sentences break between words.

    Parameters
    ----------
    reporter
        pytest's.
    """

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self.reporter = reporter
        is_terminal = bool(reporter.isatty)
        # A log has no width; where nobody gives one, there is room for this.
        known = is_terminal or "COLUMNS" in os.environ
        self._width = reporter.config.get_terminal_writer().fullwidth if known else _LOG_WIDTH
        self._wraps = is_terminal  # lines of a log are searched for, as a whole

    @property
    def is_verbose(self) -> bool:
        """Whether everything is shown."""
        return bool(self.reporter.verbosity > 0)

    def sentence(self, text: str, indent: str = "", **markup: bool) -> None:
        """Write a sentence on as many lines as it takes."""
        self.reporter.write_line("\n".join(self.lines(f"{indent}{text}", f"{indent}  ")), **markup)

    def lines(self, sentence: str, further_indent: str = "  ") -> list[str]:
        """The lines that a sentence takes."""
        if not self._wraps:
            return [sentence]
        return textwrap.wrap(
            sentence, self._width, subsequent_indent=further_indent, break_long_words=False, break_on_hyphens=False
        )

    def table(self, sheet: Sheet) -> None:
        """Write a table, and with `-v` the columns that do not fit below it."""
        if sheet.rows:
            text = drawn(sheet, self._width, colours=self.reporter.hasmarkup, whole=self.is_verbose)
            self.reporter.write_line(text)


def _table(sheet: Sheet, columns: Sequence[int], names: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number in columns:
        heading = sheet.headings[number]
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True, overflow="crop")
    for place, (row, name) in enumerate(zip(sheet.rows, names, strict=True)):
        cells = (name if number == 0 else row[number] for number in columns)
        styles = (sheet.style(place, sheet.headings[number]) for number in columns)
        table.add_row(*(Text(cell, style=style) for cell, style in zip(cells, styles, strict=True)))
    return table
