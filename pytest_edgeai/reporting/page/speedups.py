"""How many times as fast operators and tiers are: ratios of medians of each model, with their mean and range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Results
from pytest_edgeai.stats.samples import StatisticsInputError
from pytest_edgeai.stats.speedup import Speedup, speedup

_INTRODUCTION = (
    "A dot is a model: its median latency under what is compared with, divided by its median latency under what is "
    "named. Right of 1 is faster. The line reaches from the smallest to the largest ratio, its tick is their "
    "arithmetic mean, over all models whatever the filters show."
)


def speedups(results: Results) -> Section:
    """Operators against the baseline operator on each tier, and tiers against the first for each operator."""
    plots = [
        _plot("operators", f"Operators against {results.baseline}", list(_of_operators(results)), results),
        _plot("tiers", "Tiers against each other", list(_of_tiers(results)), results),
    ]
    return Section("speedups", "Speedups", (_INTRODUCTION,), [plot for plot in plots if plot.rows])


Found = tuple[str, Mapping[str, str], Speedup]
"""What is compared, its keys, and how many times as fast it is."""


def _of_operators(results: Results) -> Iterator[Found]:
    for tier in results.tiers:
        for operator in results.operators:
            if operator != results.baseline:
                found = _speedup(results, (results.baseline, tier), (operator, tier))
                if found is not None:
                    yield f"{operator} on {tier}", {"operator": operator, "tier": tier}, found


def _of_tiers(results: Results) -> Iterator[Found]:
    for operator in results.operators:
        tiers = [
            tier for tier in results.tiers if any((m, operator, tier) in results.latencies_s for m in results.models)
        ]
        for number, slower in enumerate(tiers):
            for tier in tiers[number + 1 :]:
                found = _speedup(results, (operator, slower), (operator, tier))
                if found is not None:
                    yield f"{operator}: {tier} against {slower}", {"operator": operator, "tier": tier}, found


def _speedup(results: Results, before: tuple[str, str], after: tuple[str, str]) -> Speedup | None:
    """Over the models that were measured under both; None where there is none, or a median is not positive."""
    both = [m for m in results.models if (m, *before) in results.latencies_s and (m, *after) in results.latencies_s]
    if not both:
        return None
    try:
        return speedup(
            {model: results.latencies_s[(model, *before)] for model in both},
            {model: results.latencies_s[(model, *after)] for model in both},
        )
    except StatisticsInputError:
        return None


def _plot(name: str, title: str, found: Sequence[Found], results: Results) -> Plot:
    rows: list[dict[str, Any]] = []
    for what, keys, one in found:
        ends = {key: specs.shortened(value) for key, value in (("low", one.lowest), ("high", one.highest))}
        rows.append({**keys, "what": what, **ends, "mean": specs.shortened(one.mean), "models": len(one.ratios)})
        rows += [
            {**keys, "model": model, "what": what, "ratio": specs.shortened(ratio)}
            for model, ratio in one.ratios.items()
        ]
    place = {"y": specs.rows_of("what", [what for what, _, _ in found])}
    scale = {"type": "log", "nice": False, "padding": 12}
    title_x = "times as fast (ratio of medians)"
    tips = specs.told(
        ("what", "compared"),
        ("mean", "mean", ".3f"),
        ("low", "smallest", ".3f"),
        ("high", "largest", ".3f"),
        ("models", "models", "d"),
    )

    def along(field: str) -> dict[str, Any]:
        return {"x": {"field": field, "type": "quantitative", "title": title_x, "scale": scale}}

    whole: dict[str, Any] = {"transform": [{"filter": "isValid(datum.mean)"}]}
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.6},
            "encoding": {"x": {"datum": 1, "type": "quantitative", "scale": scale}},
        },
        {
            **whole,
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {**place, **along("low"), "x2": {"field": "high"}, "tooltip": tips},
        },
        {
            **whole,
            "mark": {"type": "tick", "thickness": 3, "size": 14, "color": "currentColor"},
            "encoding": {**place, **along("mean"), "tooltip": tips},
        },
        {
            "transform": [{"filter": "isValid(datum.ratio)"}],
            "mark": {"type": "point", "filled": True, "size": 50},
            "encoding": {
                **place,
                **along("ratio"),
                "color": specs.coloured("model", results.models, "model"),
                "shape": specs.shaped("model", results.models, "model"),
                "tooltip": specs.told(("what", "compared"), ("model", "model"), ("ratio", "times as fast", ".3f")),
            },
        },
    ]
    cells = [
        Row((what, *(f"{x:.2f}" for x in (one.mean, one.lowest, one.highest)), str(len(one.ratios))), keys)
        for what, keys, one in found
    ]
    headings = ("compared", "mean", "smallest", "largest", "models")
    return Plot(
        name=f"speedups-{name}",
        title=title,
        caption=f"{title}: how many times as fast, for each model, and mean and range over the models.",
        spec=specs.single({"layer": layers}, height={"step": 22}),
        rows=rows,
        table=Table(f"speedups-{name}", f"{title}: ratios of medians over the models", headings, cells),
    )
