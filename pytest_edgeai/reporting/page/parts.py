"""What the page consists of: sections of sentences, tables and plots, as plain values that know no HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Spec: TypeAlias = Mapping[str, Any]
"""A Vega-Lite specification without data."""

NO_KEYS: Mapping[str, str] = {}
STRIPPED = 640
"""Width in pixels of a plot that is not on a page."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Parameters
    ----------
    cells
        As people read them; the first one names the row.
    keys
        Its `model`, `operator` and `tier`, by which the page filters it; none of them where it always counts.
    state
        A verdict, an outcome or a magnitude, by which the row or its cells are marked; or empty.
    """

    cells: Sequence[str]
    keys: Mapping[str, str] = field(default_factory=dict)
    state: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Parameters
    ----------
    name
        For its file and its place on the page: lower case, without blanks.
    caption
        What it holds.
    headings
        Of the columns.
    rows
        Each has as many cells as there are headings.
    texts
        How many columns, from the first, are text; the others are numbers.
    keys
        By which the whole table is filtered.
    """

    name: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[Row]
    texts: int = 1
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, with a table that says the same.

    Parameters
    ----------
    name
        For its file and its place on the page: lower case, without blanks.
    title, caption
        What it shows, and how to read it.
    spec
        How it is drawn.
    rows
        What is drawn. Where a row has the keys `model`, `operator` or `tier`, the page filters it by them.
    table
        The same in words and numbers.
    keys
        By which the whole plot is filtered.
    panel
        Width in pixels of one of its panels, where it has several; the page chooses how many stand side by side.
    """

    name: str
    title: str
    caption: str
    spec: Spec
    rows: Sequence[Mapping[str, Any]]
    table: Table
    keys: Mapping[str, str] = field(default_factory=dict)
    panel: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """A list of sentences, each with its state, or preformatted text."""

    name: str
    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it is, folded away under a title."""

    name: str
    title: str
    text: str


Part: TypeAlias = Plot | Table | Lines | Text


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page; one without parts is left out.

    Parameters
    ----------
    name
        Its anchor.
    title, introduction
        What it is about, and what one has to know to read it.
    parts
        In their order.
    """

    name: str
    title: str
    introduction: Sequence[str]
    parts: Sequence[Part]

    @property
    def tables(self) -> list[Table]:
        """All tables, those beside plots included."""
        return [
            part if isinstance(part, Table) else part.table for part in self.parts if isinstance(part, Table | Plot)
        ]

    @property
    def plots(self) -> list[Plot]:
        """All plots."""
        return [part for part in self.parts if isinstance(part, Plot)]


def standing_alone(plot: Plot) -> dict[str, Any]:
    """The specification with its data and a width, for a file of its own."""
    spec = {**plot.spec, "data": {"values": [dict(row) for row in plot.rows]}, "title": plot.title}
    if spec.get("width") == "container":
        spec["width"] = STRIPPED
        spec.pop("autosize", None)
    return spec
