"""Whether the session stood still: trials and the reference computation over time, and requests that follow others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results, StrategyName, keys_of, latencies_of
from pytest_edgeai.reporting.statistics import milliseconds
from pytest_edgeai.stats.autocorrelation import autocorrelation
from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError

_INTRODUCTION = (
    "A session that drifts shows as a trend over its trials; requests that depend on those before them show as an "
    "autocorrelation outside the dotted lines, which hold 95 % of what independent requests give."
)

_ORDER = {
    "field": "order",
    "type": "quantitative",
    "title": "place of the trial in the session",
    "axis": {"tickMinStep": 1, "format": "d"},
}


def drift(results: Results) -> Section:
    """Trials in the order of time, the reference computation likewise, and autocorrelations."""
    plots = [_trials(results), _reference(results), _autocorrelations(results)]
    return Section("drift", "Drift and autocorrelation", (_INTRODUCTION,), [plot for plot in plots if plot.rows])


def _trials(results: Results) -> Plot:
    rows: list[dict[str, Any]] = []
    for name, trials in results.valid_trials.items():
        medians_s = [float(np.median(latencies_of(trial))) for trial in trials]
        usual_s = float(np.median(medians_s))
        for trial, median_s in zip(trials, medians_s, strict=True):
            rows.append(
                {
                    **keys_of(name),
                    "trial": trial["id"],
                    "order": trial["order"],
                    "ms": specs.shortened(median_s * 1e3),
                    "ratio": specs.shortened(median_s / usual_s),
                }
            )
    rows.sort(key=lambda row: row["order"])
    layers = [
        _level(1),
        {
            "mark": {"type": "point", "filled": True, "size": 35},
            "encoding": {
                "x": _ORDER,
                "y": {
                    "field": "ratio",
                    "type": "quantitative",
                    "title": "median, of its strategy's",
                    "scale": {"zero": False, "padding": 8},
                },
                "color": specs.coloured("model", results.models, "model"),
                "shape": specs.shaped("tier", results.tiers, "tier"),
                "tooltip": specs.told(
                    ("trial", "trial"), ("ms", "median in ms", ".4~g"), ("ratio", "of its strategy's", ".3f")
                ),
            },
        },
    ]
    cells = [
        Row((row["trial"], str(row["order"]), milliseconds(row["ms"] / 1e3), f"{row['ratio']:.3f}"), _keys(row))
        for row in rows
    ]
    headings = ("trial", "place", "median", "of its strategy's")
    caption = "The median of each trial divided by the median of its strategy's trials, in the order of time."
    return Plot(
        name="trials",
        title="Trials over the session",
        caption=caption,
        spec=specs.single({"layer": layers}, height=220),
        rows=rows,
        table=Table("trials", "Medians of the trials in the order of time", headings, cells),
    )


def _reference(results: Results) -> Plot:
    found: list[dict[str, Any]] = []
    for name, trials in results.valid_trials.items():
        for trial in trials:
            for place, times in trial["reference"].items():
                if times["cpu_s"] is not None:
                    ms = specs.shortened(times["cpu_s"] * 1e3)
                    found.append({**keys_of(name), "place": place, "order": trial["order"], "ms": ms})
    found.sort(key=lambda row: (row["place"], row["order"]))
    places = list(dict.fromkeys(row["place"] for row in found))
    content = {
        "mark": {"type": "line", "point": {"size": 25}, "strokeWidth": 1},
        "encoding": {
            "x": _ORDER,
            "y": {"field": "ms", "type": "quantitative", "title": "CPU time in ms", "scale": {"zero": False}},
            "color": specs.coloured("place", places, "tier or node"),
            "strokeDash": {"field": "place", "type": "nominal", "scale": {"domain": places}, "legend": None},
            "tooltip": specs.told(("place", "tier or node"), ("order", "place"), ("ms", "CPU time in ms", ".4~g")),
        },
    }
    cells = []
    for place in places:
        times_s = np.array([row["ms"] for row in found if row["place"] == place]) / 1e3
        middle = [np.min(times_s), np.median(times_s), np.max(times_s)]
        cells.append(Row((place, str(times_s.size), *(milliseconds(float(value)) for value in middle))))
    headings = ("tier or node", "trials", "smallest", "median", "largest")
    return Plot(
        name="reference",
        title="Reference computation",
        caption="The CPU time of one fixed computation on each tier, before and after the requests of each trial: it "
        "changes where the host does.",
        spec=specs.single(content, height=200),
        rows=found,
        table=Table("reference", "CPU time of the reference computation", headings, cells),
    )


def _autocorrelations(results: Results) -> Plot:
    rows: list[dict[str, Any]] = []
    for name, trials in results.valid_trials.items():
        found = _of_strategy(trials)
        if found is not None:
            value, requests = found
            rows.append(
                {
                    **keys_of(name),
                    "strategy": "-".join(name),
                    "value": specs.shortened(value),
                    "bound": specs.shortened(1.96 / math.sqrt(requests)),
                    "requests": requests,
                }
            )
    bounds = [row["bound"] for row in rows]
    limit = max(bounds, default=0.0)
    layers: list[dict[str, Any]] = [
        _level(0),
        *({**_level(end), "mark": {"type": "rule", "strokeDash": [2, 3]}} for end in (-limit, limit)),
        {
            "mark": {"type": "point", "size": 45, "strokeWidth": 1.5},
            "encoding": {
                "x": {
                    "field": "operator",
                    "type": "nominal",
                    "title": None,
                    "sort": results.operators,
                    "axis": {"labelAngle": -30},
                },
                "xOffset": {"field": "tier", "type": "nominal", "sort": results.tiers},
                "y": {"field": "value", "type": "quantitative", "title": "lag-1 autocorrelation"},
                "color": specs.coloured("model", results.models, "model"),
                "shape": specs.shaped("tier", results.tiers, "tier"),
                "tooltip": specs.told(
                    ("strategy", "strategy"), ("value", "autocorrelation", "+.2f"), ("requests", "requests", "d")
                ),
            },
        },
    ]
    cells = [
        Row(
            (row["strategy"], f"{row['value']:+.2f}", f"± {row['bound']:.2f}", str(row["requests"])),
            _keys(row),
            "inconclusive" if abs(row["value"]) > row["bound"] else "",
        )
        for row in rows
    ]
    headings = ("strategy", "lag 1", "95 % without any", "requests")
    return Plot(
        name="autocorrelation",
        title="Autocorrelation of requests",
        caption="How much a request resembles the one before it in the same trial, each latency divided by the median "
        "of its input: the mean over the trials of each strategy.",
        spec=specs.single({"layer": layers}, height=220),
        rows=rows,
        table=Table("autocorrelation", "Lag-1 autocorrelation of requests within trials", headings, cells),
    )


def _of_strategy(trials: Sequence[Document]) -> tuple[float, int] | None:
    """The mean over trials, and over how many requests; None where no trial has requests that differ."""
    usual = _usual_by_input(trials)
    found, requests = [], 0
    for trial in trials:
        ratios = latencies_of(trial) / [usual[one] for one in trial["input"]]
        try:
            found.append(float(autocorrelation(ratios, 1)[0]))
        except StatisticsInputError:
            continue
        requests += ratios.size
    return (float(np.mean(found)), requests) if found else None


def _usual_by_input(trials: Sequence[Document]) -> dict[int, float]:
    """The median latency of each input; that of all requests where an input was sent once."""
    by_input: dict[int, list[float]] = {}
    for trial in trials:
        for one, latency_s in zip(trial["input"], trial["latency_s"], strict=True):
            by_input.setdefault(one, []).append(latency_s)
    every: FloatArray = np.concatenate([latencies_of(trial) for trial in trials])
    middle_s = float(np.median(every))
    return {one: statistics.median(values) if len(values) > 1 else middle_s for one, values in by_input.items()}


def _level(value: float) -> dict[str, Any]:
    return {
        "mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.6},
        "encoding": {"y": {"datum": value, "type": "quantitative"}},
    }


def _keys(row: Any) -> dict[str, str]:
    name: StrategyName = (row["model"], row["operator"], row["tier"])
    return keys_of(name)
