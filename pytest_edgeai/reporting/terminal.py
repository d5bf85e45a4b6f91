"""The verdicts on the terminal, at the end of pytest's output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_edgeai.reporting.accuracy import DROP_HEADINGS, drop_rows, pair_lines
from pytest_edgeai.reporting.comparison import STYLES, write_comparison
from pytest_edgeai.reporting.decisions import decision_lines
from pytest_edgeai.reporting.drawing import drawn
from pytest_edgeai.reporting.rows import HEADINGS, verdict_rows
from pytest_edgeai.reporting.statistics import p_words, title

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from pytest_edgeai.matrix.strategies import Strategy
    from pytest_edgeai.measured import Measured
    from pytest_edgeai.verdicts.outcome import SessionOutcome


def write_skipped(reporter: pytest.TerminalReporter, strategies: Sequence[Strategy]) -> None:
    """Write that nothing was measured, because all trials of these strategies were skipped."""
    names = ", ".join(strategy.id for strategy in strategies)
    reporter.write_line(f"edgeai: nothing was measured: all trials were skipped, of {names}", red=True)


def write_summary(
    reporter: pytest.TerminalReporter, measured: Measured, outcome: SessionOutcome, report: Path | None
) -> None:
    """Write the verdict table, the tests in short, the reasons and where the reports are.

    Parameters
    ----------
    reporter
        pytest's.
    measured, outcome
        What the session measured, and what was found.
    report
        The folder of reports.
    """
    reporter.section("edgeai: verdicts", "=", bold=True)
    reporter.write_line(drawn(_verdict_table(outcome), reporter.hasmarkup))
    for line in _statistics(outcome):
        reporter.write_line(line)
    rows = drop_rows(outcome)
    if rows:
        reporter.write_line(f"\n{drawn(_accuracy_table(rows), reporter.hasmarkup)}")
    for line in pair_lines(outcome.accuracy_pairs, measured.plan.settings.alpha):
        reporter.write_line(line)
    for result in outcome.results:
        if result.verdict.reason:
            line = f"{result.strategy.id}: {result.verdict.outcome}: {result.verdict.reason}"
            reporter.write_line(line, yellow=not result.verdict.fails, red=result.verdict.fails)
    for remark in outcome.remarks:
        reporter.write_line(f"edgeai: {remark}", yellow=True)
    for (model, operator), sentence in measured.failures.items():
        reporter.write_line(f"artifact {model}-{operator} could not be made: {sentence}", red=True)
    if outcome.comparison is not None:
        write_comparison(reporter, outcome.comparison)
    for line in decision_lines(outcome.decisions):
        reporter.write_line(f"choice for {line}")
    if outcome.unwritten:
        reporter.write_line(f"edgeai: {outcome.unwritten}", red=True)
    if report is not None:
        reporter.write_line(f"edgeai: reports in {report}")
    counts = [result.verdict.outcome for result in outcome.results]
    words = ", ".join(f"{counts.count(kind)} {kind}" for kind in STYLES if kind in counts)
    colour = "green" if outcome.green else "not green" if outcome.fails else "not green, tolerated"
    tries, trials = (sum(getattr(result, name) for result in outcome.results) for name in ("tries", "trials"))
    again = f", {tries} tries at {trials} trials" if tries > trials else ""
    reporter.write_line(
        f"edgeai: {words} ({colour}){again}",
        bold=True,
        green=outcome.green,
        red=outcome.fails,
    )


def _verdict_table(outcome: SessionOutcome) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number < 2)
    previous = None
    for row in verdict_rows(outcome.results):
        model = row.result.strategy.model
        if previous is not None and model != previous:
            table.add_section()
        previous = model
        name, verdict, *numbers = row.cells
        style = STYLES[row.result.verdict.outcome]
        table.add_row(name, f"[{style}]{verdict}[/{style}]", *numbers)
    return table


def _accuracy_table(rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, heading in enumerate(DROP_HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number < 1)
    for *cells, budget in rows:
        table.add_row(*cells, f"[red]{budget}[/red]" if "broken" in budget else budget)
    return table


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
