"""Accuracy: the drop of each artifact with its interval and its budget, all metrics, and operators by pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pytest_edgeai.reporting.cells import metric_change, metric_value, number
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results
from pytest_edgeai.reporting.statistics import p_words
from pytest_edgeai.subjects.figures import signed_points

_INTRODUCTION = (
    "Accuracy is that of the exported artifact on the validation examples. A drop is measured against the baseline "
    "operator on the same examples, with its bootstrap interval; McNemar's exact test counts the examples that only "
    "one of the two got right."
)
_HEADINGS = ("artifact", "metric", "accuracy", "baseline", "drop", "interval", "only baseline", "only operator", "p")


def accuracies(results: Results) -> Section:
    """Once for each artifact: tiers run the same one."""
    artifacts = {(one["model"], one["operator"]): one for one in results.strategies if one["accuracy"] is not None}
    dropped = [one for one in artifacts.values() if one["operator"] != one["accuracy"]["baseline"]]
    parts: list[Plot | Table] = [
        _plot([one for one in dropped if one["accuracy"]["unit"] == unit], unit)
        for unit in dict.fromkeys(one["accuracy"]["unit"] for one in dropped)
    ]
    if artifacts:
        parts.append(_metrics(list(artifacts.values())))
    pairs = results.document["accuracy_statistics"]
    if pairs["pairs"]:
        parts.append(_pairs(pairs["pairs"]))
    introduction = [_INTRODUCTION, *([pairs["caveat"]] if pairs["caveat"] else [])]
    return Section("accuracy", "Accuracy", introduction, parts)


def _plot(dropped: Sequence[Document], unit: str) -> Plot:
    rows = [_drop(one) for one in dropped]
    place = {"y": specs.rows_of("artifact", [row["artifact"] for row in rows])}
    title = "drop in percentage points" if unit == "%" else f"drop in {unit or 'the unit of the metric'}"
    tips = specs.told(
        ("artifact", "artifact"),
        ("drop", "drop", "+.3~f"),
        ("low", "interval from", "+.3~f"),
        ("high", "interval to", "+.3~f"),
        ("limit", "budget", ".3~f"),
        ("budget", "budget is"),
    )

    def along(field: str) -> dict[str, Any]:
        return {
            "x": {
                "field": field,
                "type": "quantitative",
                "title": title,
                "scale": {"padding": 10},
                "axis": {"tickCount": 8},
            },
            "tooltip": tips,
        }

    layers = [
        {
            "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {**place, **along("low"), "x2": {"field": "high"}},
        },
        {
            "transform": [{"filter": "isValid(datum.limit)"}],
            "mark": {"type": "tick", "thickness": 3, "size": 16, "color": specs.WARNING},
            "encoding": {**place, **along("limit")},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {
                **place,
                **along("drop"),
                "color": {
                    "condition": {"test": "datum.budget == 'kept'", "value": specs.MARK},
                    "value": specs.WARNING,
                },
                "shape": {"condition": {"test": "datum.budget == 'kept'", "value": "circle"}, "value": "cross"},
            },
        },
    ]
    name = f"drops-{unit}" if unit not in ("", "%") else "drops"
    return Plot(
        name=name,
        title="Accuracy drops",
        caption="Accuracy drop of each artifact with its interval; the upright tick is its budget, and a cross has "
        "broken it.",
        spec=specs.single({"layer": layers}, height={"step": 22}),
        rows=rows,
        table=Table(
            name, "Accuracy drops and their tests", (*_HEADINGS, "budget"), list(map(_cells, dropped)), texts=2
        ),
    )


def _drop(one: Document) -> dict[str, Any]:
    accuracy = one["accuracy"]
    return {
        "model": one["model"],
        "operator": one["operator"],
        "artifact": f"{one['model']}-{one['operator']}",
        "drop": accuracy["drop"],
        "low": accuracy["drop_low"],
        "high": accuracy["drop_high"],
        "limit": accuracy["limit"],
        "budget": accuracy["budget"],
    }


def _cells(one: Document) -> Row:
    accuracy, unit = one["accuracy"], one["accuracy"]["unit"]
    mcnemar = accuracy["mcnemar"]
    tested = ("–", "–", "–")
    if mcnemar is not None:
        tested = (
            str(mcnemar["only_baseline_right"]),
            str(mcnemar["only_operator_right"]),
            p_words(number(mcnemar["p"])),
        )
    ends = [number(accuracy[key]) for key in ("drop_low", "drop_high")]
    cells = (
        f"{one['model']}-{one['operator']}",
        accuracy["metric"],
        metric_value(accuracy["value"], unit),
        metric_value(accuracy["baseline_value"], unit),
        metric_change(accuracy["drop"], unit),
        "–" if any(map(math.isnan, ends)) else " to ".join(signed_points(end, unit) for end in ends),
        *tested,
        f"{accuracy['budget']} (limit {accuracy['limit']:g})" if accuracy["limit"] is not None else accuracy["budget"],
    )
    keys = {"model": one["model"], "operator": one["operator"]}
    return Row(cells, keys, "" if accuracy["budget"] == "kept" else "fail")


def _metrics(artifacts: Sequence[Document]) -> Table:
    """All metrics of all artifacts; the study's Table 9."""
    names = list(dict.fromkeys(name for one in artifacts for name in one["metrics"]))
    rows = [
        Row(
            (
                f"{one['model']}-{one['operator']}",
                *("–" if one["metrics"].get(name) is None else f"{one['metrics'][name]:.3f}" for name in names),
            ),
            {"model": one["model"], "operator": one["operator"]},
        )
        for one in artifacts
    ]
    return Table("metrics", "All metrics of each artifact, each in its unit", ("artifact", *names), rows)


def _pairs(pairs: Sequence[Document]) -> Table:
    rows = [
        Row(
            (
                f"{pair['a']} – {pair['b']}",
                str(pair["n"]),
                p_words(pair["p"]),
                p_words(pair["p_bonferroni"]),
                str(pair["n_once"]),
                p_words(pair["p_once"]),
                f"{pair['delta_a_b']:+.3f}",
                pair["magnitude"],
            )
        )
        for pair in pairs
    ]
    headings = ("operators", "n", "p", "p Bonferroni", "n once", "p once", "delta", "magnitude")
    return Table("accuracy-pairs", "Operators compared over models, metrics and tiers", headings, rows)
