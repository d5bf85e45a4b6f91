"""Predicted latencies as a table, JSON, CSV and a Vega-Lite plot; each says that it was not measured."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.reporting.statistics import markdown_table, milliseconds

if TYPE_CHECKING:
    from pytest_edgeai.decisions.predicting import Best
    from pytest_edgeai.decisions.quantiles import Interval

NOTE: Final = (
    "Predicted, not measured: from the requests of a session, with the time on links and the stretch of compute put in "
    "anew. Intervals are those of the trials, wider by the error that probes show the model of each changed link to "
    "have; they do not tell what a host does that is not this one."
)
_HEADINGS: Final = ("strategy", "measured", "predicted", "interval")
_BEST_HEADINGS: Final = ("among", "from", "to", "best (predicted)")
_COLUMNS: Final = ("model", "strategy", "link", "rate_bps", "predicted_latency_s")


@dataclass(frozen=True, slots=True)
class Predicted:
    """A strategy's predicted latency.

    Parameters
    ----------
    strategy
        Its id.
    measured_s
        The percentile as it was measured.
    latency
        The percentile as predicted.
    """

    strategy: str
    measured_s: float
    latency: Interval


@dataclass(frozen=True, slots=True)
class Curve:
    """The predicted latency of a strategy over rates of a link, shapes [rates]."""

    model: str
    strategy: str
    rates_bps: Sequence[float]
    latencies_s: Sequence[float]


@dataclass(frozen=True, slots=True)
class BestOf:
    """Which of some strategies is the best, over rates of a link."""

    among: str
    bests: Sequence[Best]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Everything that was predicted.

    Parameters
    ----------
    source
        The report.
    changes
        What is different from the session, in words.
    percentile
        Of latency.
    strategies
        After the change.
    failures
        Why others cannot be predicted, by strategy.
    link
        The link whose rate varies, or empty.
    curves, bests
        Over its rates.
    """

    source: str
    changes: Sequence[str]
    percentile: float
    strategies: Sequence[Predicted]
    failures: dict[str, str]
    link: str = ""
    curves: Sequence[Curve] = ()
    bests: Sequence[BestOf] = ()


def markdown(one: Prediction) -> str:
    """The tables in Markdown."""
    which = "medians" if one.percentile == 50 else f"percentiles {one.percentile:g}"
    lines = [f"# Predicted from {one.source}", "", *(f"- {change}" for change in one.changes)]
    lines += ["", f"{NOTE} Latencies are {which}.", ""]
    lines += markdown_table(
        _HEADINGS,
        [
            (row.strategy, milliseconds(row.measured_s), milliseconds(row.latency.estimate), _ends(row.latency))
            for row in one.strategies
        ],
    )
    if one.bests:
        lines += ["", f"## The best over rates of {one.link}", ""]
        rows = [
            (group.among, _rate(best.low), _rate(best.high), best.name) for group in one.bests for best in group.bests
        ]
        lines += markdown_table(_BEST_HEADINGS, rows)
    if one.failures:
        lines += ["", "Not predicted:", "", *(f"- {name}: {why}" for name, why in one.failures.items())]
    return "\n".join(lines) + "\n"


def _ends(value: Interval) -> str:
    return " to ".join("–" if math.isinf(end) else milliseconds(end) for end in (value.low, value.high))


def _rate(rate_bps: float) -> str:
    return f"{rate_bps / 1e6:.3g} Mbit/s"


def document(one: Prediction) -> dict[str, Any]:
    """The prediction as JSON."""
    return {
        "predicted": True,
        "note": NOTE,
        "source": one.source,
        "changes": list(one.changes),
        "percentile": one.percentile,
        "strategies": [
            {
                "id": row.strategy,
                "measured_s": row.measured_s,
                "predicted_s": row.latency.estimate,
                "low_s": row.latency.low if math.isfinite(row.latency.low) else None,
                "high_s": row.latency.high if math.isfinite(row.latency.high) else None,
            }
            for row in one.strategies
        ],
        "failures": [{"id": name, "reason": why} for name, why in one.failures.items()],
        "link": one.link or None,
        "best": [
            {"among": group.among, "strategy": best.name, "low_bps": best.low, "high_bps": best.high}
            for group in one.bests
            for best in group.bests
        ],
    }


def curve_rows(one: Prediction) -> list[dict[str, Any]]:
    """A row for each strategy and rate."""
    return [
        dict(zip(_COLUMNS, (curve.model, curve.strategy, one.link, rate_bps, latency_s), strict=True))
        for curve in one.curves
        for rate_bps, latency_s in zip(curve.rates_bps, curve.latencies_s, strict=True)
    ]


def curves_csv(one: Prediction) -> str:
    """The rows of `curve_rows` as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows(curve_rows(one))
    return text.getvalue()


def curves_plot(one: Prediction) -> dict[str, Any]:
    """A Vega-Lite specification of latency over rate, a panel for each model; where lines cross, the best changes."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": f"Predicted, not measured: latency over the rate of {one.link}",
        "data": {"values": curve_rows(one)},
        "facet": {"field": "model", "type": "nominal", "columns": 2},
        "spec": {
            "width": 400,
            "height": 260,
            "mark": {"type": "line", "strokeDash": [6, 3], "tooltip": True},
            "encoding": {
                "x": {
                    "field": "rate_bps",
                    "type": "quantitative",
                    "scale": {"type": "log"},
                    "axis": {"title": f"rate of {one.link} (bit/s)", "format": "~s"},
                },
                "y": {
                    "field": "predicted_latency_s",
                    "type": "quantitative",
                    "scale": {"type": "log"},
                    "axis": {"title": "predicted latency (s)", "format": "~s"},
                },
                "color": {"field": "strategy", "type": "nominal"},
            },
        },
        "resolve": {"scale": {"color": "independent", "y": "independent"}},
    }
