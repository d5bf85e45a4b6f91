"""The verdict table as plain text cells, the same for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_edgeai.reporting.cells import NONE, megabytes, metric_change, trial_counts
from pytest_edgeai.reporting.statistics import milliseconds as _milliseconds

if TYPE_CHECKING:
    from pytest_edgeai.measure.accuracy import Score
    from pytest_edgeai.verdicts.outcome import StrategyResult

HEADINGS = (
    "strategy",
    "verdict",
    "median",
    "p95",
    "IQR",
    "compute",
    "stretch",
    "transmit",
    "link error",
    "load",
    "size",
    "accuracy",
    "drop",
    "trials",
)
"""Latencies in milliseconds, link errors in microseconds, size in megabytes, drop in the unit of the metric."""
IMPORTANCE = (
    "strategy",
    "verdict",
    "median",
    "drop",
    "trials",
    "p95",
    "compute",
    "transmit",
    "size",
    "stretch",
    "accuracy",
    "IQR",
    "load",
    "link error",
)
"""The same, the most important first: a terminal shows as many as fit."""
ESSENTIAL = 5
"""How many of these every terminal shows."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the verdict table; the first two cells are text, the others numbers."""

    result: StrategyResult
    cells: Sequence[str]


def verdict_rows(results: Sequence[StrategyResult]) -> list[Row]:
    """A row for each strategy."""
    return [Row(result, _cells(result)) for result in results]


def accuracy_words(scores: Iterable[Score]) -> str:
    """Scores as people write them, for example `top-1 95.8 %, top-5 99.6 %`."""
    return ", ".join(map(str, scores))


def _cells(result: StrategyResult) -> list[str]:
    spans = result.spans_s
    transmits_s = [value for name, value in spans.items() if name.startswith("transmit")]
    return [
        result.strategy.id,
        result.verdict.outcome,
        _milliseconds(result.median_s),
        _milliseconds(result.p95_s),
        _milliseconds(result.iqr_s),
        _milliseconds(spans.get("compute", math.nan)),
        _milliseconds(spans.get("stretch", math.nan)),
        _milliseconds(sum(transmits_s) if transmits_s else math.nan),
        "–" if result.link_error_s is None else f"{result.link_error_s * 1e6:.0f} µs",
        _milliseconds(result.load_s),
        megabytes(result.size_bytes),
        accuracy_words(result.scores.values()) or ("not measured" if result.unmeasured else "–"),
        NONE if result.accuracy is None else metric_change(result.accuracy.drop, result.accuracy.unit),
        trial_counts(result.valid, result.trials, result.tries),
    ]
