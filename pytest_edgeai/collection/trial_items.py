"""Trials as pytest's items while they run: those that are measured again, and those that are added.

pytest's loop looks at its list of items anew after each, so that trials can be put into what remains of it. An item
that is measured again is the same item once more, with fresh fixtures, as pytest provides for reruns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pytest
from _pytest.outcomes import Failed  # pytest.fail.Exception, which type checkers do not take for a class

from pytest_edgeai.collection.parametrization import AXES
from pytest_edgeai.collection.state import BENCHMARK, TRIAL, State

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.measure.attempts import Fate
    from pytest_edgeai.reporting.progress import ProgressLines
    from pytest_edgeai.session import MeasuringSession

_FATE: Final = "edgeai_fate"
_STATUS: Final[dict[Fate, tuple[str, str, str]]] = {
    "again": ("retried", "R", "RETRIED"),
    "set aside": ("invalid", "I", "INVALID"),
}


class Spoiled(Failed):
    """A trial that the host has spoiled: no failure of the test while there are retries or other trials.

    Parameters
    ----------
    sentence
        Why.
    host, reference
        What is known of the host, as `TrialRecord` has it.
    """

    # What pytest's summary begins a line with: as for its own failures, and no name of a module.
    __module__ = "builtins"
    __qualname__ = "Failed"

    def __init__(
        self,
        sentence: str,
        host: Mapping[str, float | None] | None = None,
        reference: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(sentence, pytrace=False)
        self.host = host
        self.reference = reference


def follow_trials(session: pytest.Session, state: State) -> None:
    """Make all artifacts ready, and follow the trials of a session from then on; nothing where none will run.

    Parameters
    ----------
    session
        pytest's, with all items.
    state
        With a measuring session.

    Raises
    ------
    pytest.UsageError
        The version to compare with cannot make its artifacts ready.
    """
    from pytest_edgeai.collection.further_trials import UndecidedTails, UndecidedTrials
    from pytest_edgeai.collection.planning import is_broken, prepare_other_version
    from pytest_edgeai.conclusion import load_libraries
    from pytest_edgeai.reporting.progress import ProgressLines

    if is_broken(session):
        return
    config, edgeai = session.config, state.session
    assert edgeai is not None
    trials = {item.nodeid: item.stash[TRIAL] for item in session.items if TRIAL in item.stash and edgeai.trials}
    progress = state.progress = ProgressLines(config, edgeai, trials)
    config.pluginmanager.register(progress, "edgeai-progress")
    config.pluginmanager.register(TrialItems(edgeai, progress), "edgeai-trials")
    edgeai.prepare(progress.artifact)
    _leave_out_unmade(session, edgeai, trials)
    if edgeai.trials:
        load_libraries()
    if edgeai.against is not None and edgeai.baseline_trials:
        prepare_other_version(session, edgeai, trials, progress)
        if edgeai.baseline_trials:
            state.undecided = UndecidedTrials()
            edgeai.suppliers.append(state.undecided)
    edgeai.suppliers.append(UndecidedTails(edgeai))


def _leave_out_unmade(session: pytest.Session, edgeai: MeasuringSession, trials: dict[str, PlannedTrial]) -> None:
    """Do not run trials for which an artifact could not be made; verdicts and reports have them nevertheless."""
    from pytest_edgeai.collection.planning import note

    unmade = set(edgeai.unmade_trials)
    idle = [item for item in session.items if item.stash.get(TRIAL, None) in unmade]
    if not idle:
        return
    session.items[:] = [item for item in session.items if item not in idle]
    session.testscollected -= len(idle)
    for item in idle:
        trials.pop(item.nodeid, None)
    session.config.hook.pytest_deselected(items=idle)
    names = ", ".join("-".join(artifact) for artifact in edgeai.failures)
    note(session.config, f"{len(idle)} trials are not made, for want of artifacts that could not be made ({names})")


class TrialItems:
    """A plugin that follows the trials of a session and puts further ones into pytest's list of items.

    Parameters
    ----------
    edgeai
        The session.
    progress
        Is told about trials that are added.
    """

    def __init__(self, edgeai: MeasuringSession, progress: ProgressLines) -> None:
        self._edgeai = edgeai
        self._progress = progress

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin an attempt."""
        if TRIAL in item.stash:
            self._edgeai.attempts.begin(item.stash[TRIAL])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the reason of a trial that failed; it is no failure if it is measured again or can be done without."""
        report = yield
        if TRIAL not in item.stash or report.passed or call.excinfo is None:
            return report
        value = call.excinfo.value
        reason = str(getattr(value, "msg", None) or call.excinfo.exconly(tryshort=True))
        if isinstance(value, Spoiled):
            fate = self._edgeai.invalidate(item.stash[TRIAL], reason, "host", value.host, value.reference)
        else:
            skipped = "its test was skipped: " if report.skipped else ""
            fate = self._edgeai.invalidate(item.stash[TRIAL], f"{skipped}{reason}")
        if fate != "failed":
            path, line, _ = item.location
            report.outcome = "skipped"  # what other reporters, such as JUnit's, know
            report.longrepr = (path, line or 0, reason)
            setattr(report, _FATE, fate)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
        """Count what is measured again, and what is done without, apart from tests that are skipped."""
        if not hasattr(report, _FATE):
            return None
        return _STATUS[getattr(report, _FATE)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Put a trial that is to be measured again among those that remain, and ask for more after the last."""
        result = yield
        items = item.session.items
        remaining = len(items) - 1 - _last_place(items, item)
        if TRIAL in item.stash and item.stash[TRIAL] in self._edgeai.attempts.waiting:
            first = len(items) - remaining
            items.insert(first + self._edgeai.place_again([one.stash.get(TRIAL, None) for one in items[first:]]), item)
        elif remaining or item.session.shouldfail or item.session.shouldstop:
            return result
        elif not self._measure_slow_trials_again(items):
            self._add(item.session, self._edgeai.further_trials())
        return result

    def _measure_slow_trials_again(self, items: list[pytest.Item]) -> bool:
        """Put trials behind the last one in which the host turned out to have been slow; whether there are any."""
        known = {one.stash[TRIAL]: one for one in items if TRIAL in one.stash}
        again = []
        for trial, fate in self._edgeai.take_back_slow_trials().items():
            benchmark = known[trial].stash.get(BENCHMARK, None)
            if benchmark is not None:
                benchmark.has_error = True  # pytest-benchmark then leaves it out of its files
            if fate == "again":
                again.append(known[trial])
        self._progress.take_back([one.nodeid for one in again])
        items += again
        return bool(again)

    def _add(self, session: pytest.Session, trials: Sequence[PlannedTrial]) -> None:
        items = {item.stash[TRIAL]: item for item in session.items if TRIAL in item.stash}
        for trial in trials:
            alike = [one for one in items if (one.strategy, one.version) == (trial.strategy, trial.version)]
            added = _replicate(items[max(alike)], trial)
            session.items.append(added)
            session.testscollected += 1
            self._progress.add(added.nodeid, trial)
        self._progress.add_for_undecided(trials)


