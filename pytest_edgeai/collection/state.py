"""The state of the plugin in a pytest session: one registered object with a typed attribute for everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from pytest_edgeai.collection.options import Options

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from pytest_edgeai.collection.further_trials import UndecidedTrials
    from pytest_edgeai.collection.interruption import Interruption
    from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
    from pytest_edgeai.measured import Measured
    from pytest_edgeai.reporting.files import ReportFolder
    from pytest_edgeai.reporting.preparation import PreparationLines
    from pytest_edgeai.reporting.progress import ProgressLines
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.settings import Settings
    from pytest_edgeai.verdicts.outcome import SessionOutcome
    from pytest_edgeai.versions.recording import Recording

_NAME: Final = "edgeai-state"

TRIAL: pytest.StashKey[PlannedTrial] = pytest.StashKey()
"""Which trial an item is."""
BENCHMARK: pytest.StashKey[BenchmarkFixture] = pytest.StashKey()
"""The fixture of pytest-benchmark by which an item measures."""


@dataclass
class State:
    """What is known by now.

    Parameters
    ----------
    options
        What the command line asks for.
    """

    options: Options
    settings: Settings | None = None
    """The validated settings, from before the hook `pytest_edgeai_subjects` is called."""
    session: MeasuringSession | None = None
    """The measuring session, once a test asks for the matrix."""
    error: str | None = None
    """Why there is no session though a test asks for the matrix."""
    refused: str | None = None
    """Why the workers of pytest-xdist refuse the session."""
    left_out: list[str] = field(default_factory=list)
    """Tests whose marker has nothing in common with what the session selects."""
    skipped: tuple[Strategy, ...] = ()
    """Strategies that were selected, where every trial is marked to be skipped."""
    is_unmeasured: bool = False
    """Whether trials were selected and every one of them was skipped."""
    baseline: Recording | None = None
    """The saved session to compare with."""
    interruption: Interruption | None = None
    """Hears of signals that end the session."""
    preparation: PreparationLines | None = None
    """Writes of artifacts that are prepared and nothing else."""
    progress: ProgressLines | None = None
    """Writes of artifacts and trials."""
    undecided: UndecidedTrials | None = None
    """Asks for more trials of what cannot be decided."""
    report: ReportFolder | None = None
    """Where reports are written, once trials are to be made."""
    measured: Measured | None = None
    """What was measured, once the session is over."""
    outcome: SessionOutcome | None = None
    """What was found, once the session is over."""

    @property
    def measures(self) -> bool:
        """Whether there are trials to be made."""
        return self.session is not None and bool(self.session.trials)


def register(config: pytest.Config) -> State:
    """Make the state of a session."""
    state = State(Options.read(config))
    config.pluginmanager.register(state, _NAME)
    return state


def find_state(config: pytest.Config) -> State | None:
    """The state of a session, or None where configuring failed before there was one."""
    state = config.pluginmanager.get_plugin(_NAME)
    assert state is None or isinstance(state, State)
    return state


def state_of(config: pytest.Config) -> State:
    """The state of a session that is configured."""
    state = find_state(config)
    assert state is not None
    return state


def settings_of(config: pytest.Config) -> Settings:
    """The settings of a session, for hooks and tests of a project.

    Parameters
    ----------
    config
        Of pytest, in the hook `pytest_edgeai_subjects` or later.

    Raises
    ------
    LookupError
        They have not been read yet, because no test asks for the matrix.
    """
    settings = state_of(config).settings
    if settings is None:
        raise LookupError("the settings of pytest-edgeai are read when the first test asks for the matrix")
    return settings
