"""The comparison with another version: what changed and by how much, the gravest first, and the trials of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_edgeai.reporting.cells import metric_change, number, signed_percent
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Lines, Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results, keys_of, name_of
from pytest_edgeai.reporting.statistics import milliseconds, p_words
from pytest_edgeai.verdicts import OUTCOMES

_HEADINGS = (
    "strategy",
    "outcome",
    "before",
    "after",
    "change",
    "interval",
    "p adjusted",
    "delta",
    "accuracy",
    "size",
    "memory",
    "reference",
)

_COLOURS = {
    "pass": specs.COLOURS[2],
    "improvement": specs.COLOURS[0],
    "new": specs.COLOURS[8],
    "inconclusive": specs.COLOURS[4],
}


def compared(results: Results) -> Section:
    """Nothing where no other version was compared with."""
    comparison = results.document["comparison"]
    if comparison is None:
        return Section("comparison", "", (), ())
    return comparison_of(comparison, {one["id"]: keys_of(name_of(one)) for one in results.strategies})


def comparison_of(comparison: Document, known: Mapping[str, Mapping[str, str]]) -> Section:
    """What a comparison says.

    Parameters
    ----------
    comparison
        As `results.json` has it.
    known
        By strategy, the keys by which the page filters it.
    """
    rows = by_gravity(comparison["strategies"])
    said = [*comparison["differences"], *comparison["remarks"]]
    parts: list[Lines | Plot | Table] = [
        Lines("comparison-remarks", "Remarks", [Row(("", "", sentence), {}, "inconclusive") for sentence in said]),
        Lines(
            "reasons",
            "Why strategies did not simply pass",
            [
                Row(
                    (row["strategy"], row["outcome"], "; ".join(row["reasons"])),
                    known.get(row["strategy"], {}),
                    row["outcome"],
                )
                for row in rows
                if row["reasons"]
            ],
        ),
        _changes(rows, known),
        _trials(rows, known, comparison["before"], comparison["after"]),
        _table(rows, known),
        _views(rows, known),
    ]
    return Section(
        "comparison",
        title_of(comparison),
        (
            "Changes of latency are those of the typical request, with their intervals; right of 0 is slower. The "
            "gravest stand first.",
        ),
        [part for part in parts if part.rows],
    )


def title_of(comparison: Document) -> str:
    """Which versions they are, and whether all is green."""
    verdict = "green" if comparison["green"] else "not green" if comparison["fails"] else "not green, tolerated"
    return f"{comparison['after']} against {comparison['before']}: {verdict}"


def by_gravity(rows: Sequence[Document]) -> list[Document]:
    """The gravest outcome first, and within one the largest change."""
    return sorted(rows, key=lambda row: (-OUTCOMES.index(row["outcome"]), -abs(_change(row))))


def _change(row: Document) -> float:
    latency = row["latency"]
    return 0.0 if latency is None or latency["change"] is None else float(latency["change"])


def _changes(rows: Sequence[Document], known: Mapping[str, Mapping[str, str]]) -> Plot:
    drawn = [
        {
            **known.get(row["strategy"], {}),
            "strategy": row["strategy"],
            "outcome": row["outcome"],
            **{key: row["latency"][key] for key in ("change", "low", "high")},
        }
        for row in rows
        if row["latency"] is not None and row["latency"]["change"] is not None
    ]
    outcomes = list(dict.fromkeys(row["outcome"] for row in drawn))
    place = {"y": specs.rows_of("strategy", [row["strategy"] for row in drawn])}
    tips = specs.told(
        ("strategy", "strategy"),
        ("outcome", "outcome"),
        ("change", "change", "+.1%"),
        ("low", "interval from", "+.1%"),
        ("high", "interval to", "+.1%"),
    )

    def along(field: str) -> dict[str, Any]:
        x = {"field": field, "type": "quantitative", "title": "change of latency", "axis": {"format": "+%"}}
        return {"x": x, "tooltip": tips}

    layers = [
        {
            "mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.6},
            "encoding": {"x": {"datum": 0, "type": "quantitative"}},
        },
        {
            "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {**place, **along("low"), "x2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {
                **place,
                **along("change"),
                "color": {
                    **specs.coloured("outcome", outcomes, "outcome"),
                    "scale": {"domain": outcomes, "range": [_COLOURS.get(one, specs.WARNING) for one in outcomes]},
                },
                "shape": specs.shaped("outcome", outcomes, "outcome"),
            },
        },
    ]
    cells = [
        Row(
            (row["strategy"], row["outcome"], signed_percent(row["change"]), _interval(row)),
            known.get(row["strategy"], {}),
            row["outcome"],
        )
        for row in drawn
    ]
    return Plot(
        name="changes",
        title="Changes of latency",
        caption="Relative change of the latency of each strategy with its interval, the gravest outcome first.",
        spec=specs.single({"layer": layers}, height={"step": 22}),
        rows=drawn,
        table=Table("changes", "Changes of latency", ("strategy", "outcome", "change", "interval"), cells, texts=2),
    )


def _trials(rows: Sequence[Document], known: Mapping[str, Mapping[str, str]], before: str, after: str) -> Plot:
    """The median of each trial, before and after, of strategies that were measured in both versions."""
    drawn = [
        {
            **known.get(row["strategy"], {}),
            "strategy": row["strategy"],
            "version": version,
            "ms": specs.shortened(median_s * 1e3),
        }
        for row in rows
        for version, medians_s in zip((before, after), row.get("trial_medians_s") or ((), ()), strict=True)
        for median_s in medians_s
    ]
    versions = [before, after]
    content = {
        "mark": {"type": "point", "filled": True, "size": 35, "opacity": 0.75},
        "encoding": {
            "y": specs.rows_of("strategy", list(dict.fromkeys(row["strategy"] for row in drawn))),
            "yOffset": {"field": "version", "type": "nominal", "sort": versions},
            "x": specs.milliseconds("ms", [row["ms"] for row in drawn], "median latency of a trial in ms"),
            "color": specs.coloured("version", versions, "version"),
            "shape": specs.shaped("version", versions, "version"),
            "tooltip": specs.told(("strategy", "strategy"), ("version", "version"), ("ms", "median in ms", ".4~g")),
        },
    }
    cells = [
        Row(
            (
                row["strategy"],
                *(", ".join(milliseconds(median_s) for median_s in side) or "–" for side in row["trial_medians_s"]),
            ),
            known.get(row["strategy"], {}),
        )
        for row in rows
        if any(row.get("trial_medians_s") or ())
    ]
    return Plot(
        name="both-versions",
        title="Trials of both versions",
        caption=f"The median latency of each trial of {before} and of {after}.",
        spec=specs.single(content, height={"step": 14}),
        rows=drawn,
        table=Table("both-versions", "Medians of the trials of both versions", ("strategy", before, after), cells),
    )


def _table(rows: Sequence[Document], known: Mapping[str, Mapping[str, str]]) -> Table:
    cells = [Row(_cells(row), known.get(row["strategy"], {}), row["outcome"]) for row in rows]
    return Table("comparison", "The comparison, strategy by strategy", _HEADINGS, cells, texts=2)


def _cells(row: Document) -> tuple[str, ...]:
    latency = row["latency"]
    numbers = ("same artifact" if row["same_artifact"] else "–", "–", "–", "–")
    if latency is not None:
        p = latency["p_adjusted"]
        numbers = (
            signed_percent(latency["change"]),
            _interval(latency),
            "–" if p is None else p_words(p),
            "–" if latency["delta"] is None else f"{latency['delta']:+.2f}",
        )
    gain = row["accuracy_gain"]
    return (
        row["strategy"],
        row["outcome"],
        *(milliseconds(number(value)) for value in row["median_s"]),
        *numbers,
        metric_change(gain, row["accuracy_unit"]),
        signed_percent(row["size"]),
        signed_percent(row["memory"]),
        signed_percent(row["reference"]),
    )


def _views(rows: Sequence[Document], known: Mapping[str, Mapping[str, str]]) -> Table:
    """In which requests a latency changed: those of all trials, seen in several ways."""
    cells = [
        Row(
            (
                row["strategy"],
                view["view"],
                signed_percent(view["change"]),
                "–" if view["p_adjusted"] is None else p_words(view["p_adjusted"]),
                f"{view['delta']:+.2f}",
            ),
            known.get(row["strategy"], {}),
        )
        for row in rows
        if row["latency"] is not None
        for view in row["latency"]["views"]
    ]
    headings = ("strategy", "requests", "change", "p adjusted", "delta")
    return Table("views", "In which requests latencies changed", headings, cells, texts=2)


def _interval(ends: Document) -> str:
    low, high = ends["low"], ends["high"]
    return "–" if low is None or high is None else f"{low:+.1%} to {high:+.1%}"
