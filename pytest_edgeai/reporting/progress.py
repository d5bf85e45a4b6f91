"""Progress on long work: which artifact is being built, which trial of how many is running, how much time is left.

On a terminal one line says so and is written over; a log gets a line every few seconds, and `-v` one for every trial.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from pytest_edgeai.reporting.live_line import LiveLine, has_line_of_its_own

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.operators.worker import Progress
    from pytest_edgeai.session import MeasuringSession

_EVERY_S: Final = 5.0
"""How often a log gets a line."""


class ProgressLines:
    """Writes the lines; also a pytest plugin, to hear of tests that begin and end.

    Nothing is written while a trial runs: a thread that did would compete with what is measured.

    Parameters
    ----------
    config
        pytest's.
    session
        Where records are looked up.
    trials
        Which trial each test is, by node id.
    clock
        Seconds, from any moment on.
    """

    def __init__(
        self,
        config: pytest.Config,
        session: MeasuringSession,
        trials: dict[str, PlannedTrial],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = config.get_terminal_writer()
        reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None
        self._reporter = reporter
        verbosity = config.get_verbosity()
        self._quiet = verbosity < 0
        self._says_all = verbosity > 0
        self._live = LiveLine(self._writer, is_live=verbosity == 0 and has_line_of_its_own(config))
        self._session = session
        self._trials = trials
        self._clock = clock
        self._begun_at = self._last_line_at = clock()
        self._settled: set[str] = set()
        self._announced: set[str] = set()
        self._trial_begun_at: dict[str, float] = {}
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
            self._live.stay(f"edgeai: {progress.note}")
        elif progress.done:
            # With trials, the reason is told with the verdicts; of cuts, where the artifact cannot be made for it.
            is_told_here = what == "artifact" and progress.failure and not self._session.trials
            failure = f": {progress.failure}" if is_told_here else ""
            self._live.stay(f"{line}{progress.stage} after {progress.elapsed_s:.1f} s{failure}")
        elif self._live.is_live:
            self._live.over(f"{line}{progress.stage}, {progress.elapsed_s:.0f} s")
        elif name not in self._announced:
            self._announced.add(name)
            self._live.stay(f"{line}building")

    def add(self, nodeid: str, trial: PlannedTrial) -> None:
        """Expect one more trial."""
        self._trials[nodeid] = trial

    def add_for_undecided(self, trials: Sequence[PlannedTrial]) -> None:
        """Say that trials were added, and of which strategies."""
        if trials and not self._quiet:
            names = list(dict.fromkeys(trial.strategy.id for trial in trials))
            rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
            verb = "is" if len(names) == 1 else "are"
            self._reporter.ensure_newline()
            self._live.stay(
                f"edgeai: {len(trials)} more trials, since {', '.join(names[:3])}{rest} {verb} undecided so far"
            )

    def take_back(self, nodeids: Iterable[str]) -> None:
        """Expect trials once more that seemed to be over."""
        self._settled.difference_update(nodeids)

    def replaces(self, report: pytest.CollectReport | pytest.TestReport) -> bool:
        """Whether a report is that of a trial whose letter is left out, because there is a line instead."""
        silent = self._quiet or self._says_all
        return not silent and isinstance(report, pytest.TestReport) and report.nodeid in self._trials

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Take the time, and say which trial runs."""
        trial = self._trials.get(nodeid)
        self._trial_begun_at[nodeid] = self._clock()
        if self._quiet or self._says_all:
            return
        # pytest's own line, of a file and a letter for each test, and ours do not mix.
        self._reporter.showfspath = None if trial is None else False
        if trial is None:
            self._live.clear()
        elif self._live.is_live:
            self._reporter.ensure_newline()
            self._live.over(f"edgeai: {self._head(self._number_running())}", shortens=trial.id)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Say what became of a trial, where that is due."""
        trial = self._trials.get(nodeid)
        if trial is None:
            return
        again = trial in self._session.attempts.waiting
        if not again:
            self._settled.add(nodeid)
        now = self._clock()
        self._took_s.setdefault(trial.strategy.id, []).append(now - self._trial_begun_at[nodeid])
        if self._quiet:
            return
        is_last = len(self._settled) == len(self._trials)
        record = self._session.records.get(trial)
        is_spoiled = record is None or record.status != "valid"
        is_due = is_last or now - self._last_line_at >= _EVERY_S
        if self._says_all:
            self._writer.write(f"\n  {self._head(len(self._settled))}{trial.id}, {self._figures(trial)}", flush=True)
        elif (is_spoiled and not again) if self._live.is_live else (is_spoiled or is_due):
            self._reporter.ensure_newline()
            self._live.stay(f"edgeai: {self._head(len(self._settled))}{trial.id}, {self._figures(trial)}")
            self._last_line_at = now
        if self._live.is_live and is_last:
            self._live.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Leave nothing in front of pytest's own words."""
        self._live.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave nothing in front of the verdicts, and say how long it took."""
        self._live.clear()
        self._reporter.showfspath = None
        if self._live.is_live and self._settled:
            took_s = round(self._clock() - self._begun_at)
            self._live.stay(f"edgeai: {len(self._settled)} of {len(self._trials)} trials in {_minutes(took_s)}")

    def _number_running(self) -> int:
        return min(len(self._settled) + 1, len(self._trials))

    def _head(self, number: int) -> str:
        """Which trial of how many, and how long the rest will take, as far as it is known."""
        waiting = len(self._session.attempts.waiting)
        retries = f" ({waiting} to measure again)" if waiting else ""
        left = f", {_minutes(self._left_s())} left" if self._took_s else ""
        return f"trial {number:{len(str(len(self._trials)))}}/{len(self._trials)}{retries}{left}: "

    def _figures(self, trial: PlannedTrial) -> str:
        record = self._session.records.get(trial)
        if record is None:
            return "not measured"
        if record.status == "valid":
            return f"median {np.median(record.latencies_s) * 1e3:.2f} ms"
        again = trial in self._session.attempts.waiting
        return f"{'to measure again' if again else 'invalid'}: {record.reason}"

    def _left_s(self) -> int:
        """An estimate from what each strategy took so far, or, not yet tried, from what all took."""
        remaining = [trial for nodeid, trial in self._trials.items() if nodeid not in self._settled]
        means = {name: statistics.fmean(values) for name, values in self._took_s.items()}
        overall = statistics.fmean(means.values())
        return round(sum(means.get(trial.strategy.id, overall) for trial in remaining))


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"