def _last_place(items: Sequence[pytest.Item], item: pytest.Item) -> int:
    """Where the item is that is running: it stands once more at most in what is over."""
    return next(place for place in range(len(items) - 1, -1, -1) if items[place] is item)


def _replicate(item: pytest.Item, trial: PlannedTrial) -> pytest.Item:
    """The item of one more trial of the same strategy and version."""
    assert isinstance(item, pytest.Function)
    before, replicate = item.stash[TRIAL], AXES[-1]
    words = [trial.id if word == before.id else word for word in item.callspec._idlist]  # noqa: SLF001
    callspec = dataclasses.replace(
        item.callspec, params={**item.callspec.params, replicate: trial.replicate}, _idlist=words
    )
    added = pytest.Function.from_parent(
        item.parent,
        name=f"{item.originalname}[{callspec.id}]",
        callspec=callspec,
        fixtureinfo=item._fixtureinfo,  # noqa: SLF001  # fixtures are the same, whichever trial it is
        originalname=item.originalname,
    )
    added.own_markers[:] = [_renumbered(mark, trial) for mark in item.own_markers]
    added.stash[TRIAL] = trial
    return added


def _renumbered(mark: pytest.Mark, trial: PlannedTrial) -> pytest.Mark:
    if mark.name != "strategy":
        return mark
    renumbered: pytest.MarkDecorator = pytest.mark.strategy(**{**mark.kwargs, "replicate": trial.replicate})
    return renumbered.mark
