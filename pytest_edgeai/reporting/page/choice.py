"""Latency against accuracy: a mark for each strategy, and the Pareto front of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_edgeai.reporting.cells import megabytes, metric_change
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results, keys_of, name_of
from pytest_edgeai.reporting.statistics import milliseconds
from pytest_edgeai.stats.pareto import pareto_front

_INTRODUCTION = (
    "Left is faster, down is more accurate. A strategy is on the Pareto front where no other strategy of the same "
    "model is both as fast and as accurate, and better in one of the two; the front is that of all strategies, "
    "whatever the filters show."
)
_MOST_NAMES = 40


def choice(results: Results) -> Section:
    """A plot for each unit of drops: those of different units cannot stand on one axis."""
    measured = [one for one in results.strategies if _is_measured(one)]
    units = dict.fromkeys(str(one["accuracy"]["unit"]) for one in measured)
    plots = [
        _plot(results, unit, [one for one in measured if one["accuracy"]["unit"] == unit], number)
        for number, unit in enumerate(units)
    ]
    return Section("choice", "Latency against accuracy", (_INTRODUCTION,), plots)


def _is_measured(one: Document) -> bool:
    return one["median_s"] is not None and one["accuracy"] is not None and one["accuracy"]["drop"] is not None


def _plot(results: Results, unit: str, measured: Sequence[Document], number: int) -> Plot:
    rows = _rows(measured)
    drops = "drop in percentage points" if unit == "%" else f"drop in {unit or 'the unit of the metric'}"
    position = {
        "x": specs.milliseconds("ms", [row["ms"] for row in rows], "median latency in ms"),
        "y": {
            "field": "drop",
            "type": "quantitative",
            "title": drops,
            "scale": {"padding": 14},
            "axis": {"tickCount": 6},
        },
    }
    colour = specs.coloured("model", results.models, "model")
    marks = {
        "mark": {"type": "point", "size": 90, "strokeWidth": 2, "filled": False},
        "encoding": {
            **position,
            "color": colour,
            "shape": specs.shaped("tier", results.tiers, "tier"),
            "fill": {"condition": {"test": "datum.front == 'yes'", **colour}, "value": "transparent"},
            "tooltip": specs.told(
                ("id", "strategy"),
                ("verdict", "verdict"),
                ("ms", "median in ms", ".4~g"),
                ("p95", "p95 in ms", ".4~g"),
                ("drop", "drop", "+.3~f"),
                ("size", "size"),
                ("trials", "valid trials"),
                ("front", "on the Pareto front"),
                ("beaten", "beaten by"),
            ),
        },
    }
    line = {
        "transform": [{"filter": "datum.front == 'yes'"}],
        "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [4, 3], "opacity": 0.7},
        "encoding": {**position, "color": colour, "order": {"field": "ms", "type": "quantitative"}},
    }
    names = {
        "transform": [{"filter": "datum.front == 'yes'"}],
        "mark": {"type": "text", "align": "left", "dx": 8, "dy": -6, "fontSize": 10},
        "encoding": {**position, "text": {"field": "operator", "type": "nominal"}},
    }
    named = sum(row["front"] == "yes" for row in rows) <= _MOST_NAMES
    return Plot(
        name=f"latency-and-drop-{number + 1}" if number else "latency-and-drop",
        title="Median latency and accuracy drop",
        caption="Filled marks, joined by a dashed line, are on the Pareto front of their model.",
        spec=specs.single({"layer": [line, marks, *([names] if named else [])]}, height=380),
        rows=rows,
        table=_table(rows, unit, number),
    )


def _rows(measured: Sequence[Document]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for model in dict.fromkeys(one["model"] for one in measured):
        own = [one for one in measured if one["model"] == model]
        front = pareto_front([_costs(one) for one in own])
        best = [one for one, is_best in zip(own, front, strict=True) if is_best]
        for one, is_best in zip(own, front, strict=True):
            rows.append(
                {
                    **keys_of(name_of(one)),
                    "id": one["id"],
                    "verdict": one["verdict"],
                    "ms": specs.shortened(one["median_s"] * 1e3),
                    "p95": specs.shortened(one["p95_s"] * 1e3),
                    "drop": one["accuracy"]["drop"],
                    "size": megabytes(one["size_bytes"]),
                    "trials": f"{one['valid_trials']} of {one['trials']}",
                    "front": "yes" if is_best else "no",
                    "beaten": "" if is_best else next(other["id"] for other in best if _beats(other, one)),
                }
            )
    return rows


def _costs(one: Document) -> tuple[float, float]:
    return one["median_s"], one["accuracy"]["drop"]


def _beats(other: Document, one: Document) -> bool:
    return all(a <= b for a, b in zip(_costs(other), _costs(one), strict=True)) and _costs(other) != _costs(one)


def _table(rows: Sequence[Mapping[str, Any]], unit: str, number: int) -> Table:
    cells = [
        Row(
            (
                row["id"],
                row["front"],
                row["beaten"] or "–",
                milliseconds(row["ms"] / 1e3),
                metric_change(row["drop"], unit),
                row["size"],
            ),
            {key: row[key] for key in ("model", "operator", "tier")},
        )
        for row in rows
    ]
    return Table(
        f"pareto-{number + 1}" if number else "pareto",
        "Median latency and accuracy drop of each strategy, and which are on the Pareto front of their model",
        ("strategy", "on the front", "beaten by", "median", "drop", "size"),
        cells,
        texts=3,
    )
