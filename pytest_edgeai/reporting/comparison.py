"""A comparison of two sessions for people: on a terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_edgeai.reporting.drawing import Screen, Sheet
from pytest_edgeai.reporting.statistics import markdown_table
from pytest_edgeai.subjects.figures import signed_points
from pytest_edgeai.verdicts import Outcome
from pytest_edgeai.verdicts.comparison import Comparison, Row

HEADINGS = (
    "strategy",
    "verdict",
    "before",
    "after",
    "change",
    "interval",
    "p adjusted",
    "delta",
    "accuracy",
    "size",
    "reference",
)
_IMPORTANCE = (
    "strategy",
    "verdict",
    "change",
    "interval",
    "after",
    "before",
    "accuracy",
    "p adjusted",
    "size",
    "delta",
    "reference",
)
STYLES: dict[Outcome, str] = {
    "pass": "green",
    "improvement": "bold green",
    "new": "cyan",
    "no benefit": "yellow",
    "inconclusive": "yellow",
    "fail": "red",
    "regression": "red",
    "missing": "red",
    "incomparable": "bold red",
    "invalid": "bold red",
}


def cells(row: Row) -> tuple[str, ...]:
    """The columns of a row."""
    latency = row.latency
    numbers = ("same artifact" if row.same else "", "", "", "")
    if latency is not None:
        numbers = (
            f"{latency.change:+.1%}",
            f"{latency.low:+.1%} to {latency.high:+.1%}" if math.isfinite(latency.low) else "",
            f"{latency.p_adjusted:.2g}" if math.isfinite(latency.p_adjusted) else "",
            f"{latency.delta:+.2f}",
        )
    medians = [f"{value * 1e3:.4g} ms" if math.isfinite(value) else "" for value in row.medians_s]
    return (
        row.strategy,
        row.outcome,
        *medians,
        *numbers,
        "" if row.accuracy_gain is None else signed_points(row.accuracy_gain, row.accuracy_unit),
        "" if row.size is None else f"{row.size:+.1%}",
        "" if row.control is None else f"{row.control:+.1%}",
    )


def sentences(comparison: Comparison) -> Iterator[str]:
    """Why strategies did not simply pass."""
    if comparison.differences:
        yield (
            f"{comparison.before} and {comparison.after} cannot be compared: {'; '.join(comparison.differences)}: "
            "measure both on one machine with the same settings, or in one session"
        )
    yield from comparison.remarks
    for row in comparison.rows:
        if row.reasons and row.reasons != comparison.differences:  # said once
            yield f"{row.strategy}: {row.outcome}: {'; '.join(row.reasons)}"


def verdict(comparison: Comparison) -> str:
    """The outcome in one line."""
    words = ", ".join(f"{comparison.count(kind)} {kind}" for kind in STYLES if comparison.count(kind))
    colour = "green" if comparison.green else "not green" if comparison.fails else "not green, tolerated"
    return f"{comparison.after} against {comparison.before}: {words or 'nothing to compare'} ({colour})"


def markdown(comparison: Comparison) -> str:
    """For a comment on a pull request: what changed first, the rest folded away."""
    changed = [row for row in comparison.rows if row.outcome != "pass"]
    passed = [row for row in comparison.rows if row.outcome == "pass"]
    sign = "✅" if comparison.green else "❌" if comparison.fails else "⚠️"
    lines = [f"### {sign} {verdict(comparison)}", ""]
    lines += [f"- {sentence}" for sentence in sentences(comparison)]
    if changed:
        lines += ["", *markdown_table(HEADINGS, map(cells, changed))]
    if passed:
        lines += ["", f"<details><summary>{len(passed)} without a change</summary>", ""]
        lines += [*markdown_table(HEADINGS, map(cells, passed)), "", "</details>"]
    return "\n".join(lines) + "\n"


def table(comparison: Comparison) -> Sheet:
    """For a terminal."""
    styles = [STYLES[row.outcome] for row in comparison.rows]
    return Sheet(
        headings=HEADINGS,
        rows=[cells(row) for row in comparison.rows],
        importance=_IMPORTANCE,
        essential=4,
        style=lambda row, heading: styles[row] if heading == "verdict" else "",
    )


def write_comparison(screen: Screen, comparison: Comparison) -> None:
    """At the end of pytest's output."""
    screen.reporter.section(f"edgeai: against {comparison.before}", "=", bold=True)
    screen.table(table(comparison))
    for sentence in sentences(comparison):
        screen.sentence(sentence, red=comparison.fails, yellow=not comparison.fails)
    tolerated = not comparison.green and not comparison.fails
    screen.sentence(verdict(comparison), bold=True, green=comparison.green, red=comparison.fails, yellow=tolerated)
