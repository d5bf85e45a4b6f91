"""The pytest plugin: hooks, each a few lines that call the stage which does the work.

Importing this module imports nothing heavy: a user who has the plugin installed and runs other tests pays nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_edgeai.collection.options import add_options
from pytest_edgeai.collection.state import TRIAL, State, find_state, register, state_of

pytest_plugins = ["pytest_edgeai.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add our hooks."""
    from pytest_edgeai import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers, and read our options."""
    for line in (
        "edgeai(models, operators, tiers, replicates): restrict the matrix of a test, by lists of names and a number",
        "strategy(model, operator, tier, replicate): set on every trial, to select by; "
        "for example -m \"strategy(tier='edge')\"",
    ):
        config.addinivalue_line("markers", line)
    state = register(config)
    if getattr(config.option, "dist", "no") != "no":
        from pytest_edgeai.collection.planning import refuse_benchmarks_in_workers

        refuse_benchmarks_in_workers(config, state.options)
    if state.options.prepares and not config.option.benchmark_only:
        config.option.benchmark_disable = True  # else pytest-benchmark warns that it is disabled by pytest-xdist


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let workers that have prepared their share take over from others: builds differ in length by far."""
    if not (state_of(config).options.prepares and config.option.dist == "load"):
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Write of preparation, before pytest-xdist starts its workers."""
    config, state = session.config, state_of(session.config)
    if state.options.prepares and not state.options.is_worker:
        from pytest_edgeai.reporting.live_line import has_line_of_its_own
        from pytest_edgeai.reporting.preparation import PreparationLines

        capture = config.pluginmanager.getplugin("capturemanager")
        uncaptured = () if capture is None else (capture.global_and_fixture_disabled,)
        verbosity = config.get_verbosity()
        is_live = verbosity == 0 and has_line_of_its_own(config)
        state.preparation = PreparationLines(config.get_terminal_writer(), verbosity, *uncaptured, is_live=is_live)
        config.pluginmanager.register(state.preparation, "edgeai-preparation")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist that it refused the session, or that every trial was skipped."""
    from pytest_edgeai.collection.planning import refusal_in_worker

    state = state_of(node.config)
    state.refused = state.refused or refusal_in_worker(node)
    if getattr(node, "workeroutput", {}).get("edgeai_unmeasured"):
        state.is_unmeasured = True


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the workers of pytest-xdist one seed, so that they collect in one order, and a way to tell of progress."""
    state = state_of(node.config)
    node.workerinput["edgeai_seed"] = state.options.seed
    if state.preparation is not None:
        from pytest_edgeai.reporting.preparation import open_channel

        open_channel(node, state.preparation)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the axes that a test asks for."""
    from pytest_edgeai.collection import parametrization

    axes = parametrization.axes_needed(metafunc)
    if not axes:
        return
    from pytest_edgeai.collection import opening
    from pytest_edgeai.errors import EdgeAIError

    state = state_of(metafunc.config)
    sentence = state.error
    try:
        if sentence is None and state.session is None:
            state.session = opening.open_session(metafunc.config, state)
    except EdgeAIError as error:
        sentence = state.error = str(error)
    try:
        if state.session is not None:
            parametrization.parametrize(metafunc, axes, state.session)
    except EdgeAIError as error:
        sentence = str(error)
    if sentence is not None:
        parametrization.refuse(metafunc, axes, sentence)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests whose marker has no strategy in common with what the session selects."""
    from pytest_edgeai.collection import parametrization

    left_out = [item for item in items if parametrization.is_left_out(item)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        state_of(config).left_out = [item.nodeid.rpartition("[")[0] for item in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Remember which trial a test is."""
    from pytest_edgeai.collection import parametrization

    trial = parametrization.trial_of(item)
    if trial is not None:
        item.stash[TRIAL] = trial


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Plan the trials, or put what is done instead of them in the place of all tests."""
    from pytest_edgeai.collection import parametrization

    state = state_of(session.config)
    try:
        parametrization.refuse_unusable(session, state.options)
        if state.options.hand_over is not None:
            _hand_over_instead(session, state)
        elif state.options.prepares:
            _prepare_instead(session, state)
        elif state.session is not None:
            from pytest_edgeai.collection.planning import plan_trials

            plan_trials(session, state, state.session)
    except pytest.UsageError as error:
        if not state.options.is_worker:
            raise
        from pytest_edgeai.collection.planning import refuse_in_worker

        refuse_in_worker(session, str(error))


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what is going to be measured or prepared, and how."""
    state = state_of(config)
    lines = [
        f"edgeai: {name} is left out: its marker and what the session selects have no strategy in common"
        for name in state.left_out
    ]
    if state.error is not None and config.option.collectonly:  # else the tests say it
        lines.append(f"edgeai: tests that ask for the matrix fail: {state.error}")
    edgeai = state.session
    if edgeai is None:
        return lines
    if state.options.prepares:
        lines.append(
            f"edgeai: {len(edgeai.wanted)} artifacts to prepare in {edgeai.plan.store_root}, and nothing to measure"
        )
    elif edgeai.trials:
        from pytest_edgeai.reporting.drawing import Screen
        from pytest_edgeai.reporting.header import header_lines

        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            screen = Screen(reporter)
            lines += [part for line in header_lines(edgeai.describe()) for part in screen.lines(line)]
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Make all artifacts ready before the first trial."""
    state = state_of(session.config)
    measures = state.session is not None and not state.options.prepares and not state.options.is_worker
    if measures and not session.config.option.collectonly:
        from pytest_edgeai.collection.trial_items import follow_trials

        follow_trials(session, state)
    return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose place in the matrix is unknown, and no other."""
    from pytest_edgeai.collection import parametrization

    sentence = parametrization.refusal_of(item)
    if sentence is not None:
        pytest.fail(f"pytest-edgeai, whose fixtures this test asks for: {sentence}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport, config: pytest.Config
) -> Generator[None, tuple[str, str, str], tuple[str, str, str]]:
    """Spare a trial or an artifact its letter: it gets a line of its own."""
    state = state_of(config)
    status = yield
    if state.preparation is not None and config.option.verbose == 0 and isinstance(report, pytest.TestReport):
        return state.preparation.status(report) or status
    if state.progress is not None and state.progress.replaces(report):
        return status[0], "", status[2]  # without a word pytest would not count it
    return status


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_benchmark_group_stats(
    config: pytest.Config,
) -> Generator[None, list[tuple[Any, list[Any]]], list[tuple[Any, list[Any]]]]:
    """Leave trials out of pytest-benchmark's table, unless it is asked for: there is a table of verdicts."""
    groups = yield
    state = state_of(config)
    if not state.measures or state.options.shows_benchmarks:
        return groups
    others = [(name, [one for one in made if "edgeai" not in one["extra_info"]]) for name, made in groups]
    return [(name, made) for name, made in others if made]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Put the session, and all latencies of its trials, into pytest-benchmark's file: later ones are compared with it.

    Of a project's other benchmarks latencies are written where pytest-benchmark's options ask for them.
    """
    state = state_of(config)
    if state.session is not None and state.measures and not state.options.is_worker:
        from pytest_edgeai.versions.checksum import sign
        from pytest_edgeai.versions.recording import KEY, record_session

        made = {benchmark.fullname: benchmark for benchmark in benchmarks}
        for described in output_json["benchmarks"]:
            if "edgeai" in described["extra_info"]:
                described["stats"]["data"] = made[described["fullname"]].stats.data
        output_json[KEY] = record_session(state.session.measured())
        sign(output_json)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Run the statistics, judge, write the reports, and only then fail."""
    config = session.config
    state = find_state(config)
    if state is not None and state.refused is not None:
        yield
        raise pytest.UsageError(state.refused)
    if state is not None and state.is_unmeasured:
        return (yield from _finish_unmeasured(session, state, exitstatus))
    if state is None or state.session is None or state.progress is None or not state.measures:
        return (yield)
    if exitstatus == pytest.ExitCode.USAGE_ERROR and not state.session.records:  # it never came to a trial
        return (yield)
    from pytest_edgeai import conclusion
    from pytest_edgeai.collection.interruption import end_of
    from pytest_edgeai.reporting import junit

    measured = state.measured = state.session.measured(end_of(state.interruption, exitstatus))
    rule = None if state.undecided is None else state.undecided.rule
    outcome = conclusion.conclude(measured, state.baseline, rule)
    if state.report is not None:
        outcome = conclusion.write_reports(state.report, measured, outcome)
    state.outcome = outcome
    junit.add_to_report(config, junit.session_cases(outcome, measured.failures), outcome.comparison)
    result = yield
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and outcome.fails:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return result


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the verdicts."""
    state = state_of(config)
    if state.measured is None or state.outcome is None:
        if state.skipped:
            from pytest_edgeai.reporting.terminal import write_skipped

            write_skipped(terminalreporter, state.skipped)
        return
    from pytest_edgeai.reporting.terminal import write_summary

    path = None if state.report is None else state.report.path
    write_summary(terminalreporter, state.measured, state.outcome, path)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the session holds, however it ended."""
    state = find_state(config)
    if state is not None and state.session is not None:
        state.session.close()


