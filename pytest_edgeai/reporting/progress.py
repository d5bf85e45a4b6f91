"""Progress on long work: which artifact is being built, which trial of how many is done, how much time is left.

A line for each; on a terminal the line in the making is written over until it is done.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter  # pytest has no public name for the type of its public method's result

    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.operators.worker import Progress
    from pytest_edgeai.session import MeasuringSession

_MARGIN = 8  # pytest puts its percentage behind lines that reach the edge


class ProgressLines:
    """Writes the lines; also a pytest plugin, to hear of tests that are done.

    Parameters
    ----------
    writer
        The terminal.
    verbosity
        Below 0 nothing is written.
    session
        Where records are looked up.
    trials
        Which trial each test is, by node id.
    """

    def __init__(
        self,
        writer: TerminalWriter,
        verbosity: int,
        session: MeasuringSession,
        trials: dict[str, PlannedTrial],
    ) -> None:
        self._writer = writer
        self._quiet = verbosity < 0
        self._session = session
        self._trials = trials
        self._settled: set[str] = set()
        self._announced: set[str] = set()
        self._begun_at: dict[str, float] = {}
        self._took_s: dict[str, list[float]] = {}

    def artifact(self, progress: Progress) -> None:
        """Write what is going on with an artifact."""
        self._write("artifact", progress)

    def cuts(self, progress: Progress) -> None:
        """Write what is going on with a graph whose cuts are counted."""
        self._write("cuts", progress)

    def _write(self, what: str, progress: Progress) -> None:
        if self._quiet:
            return
        name = "-".join(progress.wanted)
        line = f"edgeai: {what} {progress.number} of {progress.total}, {name}: "
        if progress.note:
            self._over("")
            self._line(f"edgeai: {progress.note}")
        elif progress.done:
            self._over("")
            # With trials, the reason is told with the verdicts; of cuts, where the artifact cannot be made for it.
            is_told_here = what == "artifact" and progress.failure and not self._session.trials
            failure = f": {progress.failure}" if is_told_here else ""
            self._line(f"{line}{progress.stage} after {progress.elapsed_s:.1f} s{failure}")
        elif self._writer.hasmarkup:
            self._over(f"{line}{progress.stage}, {progress.elapsed_s:.0f} s")
        elif name not in self._announced:
            self._announced.add(name)
            self._line(f"{line}building")

    @property
    def is_shown(self) -> bool:
        """Whether anything is written."""
        return not self._quiet

    def add(self, nodeid: str, trial: PlannedTrial) -> None:
        """Expect one more trial."""
        self._trials[nodeid] = trial

    def take_back(self, nodeids: Iterable[str]) -> None:
        """Expect trials once more that seemed to be over."""
        self._settled.difference_update(nodeids)

    def has_line(self, report: pytest.CollectReport | pytest.TestReport) -> bool:
        """Whether a report is that of a trial, which gets a line here."""
        return (
            not self._quiet
            and isinstance(report, pytest.TestReport)
            and report.when == "call"
            and not report.skipped
            and report.nodeid in self._trials
        )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Take the time."""
        self._begun_at[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write the line of a trial."""
        trial = self._trials.get(nodeid)
        if trial is None:
            return
        again = trial in self._session.attempts.waiting
        if not again:
            self._settled.add(nodeid)
        self._took_s.setdefault(trial.strategy.id, []).append(time.monotonic() - self._begun_at[nodeid])
        if self._quiet:
            return
        record = self._session.records.get(trial)
        if record is None:
            figures = "not measured"
        elif record.status == "valid":
            figures = f"median {np.median(record.latencies_s) * 1e3:.2f} ms"
        else:
            figures = f"{'to measure again' if again else 'invalid'}: {record.reason}"
        width, waiting = len(str(len(self._trials))), len(self._session.attempts.waiting)
        retries = f" ({waiting} to measure again)" if waiting else ""
        done = f"{len(self._settled):{width}}/{len(self._trials)}{retries}"
        line = f"  trial {done}, {self._left()} left: {trial.id}, {figures}"
        if self._writer.hasmarkup:
            line = line[: max(40, self._writer.fullwidth - _MARGIN)]
        self._writer.write(f"\n{line}", flush=True)

    def _left(self) -> str:
        """An estimate from what each strategy took so far, or, not yet tried, from what all took."""
        remaining = [trial for nodeid, trial in self._trials.items() if nodeid not in self._settled]
        means = {name: statistics.fmean(values) for name, values in self._took_s.items()}
        overall = statistics.fmean(means.values())
        seconds = round(sum(means.get(trial.strategy.id, overall) for trial in remaining))
        return f"{seconds // 60}:{seconds % 60:02}"

    def _line(self, text: str) -> None:
        self._writer.line(text)
        self._writer.flush()

    def _over(self, text: str) -> None:
        if self._writer.hasmarkup:
            width = self._writer.fullwidth - 1
            self._writer.write(f"\r{text[:width]:<{width}}\r", flush=True)
