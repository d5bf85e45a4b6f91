"""The tables of an analysis as plain text cells and sentences, the same for the terminal and for Markdown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_edgeai.stats import Analysis, BlockedPair, Pair, StrategySummary, Table

METHODS = (
    "Kruskal–Wallis over the groups of a table (effect ε²), Conover–Iman for its pairs (adjusted by {method}), Cliff's "
    "delta with Feng and Cliff's interval as effect size: a positive delta says that the first is slower, a / b is the "
    "ratio of medians. N, S, M and L are negligible, small, medium and large. A pair is significant where the p of its "
    "table and its own adjusted p are both below {alpha:g}."
)
STRATEGY_HEADINGS = ("strategy", "n", "median", "p95", "IQR", "Shapiro–Wilk W", "p")
PAIR_HEADINGS = ("a", "b", "a / b", "t", "p", "p adjusted", "delta", "its interval", "magnitude", "significant")
BLOCKED_HEADING = "a - b per input"


def methods(analysis: Analysis) -> str:
    """What the tables were made with."""
    return METHODS.format(method=analysis.settings.p_adjust, alpha=analysis.settings.alpha)


def strategy_rows(strategies: Iterable[StrategySummary]) -> list[tuple[str, ...]]:
    """A row for each strategy, under `STRATEGY_HEADINGS`."""
    return [
        (
            f"{one.model}-{one.operator}-{one.tier}",
            str(one.n),
            milliseconds(one.median_s),
            milliseconds(one.p95_s),
            milliseconds(one.iqr_s),
            f"{one.shapiro.w:.4f}",
            f"{one.shapiro.p:.2g}",
        )
        for one in strategies
    ]


def title(table: Table) -> str:
    """What a table compares."""
    if table.dimension == "operator":
        return f"Operators of {table.model} on {table.tier}"
    return f"Tiers of {table.model}-{table.operator}"


def sentences(table: Table) -> list[str]:
    """What the tests over all groups say, and whether the input hides what is compared."""
    kruskal, blocked = table.kruskal, table.blocked
    lines = [
        f"Kruskal–Wallis H = {kruskal.h:.4g} on {kruskal.df} df, p = {p_words(kruskal.p, kruskal.log10_p)}, "
        f"ε² = {kruskal.epsilon_squared:.3f}."
    ]
    if blocked is not None:
        test = blocked.friedman
        lines.append(
            f"Blocked by input, Friedman's Q = {test.q:.4g} on {test.df} df over {test.blocks} blocks, "
            f"p = {p_words(test.p, test.log10_p)}."
        )
        if blocked.words:
            lines.append(blocked.words)
    return lines


def pair_headings(table: Table) -> tuple[str, ...]:
    """The headings of `pair_rows`."""
    return PAIR_HEADINGS if table.blocked is None else (*PAIR_HEADINGS, BLOCKED_HEADING)


def pair_rows(table: Table) -> list[tuple[str, ...]]:
    """A row for each pair; with the paired difference where there are inputs to pair by."""
    differences: Iterable[BlockedPair | None] = itertools.repeat(None) if not table.blocked else table.blocked.pairs
    medians_s = {group.label: group.median_s for group in table.groups}
    return [
        _pair(pair, _ratio(medians_s[pair.a], medians_s[pair.b]), difference)
        for pair, difference in zip(table.pairs, differences, strict=False)
    ]


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.2f}" if b > 0 else "–"


def _pair(pair: Pair, ratio: str, blocked: BlockedPair | None) -> tuple[str, ...]:
    cells = (
        pair.a,
        pair.b,
        ratio,
        f"{pair.conover_t:.3g}",
        p_words(pair.p, pair.log10_p),
        p_words(pair.p_adjusted),
        f"{pair.delta_a_b:+.3f}",
        f"{pair.delta_low:+.2f} to {pair.delta_high:+.2f}",
        pair.magnitude,
        "yes" if pair.significant else "no",
    )
    return cells if blocked is None else (*cells, _difference(blocked))


def _difference(blocked: BlockedPair) -> str:
    found = blocked.difference
    median, low, high = (
        f"{1e3 * x:+,.0f}" if abs(x) >= 0.1 else f"{1e3 * x:+.3g}" for x in (found.median, found.low, found.high)
    )
    return f"{median} ms ({low} to {high})"


def p_words(p: float, log10_p: float | None = None) -> str:
    """A p-value in three digits; where it underflows, from its logarithm or as a bound."""
    if p >= 1e-300:
        return f"{p:.3g}"
    if log10_p is None:
        return "<1e-300"
    exponent = math.floor(log10_p)
    return f"{10 ** (log10_p - exponent):.2f}e{exponent}"


def milliseconds(seconds: float) -> str:
    """Milliseconds with digits as latencies deserve; a dash where there is no number."""
    if math.isnan(seconds):
        return "–"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.2f} ms"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [
        f"| {' | '.join(headings)} |",
        f"|{'|'.join(' --- ' for _ in headings)}|",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
    ]


def markdown_tables(analysis: Analysis) -> list[str]:
    """The lines of all tables in Markdown."""
    lines = []
    for table in analysis.tables:
        lines += ["", f"### {title(table)}", "", *sentences(table), ""]
        lines += markdown_table(pair_headings(table), pair_rows(table))
    return lines
