"""The verdicts on the terminal, at the end of pytest's output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import pytest

from pytest_edgeai.reporting.accuracy import DROP_HEADINGS, drop_rows, pair_lines
from pytest_edgeai.reporting.advice import advice
from pytest_edgeai.reporting.budgets import HEADINGS as BUDGET_HEADINGS
from pytest_edgeai.reporting.budgets import budget_rows, energy_sentence
from pytest_edgeai.reporting.comparison import STYLES, write_comparison
from pytest_edgeai.reporting.decisions import decision_lines
from pytest_edgeai.reporting.drawing import Screen, Sheet
from pytest_edgeai.reporting.files import strategy_document
from pytest_edgeai.reporting.rows import ESSENTIAL, HEADINGS, IMPORTANCE, verdict_rows
from pytest_edgeai.reporting.statistics import p_words, title

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_edgeai.matrix.strategies import Strategy
    from pytest_edgeai.measured import Measured
    from pytest_edgeai.verdicts.outcome import SessionOutcome, StrategyResult

_TOLD_TOGETHER: Final = 3
"""So many strategies that are invalid for reasons which differ in numbers alone have one line."""


def write_skipped(reporter: pytest.TerminalReporter, strategies: Sequence[Strategy]) -> None:
    """Write that nothing was measured, because all trials of these strategies were skipped."""
    names = ", ".join(strategy.id for strategy in strategies)
    reporter.write_line(f"edgeai: nothing was measured: all trials were skipped, of {names}", red=True)


def write_summary(
    reporter: pytest.TerminalReporter, measured: Measured, outcome: SessionOutcome, report: Path | None
) -> None:
    """Write the verdict table, what is to be said of the session, and at last what failed and what to do about it.

    Parameters
    ----------
    reporter
        pytest's.
    measured, outcome
        What the session measured, and what was found.
    report
        The folder of reports.
    """
    screen = Screen(reporter)
    reporter.section("edgeai: verdicts", "=", bold=True)
    screen.table(_verdicts(outcome.results))
    if screen.is_verbose:
        _write_budgets(screen, outcome)
        _write_statistics(screen, measured, outcome)
    for result in outcome.results:
        if result.verdict.green and result.verdict.reason:
            screen.sentence(_reason(result), yellow=True)
    for remark in outcome.remarks:
        screen.sentence(f"edgeai: {remark}", yellow=True)
    if outcome.comparison is not None:
        write_comparison(screen, outcome.comparison)
    for line in decision_lines(outcome.decisions):
        screen.sentence(f"choice for {line}")
    if report is not None:
        rest = "" if screen.is_verbose else ", with all columns and tests in summary.md (here with -v)"
        screen.sentence(f"edgeai: reports in {report}{rest}")
    _write_failures(screen, measured, outcome)
    counts = [result.verdict.outcome for result in outcome.results]
    words = ", ".join(f"{counts.count(kind)} {kind}" for kind in STYLES if kind in counts)
    colour = "green" if outcome.green else "not green" if outcome.fails else "not green, tolerated"
    tries, trials = (sum(getattr(result, name) for result in outcome.results) for name in ("tries", "trials"))
    again = f", {tries} tries at {trials} trials" if tries > trials else ""
    screen.sentence(f"edgeai: {words} ({colour}){again}", bold=True, green=outcome.green, red=outcome.fails)


def _write_budgets(screen: Screen, outcome: SessionOutcome) -> None:
    """Write each limit of a budget, and why energy is not known."""
    rows = budget_rows(map(strategy_document, outcome.results))
    styles = [STYLES[budget.verdict.outcome] for result in outcome.results for budget in result.budgets]
    if rows:
        screen.reporter.write_line("")
        screen.table(
            Sheet(
                headings=BUDGET_HEADINGS,
                rows=rows,
                importance=("strategy", "budget", "verdict", "measured", "limit", "interval"),
                essential=5,
                style=lambda row, heading: styles[row] if heading == "verdict" else "",
            )
        )
    unknown = energy_sentence(outcome.results)
    if unknown:
        screen.sentence(unknown)


def _write_statistics(screen: Screen, measured: Measured, outcome: SessionOutcome) -> None:
    """Write the tests in short and the accuracies with their intervals."""
    for line in _statistics(outcome):
        screen.sentence(line.strip(), indent=" " * (len(line) - len(line.lstrip())))
    rows = drop_rows(outcome)
    if rows:
        screen.reporter.write_line("")
        screen.table(_accuracies(rows))
    for line in pair_lines(outcome.accuracy_pairs, measured.plan.settings.alpha):
        screen.sentence(line.strip(), indent=" " * (len(line) - len(line.lstrip())))


def _write_failures(screen: Screen, measured: Measured, outcome: SessionOutcome) -> None:
    """Write what is not green, the gravest last, and what to do about each kind."""
    for (model, operator), sentence in measured.failures.items():
        screen.sentence(f"artifact {model}-{operator} could not be made: {sentence}", red=True)
    for kind in STYLES:
        found = [one for one in outcome.results if one.verdict.outcome == kind and not one.verdict.green]
        for result, *alike in _alike(found, whole=screen.is_verbose):
            fails = result.verdict.fails
            screen.sentence(_reason(result), red=fails, yellow=not fails)
            if alike:
                names = ", ".join(one.strategy.id for one in alike)
                sentence = f"and for a reason like it, with other numbers (in summary.md, here with -v): {names}"
                screen.sentence(sentence, indent="  ", red=fails, yellow=not fails)
        if found and advice(kind):
            screen.sentence(f"What to do: {advice(kind)}.", indent="  ")
    if outcome.unwritten:
        screen.sentence(f"edgeai: {outcome.unwritten}", red=True)


def _alike(results: Sequence[StrategyResult], *, whole: bool) -> list[list[StrategyResult]]:
    """Group results whose trials were spoiled by the same kind of thing, as all are on a host that is busy."""
    kinds: dict[str, list[StrategyResult]] = {}
    for one in results:
        is_spoiled = one.verdict.outcome == "invalid" and not whole
        kind = re.sub(r"[\d.]+", "#", one.verdict.reason.partition(": ")[0]) if is_spoiled else one.strategy.id
        kinds.setdefault(kind, []).append(one)
    parts: list[list[StrategyResult]] = []
    for some in kinds.values():
        parts += [some] if len(some) >= _TOLD_TOGETHER else [[one] for one in some]
    return parts


def _reason(result: StrategyResult) -> str:
    return f"{result.strategy.id}: {result.verdict.outcome}: {result.verdict.reason}"


def _verdicts(results: Sequence[StrategyResult]) -> Sheet:
    styles = [STYLES[result.verdict.outcome] for result in results]
    return Sheet(
        headings=HEADINGS,
        rows=[row.cells for row in verdict_rows(results)],
        importance=IMPORTANCE,
        essential=ESSENTIAL,
        style=lambda row, heading: styles[row] if heading == "verdict" else "",
    )


def _accuracies(rows: Sequence[Sequence[str]]) -> Sheet:
    return Sheet(
        headings=DROP_HEADINGS,
        rows=rows,
        importance=("artifact", "drop", "budget", "interval", "accuracy", "metric", "p", *DROP_HEADINGS[5:7]),
        essential=3,
        style=lambda row, heading: "red" if heading == "budget" and "broken" in rows[row][-1] else "",
    )


def _statistics(outcome: SessionOutcome) -> list[str]:
    """A line for each table of tests."""
    if outcome.analysis is None:
        return []
    lines = []
    for table in outcome.analysis.tables:
        found = [
            f"{pair.a} {'>' if pair.delta_a_b > 0 else '<'} {pair.b} ({pair.magnitude})"
            for pair in table.pairs
            if pair.significant
        ]
        lines.append(
            f"{title(table)}: Kruskal–Wallis p = {p_words(table.kruskal.p, table.kruskal.log10_p)}; "
            + (", ".join(found) if found else "no significant pair")
        )
        if table.blocked is not None and table.blocked.words:
            lines.append(f"  {table.blocked.words}")
    return lines
