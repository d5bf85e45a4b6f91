"""Tables of rich as text for pytest's own terminal writer."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def drawn(table: Table, colours: bool) -> str:
    """The table's lines, without a line end after the last."""
    from rich.console import Console

    text = io.StringIO()
    # Wide enough for every column: a terminal wraps a line, but a column left out is lost.
    console = Console(file=text, width=170, force_terminal=colours, no_color=not colours, highlight=False)
    console.print(table)
    return text.getvalue().rstrip("\n")
