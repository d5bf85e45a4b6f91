"""The pytest plugin: options and hooks, each a few lines that call the stage which does the work.

Importing this module imports nothing heavy: a user who has the plugin installed and runs other tests pays nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.reporting.preparation import PreparationLines
    from pytest_edgeai.reporting.progress import ProgressLines
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.settings import Settings

pytest_plugins = ["pytest_edgeai.fixtures"]

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
"""The validated settings, from before the hook `pytest_edgeai_subjects` is called."""
SESSION: pytest.StashKey[MeasuringSession] = pytest.StashKey()
_PROGRESS: pytest.StashKey[ProgressLines] = pytest.StashKey()
_PREPARATION: pytest.StashKey[PreparationLines] = pytest.StashKey()
_SEED: pytest.StashKey[int] = pytest.StashKey()
_ERROR: pytest.StashKey[str] = pytest.StashKey()
_LEFT_OUT: pytest.StashKey[list[str]] = pytest.StashKey()
_UNMEASURED: pytest.StashKey[bool] = pytest.StashKey()
CELL: pytest.StashKey[PlannedTrial] = pytest.StashKey()
"""Which trial an item is."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    add = parser.getgroup("edgeai", "model compression on mobile, edge and cloud tiers (pytest-edgeai)").addoption
    add("--edgeai-models", metavar="A,B", help="subject models to measure (default: all registered)")
    add("--edgeai-operators", metavar="A,B", help="operators to measure (default: identity,sptq)")
    add(
        "--edgeai-tiers",
        metavar="A,B",
        help="tiers and chains (mobile+edge) to measure on (default: all)",
    )
    add("--edgeai-profile", metavar="NAME", help="how much to measure: quick (default), paper, or one of your settings")
    add("--edgeai-replicates", type=int, metavar="N", help="trials of each strategy (default: the profile's)")
    add("--edgeai-backend", metavar="NAME", help="what runs the tiers: auto (default), process, docker or remote")
    add("--edgeai-report", metavar="DIR", help="where each session makes its folder of reports (default: reports)")
    add("--edgeai-store", metavar="DIR", help="artifact store (default: $EDGEAI_STORE or the user's cache folder)")
    add(
        "--edgeai-compare",
        metavar="REV|NAME|latest",
        help="fail if a strategy is worse than in a saved session: by git revision, name, number or path",
    )
    add(
        "--edgeai-against",
        metavar="REV",
        help="measure a git revision in the same session, trial by trial, and fail if a strategy is worse than there",
    )
    add(
        "--edgeai-hand-over", type=Path, metavar="FILE", help=argparse.SUPPRESS
    )  # what --edgeai-against asks the revision for
    add("--edgeai-scale", metavar="NAME", help="small (default), or paper: the study's own models at full size")
    add(
        "--edgeai-weights", metavar="FROM", help="of full-size models: hub (default), or random to measure latency only"
    )
    add("--edgeai-prepare", action="store_true", help="build and evaluate all artifacts, also with -n; measure nothing")
    add(
        "--edgeai-wait",
        type=_duration,
        default=0.0,
        metavar="TIME",
        help="how long to wait for another session that measures on this host, e.g. 10m (default: not at all)",
    )
    add("--edgeai-seed", type=int, metavar="N", help="seed of the order of trials (default: a new one, printed)")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add our hooks."""
    from pytest_edgeai import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers."""
    for line in (
        "edgeai(models, operators, tiers, replicates): restrict the matrix of a test, by lists of names and a number",
        "strategy(model, operator, tier, replicate): set on every trial, to select by; "
        "for example -m \"strategy(tier='edge')\"",
    ):
        config.addinivalue_line("markers", line)
    if config.option.edgeai_prepare and not config.option.benchmark_only:
        config.option.benchmark_disable = True  # else pytest-benchmark warns that it is disabled by pytest-xdist


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let workers that have prepared their share take over from others: builds differ in length by far."""
    if not (config.option.edgeai_prepare and config.option.dist == "load"):
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Write of preparation, before pytest-xdist starts its workers."""
    config = session.config
    if config.option.edgeai_prepare and not _is_worker(config):
        from pytest_edgeai.reporting.preparation import PreparationLines

        capture = config.pluginmanager.getplugin("capturemanager")
        uncaptured = () if capture is None else (capture.global_and_fixture_disabled,)
        lines = PreparationLines(config.get_terminal_writer(), config.option.verbose, *uncaptured)
        config.stash[_PREPARATION] = lines
        config.pluginmanager.register(lines, "edgeai-preparation")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist that every trial was skipped."""
    if getattr(node, "workeroutput", {}).get("edgeai_unmeasured"):
        node.config.stash[_UNMEASURED] = True


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the workers of pytest-xdist one seed, so that they collect in one order, and a way to tell of progress."""
    node.workerinput["edgeai_seed"] = _seed(node.config)
    if _PREPARATION in node.config.stash:
        from pytest_edgeai.reporting.preparation import open_channel

        open_channel(node, node.config.stash[_PREPARATION])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the axes that a test asks for."""
    from pytest_edgeai.collection import parametrization

    axes = parametrization.axes_needed(metafunc)
    if not axes:
        return
    from pytest_edgeai.errors import SettingsError

    config = metafunc.config
    sentence = config.stash.get(_ERROR, None)
    try:
        if sentence is None and SESSION not in config.stash:
            config.stash[SESSION] = parametrization.open_session(config, _seed(config))
    except SettingsError as error:
        sentence = config.stash[_ERROR] = str(error)
    try:
        if sentence is None:
            parametrization.parametrize(metafunc, axes, config.stash[SESSION])
    except SettingsError as error:
        sentence = str(error)
    if sentence is None:
        return
    if config.option.edgeai_prepare and _is_worker(config):  # all that such a worker can hand to its controller
        raise pytest.Collector.CollectError(sentence)
    parametrization.refuse(metafunc, axes, sentence)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests whose marker has no strategy in common with what the session selects."""
    from pytest_edgeai.collection import parametrization

    left_out = [item for item in items if parametrization.is_left_out(item)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.stash[_LEFT_OUT] = [item.nodeid.rpartition("[")[0] for item in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Remember which trial a test is."""
    from pytest_edgeai.collection import parametrization

    cell = parametrization.cell_of(item)
    if cell is not None:
        item.stash[CELL] = cell


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Interleave the trials, after all other tests, and refuse at once what cannot be measured."""
    from pytest_edgeai.collection import parametrization

    config = session.config
    parametrization.refuse_unusable(session)
    if config.option.edgeai_hand_over:
        _hand_over_instead(session)
        return
    if config.option.edgeai_prepare:
        _prepare_instead(session)
    if SESSION not in config.stash or config.option.edgeai_prepare:
        return
    from pytest_edgeai.collection.interruption import heed_signals
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.matrix.schedule import schedule

    edgeai = config.stash[SESSION]
    cells = {item: item.stash[CELL] for item in session.items if CELL in item.stash}
    trials = [(cell.replicate, cell.strategy, item) for item, cell in cells.items()]
    others = [item for item in session.items if item not in cells]
    session.items[:] = others + schedule(trials, edgeai.seed)
    wanted = [item for item in session.items if item.get_closest_marker("skip") is None]
    chosen = dict.fromkeys(cells[item] for item in session.items if item in cells)
    if cells and not any(item in cells for item in wanted):
        edgeai.skipped, chosen = tuple(sorted({cell.strategy for cell in chosen})), {}
        # Whoever asks pytest-benchmark to skip benchmarks means the other tests, if there are any.
        config.stash[_UNMEASURED] = not (wanted and config.getoption("benchmark_skip"))
    edgeai.cells = tuple(cell for cell in chosen if not cell.version)
    edgeai.twins = tuple(cell for cell in chosen if cell.version)
    edgeai.is_whole = parametrization.selects_all(config)
    edgeai.artifacts = parametrization.artifacts_of(wanted)
    edgeai.placements = parametrization.placements_of(wanted)
    if config.option.collectonly or _is_worker(config):
        return
    try:
        if edgeai.against is not None:
            parametrization.refuse_single_versions(edgeai.cells, edgeai.twins)
        edgeai.refuse_unusable_subjects()
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    if not edgeai.placements:
        return
    if edgeai.cells and _benchmarks_disabled(config):
        raise pytest.UsageError(
            f"{len(edgeai.cells)} trials are selected but benchmarks are disabled, so nothing would be measured: "
            "leave out --benchmark-disable, or leave out the trials by --benchmark-skip"
        )
    from pytest_edgeai.measure.session_lock import HostTakenError

    try:
        if edgeai.cells:
            edgeai.lock_host(config.option.edgeai_wait, lambda sentence: _note(config, sentence))
            edgeai.baseline = parametrization.baseline_of(config)
            if edgeai.baseline is not None or edgeai.against is not None:
                parametrization.refuse_too_few_trials(edgeai)
            heed_signals(config)
        edgeai.open_backend(lambda sentence: _note(config, sentence))
        if edgeai.cells and not _is_broken(session):
            edgeai.open_report()
    except (SettingsError, HostTakenError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what is going to be measured or prepared, and how."""
    lines = [
        f"edgeai: {name} is left out: its marker and what the session selects have no strategy in common"
        for name in config.stash.get(_LEFT_OUT, [])
    ]
    if _ERROR in config.stash and config.option.collectonly:  # else the tests say it
        lines.append(f"edgeai: tests that ask for the matrix fail: {config.stash[_ERROR]}")
    if SESSION in config.stash and config.option.edgeai_prepare:
        edgeai = config.stash[SESSION]
        lines.append(
            f"edgeai: {len(edgeai.wanted)} artifacts to prepare in {edgeai.plan.store_root}, and nothing to measure"
        )
    elif SESSION in config.stash and config.stash[SESSION].cells:
        from pytest_edgeai.reporting.header import header_lines

        lines += header_lines(config.stash[SESSION])
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Make all artifacts ready before the first trial."""
    config = session.config
    measures = SESSION in config.stash and not config.option.edgeai_prepare
    if measures and not config.option.collectonly and not _is_broken(session) and not _is_worker(config):
        from pytest_edgeai.collection.trial_items import TrialItems
        from pytest_edgeai.reporting.progress import ProgressLines

        edgeai = config.stash[SESSION]
        trials = {item.nodeid: item.stash[CELL] for item in session.items if CELL in item.stash and edgeai.cells}
        progress = ProgressLines(config.get_terminal_writer(), config.option.verbose, edgeai, trials)
        config.stash[_PROGRESS] = progress
        config.pluginmanager.register(progress, "edgeai-progress")
        config.pluginmanager.register(TrialItems(edgeai, progress), "edgeai-trials")
        edgeai.prepare(progress.artifact)
        if edgeai.against is not None and edgeai.twins:
            _prepare_other(session, trials, progress)
            if edgeai.twins:
                from pytest_edgeai.collection.further_trials import UndecidedTrials

                edgeai.suppliers.append(UndecidedTrials())
    return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose place in the matrix is unknown, and no other."""
    from pytest_edgeai.collection import parametrization

    sentence = parametrization.refusal_of(item)
    if sentence is not None:
        pytest.fail(f"pytest-edgeai, whose fixtures this test asks for: {sentence}", pytrace=False)


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """Spare a trial or an artifact its dot: it gets a line of its own."""
    if _PREPARATION in config.stash and config.option.verbose == 0 and isinstance(report, pytest.TestReport):
        return config.stash[_PREPARATION].status(report)
    if _PROGRESS not in config.stash or not config.stash[_PROGRESS].has_line(report):
        return None
    return ("passed", "", "PASSED") if report.passed else ("failed", "", "FAILED")


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Put the session, and all latencies of its trials, into pytest-benchmark's file: later ones are compared with it.

    Of a project's other benchmarks latencies are written where pytest-benchmark's options ask for them.
    """
    if SESSION in config.stash and config.stash[SESSION].cells and not _is_worker(config):
        from pytest_edgeai.versions.recording import KEY, record_session

        made = {benchmark.fullname: benchmark for benchmark in benchmarks}
        for described in output_json["benchmarks"]:
            if "edgeai" in described["extra_info"]:
                described["stats"]["data"] = made[described["fullname"]].stats.data
        output_json[KEY] = record_session(config.stash[SESSION])


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Run the statistics, judge, write the reports, and only then fail."""
    config = session.config
    if config.stash.get(_UNMEASURED, False):
        return (yield from _finish_unmeasured(session, exitstatus))
    if SESSION not in config.stash or _PROGRESS not in config.stash or not config.stash[SESSION].cells:
        return (yield)
    if exitstatus == pytest.ExitCode.USAGE_ERROR and not config.stash[SESSION].records:  # it never came to a trial
        return (yield)
    from pytest_edgeai.collection.interruption import end_of
    from pytest_edgeai.reporting import junit

    outcome = config.stash[SESSION].finish(end_of(config, exitstatus))
    junit.add_to_report(config, junit.session_cases(outcome), outcome.comparison)
    result = yield
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and outcome.fails:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return result


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the verdicts."""
    if SESSION not in config.stash:
        return
    from pytest_edgeai.reporting.terminal import write_summary

    write_summary(terminalreporter, config.stash[SESSION])


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the session holds, however it ended."""
    if SESSION in config.stash:
        config.stash[SESSION].close()


def _prepare_instead(session: pytest.Session) -> None:
    """Put an item for each artifact that tests need in the place of all tests."""
    needing, session.items[:] = list(session.items), []
    config = session.config
    if SESSION not in config.stash:
        return
    from pytest_edgeai.collection import parametrization
    from pytest_edgeai.collection.preparation_items import items_for
    from pytest_edgeai.reporting.preparation import CHANNEL, send_through

    edgeai = config.stash[SESSION]
    edgeai.artifacts = parametrization.artifacts_of(item for item in needing if item.get_closest_marker("skip") is None)
    if _is_worker(config):
        session.items[:] = items_for(session, edgeai, send_through(config.workerinput[CHANNEL]))  # type: ignore[attr-defined]  # pytest-xdist's
    else:
        lines = config.stash[_PREPARATION]
        session.items[:] = items_for(session, edgeai, lines.hear)
        lines.begin(len(session.items))


def _hand_over_instead(session: pytest.Session) -> None:
    """Answer the version that asks for the artifacts of this one; there is nothing to test."""
    session.items[:] = []
    if SESSION in session.config.stash:
        from pytest_edgeai.versions.other import hand_over

        hand_over(
            session.config.stash[SESSION], session.config.option.edgeai_hand_over, lambda line: print(line, flush=True)
        )


def _prepare_other(session: pytest.Session, trials: dict[str, PlannedTrial], progress: ProgressLines) -> None:
    """Have the other version make its artifacts ready, and leave out its trials that would tell nothing."""
    from pytest_edgeai.collection import parametrization
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.reporting.header import against_line

    config = session.config
    edgeai = config.stash[SESSION]
    assert edgeai.against is not None
    _note(config, f"making the artifacts of {edgeai.against.label} ready")
    planned = {*edgeai.cells, *edgeai.twins}
    try:
        edgeai.prepare_other(parametrization.places_of(config), progress.artifact)
    except SettingsError as error:
        raise pytest.UsageError(f"--edgeai-against: {error}") from None
    dropped = planned.difference(edgeai.cells, edgeai.twins)
    idle = [item for item in session.items if CELL in item.stash and item.stash[CELL] in dropped]
    session.items[:] = [item for item in session.items if item not in idle]
    for item in idle:
        del trials[item.nodeid]
    config.hook.pytest_deselected(items=idle)
    _note(config, against_line(edgeai))


def _duration(text: str) -> float:
    from pytest_edgeai.tiers.quantities import parse_quantity

    try:
        return parse_quantity(text, "duration")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _finish_unmeasured(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """End a session in which every trial was skipped: nothing was measured, and that is not green."""
    config = session.config
    if _is_worker(config):
        config.workeroutput["edgeai_unmeasured"] = True  # type: ignore[attr-defined]  # pytest-xdist's
    elif SESSION in config.stash:
        from pytest_edgeai.reporting import junit

        junit.add_to_report(config, junit.skipped_cases(config.stash[SESSION].skipped))
    result = yield
    if exitstatus == pytest.ExitCode.OK and not config.option.collectonly:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
    return result


def _is_broken(session: pytest.Session) -> bool:
    """Whether pytest is going to run nothing, because something could not be collected."""
    return bool(session.testsfailed) and not session.config.option.continue_on_collection_errors


def _note(config: pytest.Config, sentence: str) -> None:
    writer = config.get_terminal_writer()
    writer.line(f"edgeai: {sentence}")
    writer.flush()


def _seed(config: pytest.Config) -> int:
    """The seed of the order of trials: from the option, the controller of pytest-xdist, or new."""
    if _SEED not in config.stash:
        import secrets

        given = config.getoption("edgeai_seed")
        worker = getattr(config, "workerinput", {}).get("edgeai_seed")
        config.stash[_SEED] = next((seed for seed in (given, worker) if seed is not None), secrets.randbelow(2**32))
    return config.stash[_SEED]


def _is_worker(config: pytest.Config) -> bool:
    """Whether this is a worker process of pytest-xdist, where nothing is measured."""
    return hasattr(config, "workerinput")


def _benchmarks_disabled(config: pytest.Config) -> bool:
    return bool(config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"))
