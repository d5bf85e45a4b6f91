"""From settings, options and hooks to a measuring session, and what it is compared with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_edgeai.collection.state import State
from pytest_edgeai.errors import EdgeAIError, SettingsError, VersionError

if TYPE_CHECKING:
    from pytest_edgeai.measured import Commit
    from pytest_edgeai.operators.worker import Progress
    from pytest_edgeai.selection import Registered
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.settings import Settings
    from pytest_edgeai.versions.recording import Recording


def open_session(config: pytest.Config, state: State) -> MeasuringSession:
    """Read settings, ask the hooks, and start a session.

    Raises
    ------
    EdgeAIError
        Something given cannot be used.
    """
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.settings import validated
    from pytest_edgeai.settings_files import find_settings
    from pytest_edgeai.tiers.registry import AUTO, check_backend
    from pytest_edgeai.versions.own_servers import BACKEND, refuse_backend

    topologies = [one for one in config.hook.pytest_edgeai_tiers(config=config) if one is not None]
    file, content = find_settings(*_folders(config))
    settings = validated(file, content, state.options.overrides, topologies[0] if topologies else None)
    state.settings = settings
    registered = _registered(config, settings)
    check_backend(settings.backend, settings.origins.of("backend"), registered.backends)
    root = config.rootpath if file is None else file.parent
    against, usual = _against(state, root), None
    if against is not None and settings.replicates is None:
        usual = settings.measurement.replicates
        settings = settings.model_copy(update={"replicates": max(usual, settings.gate.replicates)})
        state.settings = settings
    if against is not None and state.options.with_servers and settings.backend == AUTO:
        settings = state.settings = settings.model_copy(update={"backend": BACKEND})
    session = MeasuringSession(
        settings, registered, state.options.seed, root, settings_file=file, against=against, usual_replicates=usual
    )
    session.with_servers = state.options.with_servers
    if against is not None and session.with_servers:
        refuse_backend(session)
    session.arguments = tuple(config.invocation_params.args)
    _expand(session, _progress(config, state, session))
    return session


def _registered(config: pytest.Config, settings: Settings) -> Registered:
    """What the hooks of the project and of other plugins provide."""
    from pytest_edgeai.collection import registering
    from pytest_edgeai.selection import Registered

    hook, every = config.hook, itertools.chain.from_iterable
    metrics = every(hook.pytest_edgeai_metrics(config=config))
    subjects = registering.subject_models(
        settings, every(reversed(hook.pytest_edgeai_subjects(config=config))), metrics
    )
    if not subjects:
        raise SettingsError(
            "there are no subject models: declare one in the settings ([subjects.NAME] with graph, examples and "
            "metrics), or return some from the hook pytest_edgeai_subjects in conftest.py"
        )
    classes = every(hook.pytest_edgeai_operators(config=config))
    backends: dict[str, Any] = {}
    for named in hook.pytest_edgeai_backends(config=config):
        backends.update(named or {})
    return Registered(subjects, registering.operators(settings, classes), backends)


def _expand(session: MeasuringSession, report: Callable[[Progress], None]) -> None:
    """Put an operator for each cut in the place of those that take every one; the matrix is complete then.

    Parameters
    ----------
    session
        Just made.
    report
        Is told about progress, where a graph has to be made to know its cuts.

    Raises
    ------
    SettingsError
        The baseline takes every cut, or a latency budget names no strategy.
    """
    from pytest_edgeai.operators.chains import takes_every_cut

    settings, operators = session.settings, session.registered.operators
    if takes_every_cut(settings.baseline, operators):
        where = settings.origins.of("baseline")
        raise SettingsError(f"{where}: {settings.baseline} with cut = 'all' is not one operator but many")
    if any(takes_every_cut(name, operators) for name in session.selection.operators):
        from pytest_edgeai.operators.every_cut import expand

        found = expand(session.plan, session.selection.models, session.selection.operators, report)
        session.selection = replace(session.selection, operators=found.selected)
        session.registered = replace(session.registered, operators=found.operators, models=found.models)
    session.selection.refuse_idle_budgets(settings, session.registered)


def baseline_of(config: pytest.Config, state: State) -> Recording | None:
    """The saved session that this one is compared with.

    Raises
    ------
    VersionError
        There is none of that name, or it cannot be read.
    SettingsError
        A window is asked for with nothing to compare with, or of too few sessions.
    """
    wanted, storage, window = state.options.compare, state.options.storage, state.options.window
    if wanted is None:
        if window != 1:
            raise SettingsError("--edgeai-window: it is about saved sessions: give --edgeai-compare as well")
        return None
    from pytest_edgeai.versions import DEFAULT_STORAGE
    from pytest_edgeai.versions.baselines import find_window

    try:  # relative paths start as pytest-benchmark's own do
        return find_window(wanted, config.invocation_params.dir, storage or DEFAULT_STORAGE, window)
    except VersionError as error:
        raise VersionError(f"--edgeai-compare: {error}") from None
    except SettingsError as error:
        raise SettingsError(f"--edgeai-window: {error}") from None


def places_of(config: pytest.Config) -> list[str]:
    """Where the session's tests are, as absolute paths of files and folders; nothing where the project says it."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return []
    places = (config.invocation_params.dir / argument.partition("::")[0] for argument in config.args)
    return [str(place.absolute()) for place in dict.fromkeys(places)]


def _progress(config: pytest.Config, state: State, session: MeasuringSession) -> Callable[[Progress], None]:
    """Where to tell about work that collection has to wait for; workers of pytest-xdist have no terminal."""
    from pytest_edgeai.reporting.progress import ProgressLines

    if state.options.is_worker or state.options.hand_over is not None:
        return lambda _: None
    return ProgressLines(config, session, {}).cuts


def _against(state: State, root: Path) -> Commit | None:
    """The commit that is to be measured beside the working copy; preparing artifacts is not measuring."""
    wanted = state.options.against
    if wanted is None and state.options.with_servers:
        raise SettingsError("--edgeai-whole needs --edgeai-against REV beside it, the revision to compare with")
    if wanted is None:
        return None
    from pytest_edgeai.versions.checkouts import find_commit

    if state.options.compare is not None:
        raise SettingsError("--edgeai-against and --edgeai-compare: a session is compared with one version")
    try:
        commit = find_commit(wanted, root)
    except EdgeAIError as error:
        raise VersionError(f"--edgeai-against: {error}") from None
    return None if state.options.prepares else commit


def _folders(config: pytest.Config) -> list[Path]:
    """Where settings are looked for: the root folder, that of the call, and those of the tests.

    The root folder alone would not do: pytest takes any existing path among the options for a place of tests, also the
    one in `--edgeai-store ../store`, and chooses the root folder by it.
    """
    places = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    tests = [place if place.is_dir() else place.parent for place in places if place.exists()]
    return [config.rootpath, config.invocation_params.dir, *tests]
