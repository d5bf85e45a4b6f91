"""Progress of `--edgeai-prepare`: which artifacts are built, where, and how long that took.

A line for each artifact that is begun and one when it is done; on a terminal, the line that is written over tells what
all workers are at. Workers of pytest-xdist are heard through a channel of their own, since pytest tells of tests only
when they are over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_edgeai.reporting.cells import megabytes
from pytest_edgeai.reporting.live_line import LiveLine

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter  # pytest has no public name for the type of its public method's result

    from pytest_edgeai.operators.worker import Progress

CHANNEL = "edgeai_progress"
"""Where a worker of pytest-xdist finds its end, in `config.workerinput`."""


FILE: Final = "edgeai-prepare"
"""Stands where node ids have their file."""


def is_preparation(nodeid: str) -> bool:
    """Whether a report is that of a preparation item."""
    return nodeid.startswith(f"{FILE}::")


def open_channel(node: Any, lines: PreparationLines) -> None:
    """Open a worker's channel, in the process that owns the terminal.

    Parameters
    ----------
    node
        pytest-xdist's node, not yet started.
    lines
        What is told of what comes through.
    """
    channel = node.gateway.newchannel()
    channel.setcallback(lambda message: lines.hear(_received(message), node.gateway.id))
    node.workerinput[CHANNEL] = channel


def send_through(channel: Any) -> Callable[[Progress], None]:
    """What a worker tells about progress with: sends it through its channel."""
    return lambda progress: channel.send(astuple(progress))


def _received(message: tuple[Any, ...]) -> Progress:
    from pytest_edgeai.operators.worker import Progress

    return Progress(*message)


class PreparationLines:
    """Writes the lines; a pytest plugin of the process that owns the terminal.

    Parameters
    ----------
    writer
        The terminal.
    verbosity
        Below 0 only the last line is written.
    uncaptured
        Lets through to the terminal what is written within, while an item runs.
    is_live
        Whether there is a line that can be written over.
    """

    def __init__(
        self,
        writer: TerminalWriter,
        verbosity: int,
        uncaptured: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        is_live: bool = False,
    ) -> None:
        self._writer = writer
        self._live = LiveLine(writer, is_live=is_live)
        self._uncaptured = uncaptured
        self._quiet = verbosity < 0
        self._lock = threading.Lock()  # workers are heard in a thread of their own
        self._total = 0
        self._done = 0
        self._built = 0
        self._failed = 0
        self._other_stores: list[str] = []
        self._begun: set[str] = set()
        self._at_work: dict[str, str] = {}
        self._ended: dict[str, str] = {}

    def begin(self, total: int) -> None:
        """Say how many artifacts there are."""
        self._total = total

    def hear(self, progress: Progress, worker: str = "") -> None:
        """What is going on with an artifact.

        Parameters
        ----------
        progress
            The news.
        worker
            Who builds it, under pytest-xdist.
        """
        name = "-".join(progress.wanted)
        where = f" ({worker})" if worker else ""
        with self._lock, self._uncaptured():
            if self._quiet or progress.done:
                self._at_work.pop(name, None)
            elif progress.note:
                self._line(f"edgeai: {name}{where}: {progress.note}")
            elif self._live.is_live:
                self._at_work[name] = f"{name}{where} {progress.stage}, {progress.elapsed_s:.0f} s"
                self._live.over(f"edgeai: {self._done} of {self._total} ready; {'; '.join(self._at_work.values())}")
            elif name not in self._begun:
                self._begun.add(name)
                self._line(f"edgeai: {name}{where}: building")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:  # noqa: ARG002  # a hook
        """Learn how many artifacts there are."""
        self._total = sum(map(is_preparation, ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Learn how an artifact has ended."""
        if not is_preparation(report.nodeid) or not (report.when == "call" or report.failed):
            return
        name = report.nodeid.split("::", 1)[1]
        properties = dict(report.user_properties)
        self._done += 1
        if report.failed:
            self._failed += 1
            words = f"failed after {report.duration:.1f} s"  # pytest tells the reason at the end
        else:
            self._built += bool(properties["edgeai_built"])
            words = _words(properties, report.duration)
        number = f"{self._done} of {max(self._total, self._done)}"
        self._ended[report.nodeid] = f"edgeai: artifact {number}, {name}: {words}"
        if report.passed and not Path(str(properties["edgeai_folder"])).is_dir():
            self._other_stores.append(name)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write the line of an artifact."""
        words = self._ended.pop(nodeid, None)
        if words is None:
            return
        with self._lock:
            self._at_work.pop(nodeid.split("::", 1)[1], None)
            if not self._quiet:
                self._line(words)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Leave nothing in front of pytest's own words."""
        self._live.clear()

    def status(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Outcome and no dot for an artifact, which has its line."""
        if not is_preparation(report.nodeid) or report.when != "call":
            return None
        return ("passed", "", "PASSED") if report.passed else ("failed", "", "FAILED")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Sum up."""
        if not self._done:
            return
        ready = self._done - self._failed
        terminalreporter.write_line(
            f"edgeai: {ready} {'artifact is' if ready == 1 else 'artifacts are'} ready, {self._built} built now"
            + (f"; {self._failed} failed" if self._failed else ""),
            red=bool(self._failed),
            green=not self._failed,
        )
        if self._other_stores:
            terminalreporter.write_line(
                f"edgeai: not in a store of this machine: {', '.join(self._other_stores)}; copy the workers' stores "
                "into this machine's before measuring, or they are built again",
                yellow=True,
            )

    def _line(self, text: str) -> None:
        if self._live.is_live:
            self._live.over("")  # pytest's own words may stand there
            self._live.stay(text)
        else:
            self._writer.write(f"\n{text}", flush=True)


def _words(properties: Mapping[str, Any], duration_s: float) -> str:
    built = f"ready after {duration_s:.1f} s" if properties["edgeai_built"] else "in the store"
    accuracy = ", ".join(properties["edgeai_scores"]) or "accuracy: not measured"
    return f"{built}, {megabytes(properties['edgeai_size_bytes'])}, {accuracy}"
