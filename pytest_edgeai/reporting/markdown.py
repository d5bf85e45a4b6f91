"""`summary.md`: the outcome in Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_edgeai.reporting.accuracy import accuracy_section
from pytest_edgeai.reporting.budgets import HEADINGS as BUDGET_HEADINGS
from pytest_edgeai.reporting.budgets import budget_rows, energy_sentence
from pytest_edgeai.reporting.cells import count, megabytes, millions, percent
from pytest_edgeai.reporting.decisions import decisions_section
from pytest_edgeai.reporting.files import strategy_document
from pytest_edgeai.reporting.header import header_lines
from pytest_edgeai.reporting.nodes import HEADINGS as NODE_HEADINGS
from pytest_edgeai.reporting.nodes import slowest_rows
from pytest_edgeai.reporting.rows import HEADINGS, verdict_rows
from pytest_edgeai.reporting.statistics import markdown_table as _table
from pytest_edgeai.reporting.statistics import markdown_tables, methods
from pytest_edgeai.reporting.tiers import HEADINGS as TIER_HEADINGS
from pytest_edgeai.reporting.tiers import tier_rows

if TYPE_CHECKING:
    from pytest_edgeai.measured import Measured
    from pytest_edgeai.verdicts.outcome import SessionOutcome


def summary(measured: Measured, outcome: SessionOutcome) -> str:
    """The whole document."""
    lines = [f"# pytest-edgeai: {'green' if outcome.green else 'not green'}", ""]
    lines += [f"- {line.removeprefix('edgeai: ')}" for line in header_lines(measured.plan)]
    lines += [f"- {remark}" for remark in outcome.remarks]
    lines += ["", "## Verdicts", "", "Latencies are medians over all requests of the valid trials."]
    lines += ["Accuracy is that of the exported artifact on the validation samples; drop is against the baseline.", ""]
    lines += _table(HEADINGS, [row.cells for row in verdict_rows(outcome.results)])
    limits = budget_rows(map(strategy_document, outcome.results))
    if limits:
        lines += ["", "## Budgets", "", *_table(BUDGET_HEADINGS, limits)]
    lines += _energy(outcome)
    said = [result for result in outcome.results if result.verdict.green and result.verdict.reason]
    if said:
        lines += ["", "## Promised speed", ""]
        lines += [f"- `{one.strategy.id}`: {one.verdict.outcome}: {one.verdict.reason}" for one in said]
    reasons = [result for result in outcome.results if not result.verdict.green]
    if reasons or measured.failures:
        lines += ["", "## Why it is not green", ""]
        lines += [f"- `{one.strategy.id}` is {one.verdict.outcome}: {one.verdict.reason}" for one in reasons]
        lines += [
            f"- artifact `{model}-{operator}` could not be made: {sentence}"
            for (model, operator), sentence in measured.failures.items()
        ]
    lines += decisions_section(outcome.decisions)
    lines += accuracy_section(outcome)
    lines += _artifacts(measured)
    rows = tier_rows(measured.plan.settings.topology.tiers, measured.plan.allotments, measured.records.values())
    lines += ["", "## Tiers", "", *_table(TIER_HEADINGS, rows)]
    records = measured.own_records.values()
    slowest = slowest_rows((one.trial.strategy.id, [sent.slowest for sent in one.measurements]) for one in records)
    if slowest:
        named = [(f"`{name}`", *cells) for name, *cells in slowest]
        lines += ["", "## Slowest nodes", "", *_table(NODE_HEADINGS, named)]
    if outcome.analysis is not None:
        lines += ["", "## Statistics", "", methods(outcome.analysis), *markdown_tables(outcome.analysis)]
    return "\n".join(lines) + "\n"


def _energy(outcome: SessionOutcome) -> list[str]:
    """What a request of each strategy took, or why nobody knows."""
    rows = [
        (one.strategy.id, f"{joules:.4g} J", one.energy_source)
        for one in outcome.results
        if one.figures is not None and (joules := one.figures.middle("energy")) is not None
    ]
    unknown = energy_sentence(outcome.results)
    lines = ["", "## Energy of a request", ""] if rows or unknown else []
    lines += _table(("strategy", "energy", "source"), rows) if rows else []
    return [*lines, *([unknown] if unknown else [])]


def _artifacts(measured: Measured) -> list[str]:
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
    for ready in measured.prepared.values():
        provenance = ready.artifact.entry.provenance
        rows.append(
            (
                ready.artifact.name,
                f"`{ready.artifact.entry.digest[:12]}`",
                _engines(provenance),
                count(provenance["parameters"]),
                count(provenance["nonzero_parameters"]),
                percent(provenance["sparsity"]),
                millions(provenance["macs"]),
                f"{provenance['training_samples']:,} samples" if provenance["training_samples"] else "–",
                f"{provenance['build_s']:.1f} s",
                f"{provenance['peak_memory_bytes'] / 2**20:.0f} MiB",
            )
        )
    return ["", "## Artifacts", "", *_table(headings, rows), *_nodes(measured)]


def _nodes(measured: Measured) -> list[str]:
    """What the artifacts for several nodes have for each."""
    rows = [
        (
            ready.artifact.name,
            str(number),
            count(node["parameters"]),
            millions(node["macs"]),
            megabytes(node["size_bytes"]),
        )
        for ready in measured.prepared.values()
        for number, node in enumerate(ready.artifact.entry.provenance.get("nodes", ()))
    ]
    if not rows:
        return []
    return ["", "### By node", "", *_table(("artifact", "node", "parameters", "MACs", "size"), rows)]


def _engines(provenance: Mapping[str, Any]) -> str:
    """The libraries that did the work with their versions, for example `neural-compressor 3.7.1`."""
    versions = provenance["libraries"]
    return " > ".join(f"{name} {versions.get(name) or ''}".strip() for name in provenance["engine"].split(" > "))
