"""Distributions of latencies: box plots of each model's strategies, and Q–Q plots of each strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Results, StrategyName, keys_of
from pytest_edgeai.reporting.statistics import milliseconds, p_words
from pytest_edgeai.stats.samples import FloatArray

_BOXES = (
    "A box reaches from the lower to the upper quartile of all requests of the valid trials, its line is the median, "
    "and its whiskers reach to the last request within 1.5 interquartile ranges; farther ones are dots."
)
_QUANTILES = (
    "Where latencies are normally distributed, the dots of a Q–Q plot are on its line, which goes through the "
    "quartiles; Shapiro–Wilk's p says how well that fits all of them."
)
_MOST_OUTLIERS = 12
_MOST_DOTS = 40
_TAIL = 8
_STEPS = 101
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def distributions(results: Results) -> Section:
    """The study's box plots and Q–Q plots."""
    normality = _normality(results)
    plots = []
    for model in results.models:
        strategies = results.of_model(model)
        if strategies:
            colours = results.tiers
            plots.append(box_plot(model, strategies, results.latencies_s, colours))
            plots.append(quantile_plot(model, strategies, results.latencies_s, normality))
    return Section("distributions", "Distributions of latencies", (_BOXES, _QUANTILES), plots)


def box_plot(
    model: str,
    strategies: Sequence[StrategyName],
    latencies_s: Mapping[StrategyName, FloatArray],
    tiers: Sequence[str],
    name: str = "",
) -> Plot:
    """Box plots of strategies, one below the other.

    Parameters
    ----------
    model
        Of all of them.
    strategies
        In the order of rows.
    latencies_s
        Seconds by strategy.
    tiers
        All that the page has, so that each keeps its colour.
    name
        Of the plot, where it is not that of a model.
    """
    rows = [_box(strategy, latencies_s[strategy]) for strategy in strategies]
    far: dict[str, Any] = {
        "transform": [{"flatten": ["far"]}],
        "mark": {"type": "point", "size": 12, "filled": True, "opacity": 0.6},
    }
    values = [row[key] for row in rows for key in ("low", "high")] + [value for row in rows for value in row["far"]]
    place = {"y": specs.rows_of("strategy", [row["strategy"] for row in rows])}
    colour = {"color": specs.coloured("tier", tiers, "tier")}
    tips = {
        "tooltip": specs.told(
            ("strategy", "strategy"),
            ("median", "median in ms", ".4~g"),
            ("q1", "lower quartile", ".4~g"),
            ("q3", "upper quartile", ".4~g"),
            ("low", "whisker from", ".4~g"),
            ("high", "whisker to", ".4~g"),
            ("n", "requests", ","),
        )
    }

    def along(start: str, end: str = "") -> dict[str, Any]:
        x = specs.milliseconds(start, values, "latency in ms")
        return {"x": x, **({"x2": {"field": end}} if end else {})}

    layers: list[dict[str, Any]] = [
        {"mark": {"type": "rule"}, "encoding": {**place, **along("low", "high"), **tips}},
        {"mark": {"type": "bar", "size": 12}, "encoding": {**place, **along("q1", "q3"), **colour, **tips}},
        {
            "mark": {"type": "tick", "size": 12, "thickness": 2, "color": "currentColor"},
            "encoding": {**place, **along("median"), **tips},
        },
        {**far, "encoding": {**place, **along("far"), **colour, **tips}},
    ]
    return Plot(
        name=name or f"boxes-{model}",
        title=f"Latencies of {model}",
        caption=f"Box plots of the latencies of {model}, by operator and tier.",
        spec=specs.single({"layer": layers}, height={"step": 20}),
        rows=rows,
        table=_box_table(name or f"boxes-{model}", model, rows),
        keys={"model": model},
    )


def distribution_plot(
    name: str, strategies: Sequence[StrategyName], latencies_s: Mapping[StrategyName, FloatArray]
) -> Plot:
    """The share of requests at or below each latency, a line for each strategy.

    Parameters
    ----------
    name
        Of the plot.
    strategies, latencies_s
        As for `box_plot`.
    """
    shares = np.linspace(0, 1, _STEPS)
    rows = [
        {
            **keys_of(strategy),
            "strategy": "-".join(strategy),
            "share": shares.tolist(),
            "ms": [
                specs.shortened(value)
                for value in np.quantile(latencies_s[strategy], shares, method="inverted_cdf") * 1e3
            ],
        }
        for strategy in strategies
    ]
    names = ["-".join(strategy) for strategy in strategies]
    content = {
        "transform": [{"flatten": ["share", "ms"]}],
        "mark": {"type": "line", "interpolate": "step-after"},
        "encoding": {
            "x": specs.milliseconds("ms", [value for row in rows for value in row["ms"]], "latency in ms"),
            "y": {"field": "share", "type": "quantitative", "title": "share of requests at or below"},
            "color": specs.coloured("strategy", names, "strategy"),
            "strokeDash": {"field": "strategy", "type": "nominal", "scale": {"domain": names}, "legend": None},
            "order": {"field": "share", "type": "quantitative"},
        },
    }
    cells = [
        Row(
            (row["strategy"], *(milliseconds(float(np.quantile(latencies_s[one], share))) for share in _SHARES)),
            keys_of(one),
        )
        for one, row in zip(strategies, rows, strict=True)
    ]
    headings = ("strategy", *(f"{share:.0%}" for share in _SHARES))
    return Plot(
        name=name,
        title="Distributions of latencies",
        caption="The share of requests at or below each latency.",
        spec=specs.single(content, height=240),
        rows=rows,
        table=Table(name, "Latencies at or below which these shares of requests are", headings, cells),
    )