def _prepare_instead(session: pytest.Session, state: State) -> None:
    """Put an item for each artifact that tests need in the place of all tests."""
    needing, session.items[:] = list(session.items), []
    edgeai = state.session
    if edgeai is None:
        return
    from pytest_edgeai.collection import parametrization
    from pytest_edgeai.collection.opening import baseline_of
    from pytest_edgeai.collection.preparation_items import items_for
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.reporting.preparation import CHANNEL, send_through

    edgeai.artifacts = parametrization.artifacts_of(item for item in needing if item.get_closest_marker("skip") is None)
    try:
        edgeai.registered.refuse_unusable(edgeai.wanted, edgeai.plan.find)
        baseline_of(session.config, state)  # who prepares what is going to be compared hears of a wrong name now
    except EdgeAIError as error:
        raise pytest.UsageError(str(error)) from None
    if state.options.is_worker:
        channel = session.config.workerinput[CHANNEL]  # type: ignore[attr-defined]  # pytest-xdist's
        session.items[:] = items_for(session, edgeai, send_through(channel))
    else:
        assert state.preparation is not None
        session.items[:] = items_for(session, edgeai, state.preparation.hear)
        state.preparation.begin(len(session.items))


def _hand_over_instead(session: pytest.Session, state: State) -> None:
    """Answer the version that asks for the artifacts of this one; there is nothing to test."""
    session.items[:] = []
    if state.session is not None and state.options.hand_over is not None:
        from pytest_edgeai.versions.other import hand_over

        hand_over(state.session, state.options.hand_over, lambda line: print(line, flush=True))


def _finish_unmeasured(session: pytest.Session, state: State, exitstatus: int) -> Generator[None, object, object]:
    """End a session in which every trial was skipped: nothing was measured, and that is not green."""
    config = session.config
    if state.options.is_worker:
        config.workeroutput["edgeai_unmeasured"] = True  # type: ignore[attr-defined]  # pytest-xdist's
    elif state.session is not None:
        from pytest_edgeai.reporting import junit

        junit.add_to_report(config, junit.skipped_cases(state.skipped))
    result = yield
    if exitstatus == pytest.ExitCode.OK and not config.option.collectonly:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
    return result
