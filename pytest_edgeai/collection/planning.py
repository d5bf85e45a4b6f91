"""From collected items to planned trials: their order, and what is refused before the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_edgeai.collection import opening, parametrization
from pytest_edgeai.collection.state import TRIAL, State
from pytest_edgeai.collection.wires import refuse_images_as_json
from pytest_edgeai.errors import EdgeAIError, SettingsError

if TYPE_CHECKING:
    from pytest_edgeai.collection.options import Options
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.reporting.progress import ProgressLines
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.versions.recording import Recording

_REFUSED: Final = "edgeai_refused"
_IN_WORKERS: Final = (
    "-n (pytest-xdist): nothing is measured in several processes at once, since they would disturb each other; leave "
    "it out (-n 0), or add --edgeai-prepare to build and evaluate artifacts without measuring"
)


def refuse_benchmarks_in_workers(config: pytest.Config, options: Options) -> None:
    """Refuse `--benchmark-only` beside workers of pytest-xdist, which pytest-benchmark would do without the reason.

    Raises
    ------
    pytest.UsageError
        Says what to leave out.
    """
    if _has_workers(config) and config.getoption("benchmark_only") and not (options.prepares or options.is_worker):
        raise pytest.UsageError(_IN_WORKERS)


def refuse_in_worker(session: pytest.Session, sentence: str) -> None:
    """Run nothing in this worker of pytest-xdist, and have the controller say why."""
    session.items[:] = []
    session.config.workeroutput[_REFUSED] = sentence  # type: ignore[attr-defined]  # pytest-xdist's


def refusal_in_worker(node: Any) -> str | None:
    """Why a worker of pytest-xdist has refused the session, or None."""
    sentence: str | None = getattr(node, "workeroutput", {}).get(_REFUSED)
    return sentence


def _has_workers(config: pytest.Config) -> bool:
    """Whether pytest-xdist is asked to share the tests among workers."""
    return bool(config.getoption("dist", "no") != "no")


def plan_trials(session: pytest.Session, state: State, edgeai: MeasuringSession) -> None:
    """Interleave the trials, after all other tests, and refuse at once what cannot be measured.

    Raises
    ------
    pytest.UsageError
        Something cannot be measured.
    """
    from pytest_edgeai.matrix.schedule import schedule

    config = session.config
    planned = {item: item.stash[TRIAL] for item in session.items if TRIAL in item.stash}
    others = [item for item in session.items if item not in planned]
    session.items[:] = others + schedule(
        [(trial.replicate, trial.strategy, item) for item, trial in planned.items()], edgeai.seed
    )
    wanted = [item for item in session.items if item.get_closest_marker("skip") is None]
    chosen = dict.fromkeys(planned[item] for item in session.items if item in planned)
    if planned and not any(item in planned for item in wanted):
        state.skipped, chosen = tuple(sorted({trial.strategy for trial in chosen})), {}
        # Whoever asks pytest-benchmark to skip benchmarks means the other tests, if there are any.
        state.is_unmeasured = not (wanted and config.getoption("benchmark_skip"))
    edgeai.trials = tuple(trial for trial in chosen if not trial.version)
    edgeai.baseline_trials = tuple(trial for trial in chosen if trial.version)
    edgeai.is_whole = not state.options.restricts
    edgeai.artifacts = parametrization.artifacts_of(wanted)
    edgeai.placements = parametrization.placements_of(wanted)
    if edgeai.artifacts and (state.options.is_worker or _has_workers(config)):
        raise pytest.UsageError(_IN_WORKERS)
    try:
        if edgeai.against is not None:
            _refuse_single_versions(edgeai)
        edgeai.registered.refuse_unusable(edgeai.wanted, edgeai.plan.find)
        refuse_images_as_json(edgeai.settings, edgeai.registered.subjects, edgeai.trials)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    if not edgeai.placements:
        return
    if edgeai.trials and config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        raise pytest.UsageError(
            f"{len(edgeai.trials)} trials are selected but benchmarks are disabled, so nothing would be measured: "
            "leave out --benchmark-disable, or leave out the trials by --benchmark-skip"
        )
    try:
        if edgeai.trials:
            state.baseline = opening.baseline_of(config, state)
            if state.baseline is not None or edgeai.against is not None:
                _refuse_too_few_trials(edgeai, state.baseline)
        if not config.option.collectonly:
            _open(session, state, edgeai)
    except EdgeAIError as error:
        raise pytest.UsageError(str(error)) from None


def _open(session: pytest.Session, state: State, edgeai: MeasuringSession) -> None:
    """Take the host, open what runs the tiers, and make the folder of reports."""
    from pytest_edgeai.collection.interruption import heed_signals
    from pytest_edgeai.measure.session_lock import only_session

    config = session.config
    if edgeai.trials:
        edgeai.hold(only_session(state.options.wait_s, lambda sentence: note(config, sentence)))
        state.interruption = heed_signals(config)
    edgeai.backends.open(edgeai.placements, edgeai.allotments, lambda sentence: note(config, sentence))
    if edgeai.trials and not is_broken(session):
        from pytest_edgeai.reporting.files import ReportFolder

        edgeai.log = state.report = ReportFolder.open(edgeai.root / edgeai.settings.report, edgeai.settings)


def prepare_other_version(
    session: pytest.Session, edgeai: MeasuringSession, trials: dict[str, PlannedTrial], progress: ProgressLines
) -> None:
    """Have the other version make its artifacts ready, and leave out its trials that cannot tell versions apart.

    Parameters
    ----------
    session
        pytest's.
    edgeai
        Ours, with a commit to compare with.
    trials
        The trials that are waited for, by node id; those that are left out are removed.
    progress
        Is told about artifacts.

    Raises
    ------
    pytest.UsageError
        The other version cannot make its artifacts ready.
    """
    from pytest_edgeai.reporting.header import against_line
    from pytest_edgeai.versions.other import add_other_version

    config = session.config
    assert edgeai.against is not None
    note(config, f"making the artifacts of {edgeai.against.label} ready")
    planned = {*edgeai.trials, *edgeai.baseline_trials}
    try:
        add_other_version(edgeai, opening.places_of(config), progress.artifact)
    except EdgeAIError as error:
        raise pytest.UsageError(f"--edgeai-against: {error}") from None
    assert edgeai.other is not None
    dropped = planned.difference(edgeai.trials, edgeai.baseline_trials)
    idle = [item for item in session.items if TRIAL in item.stash and item.stash[TRIAL] in dropped]
    session.items[:] = [item for item in session.items if item not in idle]
    for item in idle:
        del trials[item.nodeid]
    config.hook.pytest_deselected(items=idle)
    note(config, against_line(edgeai.describe(), edgeai.other, edgeai.baseline_trials, edgeai.prepared))


def is_broken(session: pytest.Session) -> bool:
    """Whether pytest is going to run nothing, because something could not be collected."""
    return bool(session.testsfailed) and not session.config.option.continue_on_collection_errors


def note(config: pytest.Config, sentence: str) -> None:
    """Write a line about what is going on."""
    writer = config.get_terminal_writer()
    writer.line(f"edgeai: {sentence}")
    writer.flush()


def _refuse_too_few_trials(session: MeasuringSession, baseline: Recording | None) -> None:
    """Refuse a comparison that cannot decide anything, because a strategy has too few trials on a side.

    Raises
    ------
    SettingsError
        Says how many there are and how many it takes.
    """
    from collections import Counter

    from pytest_edgeai.verdicts.comparison import rules

    rule, _ = rules(session.settings)
    fewest = rule.fewest_trials(together=session.against is not None)
    planned = Counter(trial.strategy.id for trial in session.trials)
    option = "--edgeai-compare" if session.against is None else "--edgeai-against"
    few = {name: count for name, count in planned.items() if count < fewest}
    if few:
        name = min(few)
        raise SettingsError(
            f"{option}: {few[name]} trial{'s'[: few[name] > 1]} of {name} cannot tell a change from chance: it takes "
            f"{fewest} a side at least, for example --edgeai-replicates {session.settings.gate.replicates}"
        )
    saved = {} if baseline is None else baseline.strategies
    few = {name: len(saved[name].latencies_s) for name in planned if name in saved and saved[name].is_short(fewest)}
    if few:
        name = min(few)
        raise SettingsError(
            f"{option}: {baseline.label if baseline else ''} has {few[name]} "
            f"trial{'s'[: few[name] > 1]} of {name}, and it takes {fewest} a side at least to tell a change from "
            f"chance: save it again with more, for example --edgeai-replicates {session.settings.gate.replicates}"
        )


def _refuse_single_versions(session: MeasuringSession) -> None:
    """Refuse a selection of tests (`-k`, `-m`, node ids) that leaves a trial without that of the other version.

    Raises
    ------
    SettingsError
        Names one.
    """
    alone = set(session.trials).symmetric_difference(trial.own for trial in session.baseline_trials)
    if alone:
        raise SettingsError(
            f"--edgeai-against: {min(alone).id} is selected in one of the two versions only; select by strategy, "
            "for example -k resnet-sptq-edge"
        )