def quantile_plot(
    model: str,
    strategies: Sequence[StrategyName],
    latencies_s: Mapping[StrategyName, FloatArray],
    normality: Mapping[StrategyName, tuple[float, float]],
) -> Plot:
    """A panel for each strategy: its quantiles against those of the normal distribution.

    Parameters
    ----------
    model, strategies, latencies_s
        As for `box_plot`.
    normality
        Shapiro–Wilk's W and p by strategy, where they are known.
    """
    rows = [_quantiles(strategy, latencies_s[strategy], normality.get(strategy)) for strategy in strategies]
    x = {"field": "normal", "type": "quantitative", "title": None}
    dots = {
        "mark": {"type": "point", "size": 10, "filled": True, "color": specs.MARK},
        "encoding": {
            "x": x,
            "y": {
                "field": "ms",
                "type": "quantitative",
                "title": "ms",
                "scale": {"zero": False},
                "axis": {"tickCount": 4},
            },
            "tooltip": specs.told(("ms", "latency in ms", ".4~g"), ("normal", "normal quantile", ".2f")),
        },
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 1, "color": "currentColor"},
        "encoding": {"x": x, "y": {"field": "line", "type": "quantitative"}},
    }
    spec = {
        "transform": [
            {"flatten": ["normal", "ms"]},
            {"calculate": "datum.middle + datum.slope * datum.normal", "as": "line"},
        ],
        "facet": {"field": "label", "type": "nominal", "title": None, "sort": [row["label"] for row in rows]},
        "columns": 3,
        "spec": {"width": 170, "height": 120, "layer": [line, dots]},
        "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent"}},
        "config": specs.CONFIG,
    }
    cells = [
        Row(
            (
                f"{name[1]} on {name[2]}",
                f"{latencies_s[name].size}",
                *(("–", "–") if name not in normality else (f"{normality[name][0]:.4f}", p_words(normality[name][1]))),
            ),
            keys_of(name),
        )
        for name in strategies
    ]
    headings = ("strategy", "requests", "Shapiro–Wilk W", "p")
    return Plot(
        name=f"quantiles-{model}",
        title=f"Q–Q plots of {model}",
        caption=f"Quantiles of the latencies of {model} against those of the normal distribution.",
        spec=spec,
        rows=rows,
        table=Table(f"quantiles-{model}", f"Normality of the latencies of {model}", headings, cells),
        keys={"model": model},
        panel=230,
    )


def _normality(results: Results) -> dict[StrategyName, tuple[float, float]]:
    statistics = results.document["statistics"] or {"strategies": ()}
    return {
        (one["model"], one["operator"], one["tier"]): (one["shapiro"]["w"], one["shapiro"]["p"])
        for one in statistics["strategies"]
    }


def _box(strategy: StrategyName, latencies_s: FloatArray) -> dict[str, Any]:
    ms = np.sort(latencies_s) * 1e3
    q1, median, q3 = np.percentile(ms, [25, 50, 75])
    reach = 1.5 * (q3 - q1)
    within = ms[(ms >= q1 - reach) & (ms <= q3 + reach)]
    low, high = within[0], within[-1]
    outside = ms[(ms < low) | (ms > high)]
    if outside.size > _MOST_OUTLIERS:  # the farthest tell most
        order = np.argsort(np.abs(outside - median))
        outside = np.sort(outside[order[-_MOST_OUTLIERS:]])
    return {
        **keys_of(strategy),
        "strategy": f"{strategy[1]} on {strategy[2]}",
        "n": int(ms.size),
        **{
            key: specs.shortened(value)
            for key, value in (("low", low), ("q1", q1), ("median", median), ("q3", q3), ("high", high))
        },
        "far": [specs.shortened(value) for value in outside],
    }


def _box_table(name: str, model: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = [
        Row(
            (
                row["strategy"],
                str(row["n"]),
                *(milliseconds(row[key] / 1e3) for key in ("low", "q1", "median", "q3", "high")),
            ),
            {key: row[key] for key in ("model", "operator", "tier")},
        )
        for row in rows
    ]
    headings = ("strategy", "requests", "whisker from", "lower quartile", "median", "upper quartile", "whisker to")
    return Table(name, f"Box plots of {model} in numbers", headings, cells)


def _quantiles(
    strategy: StrategyName, latencies_s: FloatArray, normality: tuple[float, float] | None
) -> dict[str, Any]:
    ordered = np.sort(latencies_s) * 1e3
    usual = NormalDist()
    chosen = _kept(ordered.size)
    normal = [usual.inv_cdf((index + 0.5) / ordered.size) for index in chosen]
    q1, q3 = np.percentile(ordered, [25, 75])
    slope = (q3 - q1) / (usual.inv_cdf(0.75) - usual.inv_cdf(0.25))
    label = f"{strategy[1]} on {strategy[2]}"
    return {
        **keys_of(strategy),
        "label": label if normality is None else f"{label}: p = {normality[1]:.2g}",
        "normal": [specs.shortened(value, 4) for value in normal],
        "ms": [specs.shortened(ordered[index]) for index in chosen],
        "middle": specs.shortened((q1 + q3) / 2),
        "slope": specs.shortened(slope),
    }


def _kept(size: int) -> list[int]:
    """Which of so many ordered values are drawn: all of a few, else both tails and some in between."""
    if size <= _MOST_DOTS:
        return list(range(size))
    between = np.linspace(_TAIL, size - _TAIL - 1, _MOST_DOTS - 2 * _TAIL).round().astype(int).tolist()
    return [*range(_TAIL), *between, *range(size - _TAIL, size)]
