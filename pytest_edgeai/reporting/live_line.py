"""The line of a terminal that is written over while something goes on; elsewhere there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.cells import set_cell_size

from pytest_edgeai.reporting.fitting import shortened

if TYPE_CHECKING:
    import pytest
    from _pytest._io import TerminalWriter  # pytest has no public name for the type of its public method's result


class LiveLine:
    """Writes it, and lines that stay above it.

    Parameters
    ----------
    writer
        The terminal.
    is_live
        Whether there is a line that can be written over.
    """

    def __init__(self, writer: TerminalWriter, *, is_live: bool) -> None:
        self._writer = writer
        self.is_live = is_live
        self._is_written = False

    def over(self, text: str, shortens: str = "") -> None:
        """Write the line in the place of what it was.

        Parameters
        ----------
        text
            What it says; what does not fit is cut off.
        shortens
            A name at its end, which is shortened where it does not fit.
        """
        if not self.is_live:
            return
        width = self._writer.fullwidth - 1  # a terminal may wrap behind its last column
        name = shortened([shortens], max(12, width - len(text)))[0]
        self._writer.write(f"\r{set_cell_size(text + name, width)}\r", flush=True)
        self._is_written = True

    def clear(self) -> None:
        """Leave nothing of it."""
        if self._is_written:
            self._writer.write(f"\r{' ' * (self._writer.fullwidth - 1)}\r", flush=True)
            self._is_written = False

    def stay(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._writer.line(text)
        self._writer.flush()


def has_line_of_its_own(config: pytest.Config) -> bool:
    """Whether a line can be written over: on a terminal to which nobody else writes in between."""
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    is_shared = config.getoption("capture") == "no" or config.getoption("log_cli_level") or config.getini("log_cli")
    return reporter is not None and bool(reporter.isatty) and os.environ.get("TERM") != "dumb" and not is_shared
