"""`summary.md`: the outcome in Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_edgeai.reporting.header import header_lines
from pytest_edgeai.reporting.rows import HEADINGS, verdict_rows
from pytest_edgeai.reporting.tiers import HEADINGS as TIER_HEADINGS
from pytest_edgeai.reporting.tiers import tier_rows
from pytest_edgeai.verdicts import GREEN

if TYPE_CHECKING:
    from pytest_edgeai.outcome import SessionOutcome
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.stats import Table


def summary(session: MeasuringSession, outcome: SessionOutcome) -> str:
    """The whole document."""
    lines = [f"# pytest-edgeai: {'green' if outcome.green else 'not green'}", ""]
    lines += [f"- {line.removeprefix('edgeai: ')}" for line in header_lines(session)]
    lines += [f"- {remark}" for remark in outcome.remarks]
    lines += ["", "## Verdicts", "", "Latencies are medians over all requests of the valid trials."]
    lines += ["Accuracy is that of the exported artifact on the validation samples; drop is against the baseline.", ""]
    lines += _table(HEADINGS, [row.cells for row in verdict_rows(outcome.results)])
    slow = [result for result in outcome.results if result.verdict.outcome == "no benefit"]
    if slow:
        lines += ["", "## No benefit", ""]
        lines += [f"- `{one.strategy.id}`: {one.verdict.reason}" for one in slow]
    reasons = [result for result in outcome.results if result.verdict.outcome not in GREEN]
    if reasons or session.failures:
        lines += ["", "## Why it is not green", ""]
        lines += [f"- `{one.strategy.id}` is {one.verdict.outcome}: {one.verdict.reason}" for one in reasons]
        lines += [
            f"- artifact `{model}-{operator}` could not be made: {sentence}"
            for (model, operator), sentence in session.failures.items()
        ]
    lines += _artifacts(session)
    rows = tier_rows(session.settings.topology.tiers, session.allotments, session.records.values())
    lines += ["", "## Tiers", "", *_table(TIER_HEADINGS, rows)]
    if outcome.analysis is not None:
        lines += ["", "## Statistics", ""]
        lines += [
            "Kruskal–Wallis over the groups of a table, Conover–Iman for its pairs "
            f"(adjusted by {outcome.analysis.settings.p_adjust}), Cliff's delta as effect size: a positive delta says "
            "that the first is slower. N, S, M and L are negligible, small, medium and large.",
        ]
        for table in outcome.analysis.tables:
            lines += _statistics(table)
    return "\n".join(lines) + "\n"


def _artifacts(session: MeasuringSession) -> list[str]:
    headings = (
        "artifact",
        "digest",
        "engine",
        "parameters",
        "non-zero",
        "sparsity",
        "MACs",
        "trained on",
        "built in",
        "peak memory",
    )
    rows = []
    for ready in session.prepared.values():
        provenance = ready.artifact.entry.provenance
        rows.append(
            (
                ready.artifact.name,
                f"`{ready.artifact.entry.digest[:12]}`",
                _engines(provenance),
                f"{provenance['parameters']:,}",
                f"{provenance['nonzero_parameters']:,}",
                f"{provenance['sparsity']:.1%}",
                f"{provenance['macs'] / 1e6:.1f} M",
                f"{provenance['training_samples']:,} samples" if provenance["training_samples"] else "–",
                f"{provenance['build_s']:.1f} s",
                f"{provenance['peak_memory_bytes'] / 2**20:.0f} MiB",
            )
        )
    return ["", "## Artifacts", "", *_table(headings, rows)]


def _engines(provenance: Mapping[str, Any]) -> str:
    """The libraries that did the work with their versions, for example `neural-compressor 3.7.1`."""
    versions = provenance["libraries"]
    return " > ".join(f"{name} {versions.get(name) or ''}".strip() for name in provenance["engine"].split(" > "))


def _statistics(table: Table) -> list[str]:
    if table.dimension == "operator":
        title = f"Operators of {table.model} on {table.tier}"
    else:
        title = f"Tiers of {table.model}-{table.operator}"
    lines = ["", f"### {title}", ""]
    lines.append(f"Kruskal–Wallis H = {table.kruskal.h:.4g} on {table.kruskal.df} df, p = {table.kruskal.p:.3g}.")
    if table.blocked is not None:
        lines.append(f"Blocked by input, Friedman's p = {table.blocked.friedman.p:.3g}.")
        if table.blocked.words:
            lines.append(table.blocked.words)
    lines.append("")
    rows = [
        (
            pair.a,
            pair.b,
            f"{pair.conover_t:.3g}",
            f"{pair.p:.3g}",
            f"{pair.p_adjusted:.3g}",
            f"{pair.delta_a_b:+.3f}",
            pair.magnitude,
            "yes" if pair.significant else "no",
        )
        for pair in table.pairs
    ]
    return lines + _table(("a", "b", "t", "p", "p adjusted", "delta", "magnitude", "significant"), rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        f"|{'|'.join(' --- ' for _ in headings)}|",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
    ]
