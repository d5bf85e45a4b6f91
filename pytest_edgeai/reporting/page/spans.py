"""Where the time goes: the mean spans of each strategy, stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_edgeai.reporting.cells import number
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Results, StrategyName, keys_of, name_of, spans_of
from pytest_edgeai.reporting.statistics import milliseconds
from pytest_edgeai.wire.timing import SPAN_NAMES

_INTRODUCTION = (
    "The spans of a request add up to its latency; these are means over all requests of the valid trials, so that a "
    "bar is as long as the mean latency. Loading is part of a request only where a session loads the model for each "
    "one; the time in which tiers loaded it once stands in the table."
)


def time_spans(results: Results) -> Section:
    """A plot for each model."""
    means_s = {name: spans_of(trials) for name, trials in results.valid_trials.items()}
    names = span_names(means_s.values())
    loads = {name_of(one): milliseconds(number(one["load_s"])) for one in results.strategies}
    plots = [_plot(model, results.of_model(model), names, means_s, loads) for model in results.models]
    return Section("spans", "Where the time goes", (_INTRODUCTION,), [plot for plot in plots if plot.rows])


def span_names(found: Any) -> list[str]:
    """Every span that occurs, in the order of a request, each hop's crossing in the place of `transmit`."""
    seen = {name for spans_s in found for name in spans_s}
    known = [name for span in SPAN_NAMES for name in sorted(seen) if name == span or name.startswith(f"{span} ")]
    return known + sorted(seen.difference(known))


def _plot(
    model: str,
    strategies: Sequence[StrategyName],
    names: Sequence[str],
    means_s: Mapping[StrategyName, Mapping[str, float]],
    loads: Mapping[StrategyName, str],
) -> Plot:
    rows = [
        {
            **keys_of(name),
            "strategy": f"{name[1]} on {name[2]}",
            "span": span,
            "place": names.index(span),
            "ms": specs.shortened(means_s[name][span] * 1e3),
        }
        for name in strategies
        for span in names
        if means_s[name].get(span)
    ]
    content = {
        "mark": {"type": "bar"},
        "encoding": {
            "y": specs.rows_of("strategy", [f"{name[1]} on {name[2]}" for name in strategies]),
            "x": {**specs.milliseconds("ms", (), "mean latency in ms", zero=True), "stack": "zero"},
            "color": specs.coloured("span", names, "span"),
            "order": {"field": "place", "type": "quantitative"},
            "tooltip": specs.told(("strategy", "strategy"), ("span", "span"), ("ms", "mean in ms", ".4~g")),
        },
    }
    present = [span for span in names if any(means_s[name].get(span) for name in strategies)]
    table_rows = [
        Row(
            (
                f"{name[1]} on {name[2]}",
                *(milliseconds(means_s[name].get(span, float("nan"))) for span in present),
                milliseconds(sum(means_s[name].values())),
                loads.get(name, "–"),
            ),
            keys_of(name),
        )
        for name in strategies
    ]
    return Plot(
        name=f"spans-{model}",
        title=f"Spans of {model}",
        caption=f"Mean spans of a request of {model}, by operator and tier.",
        spec=specs.single(content, height={"step": 20}),
        rows=rows,
        table=Table(
            f"spans-{model}",
            f"Mean spans of a request of {model}",
            ("strategy", *present, "sum", "loaded once in"),
            table_rows,
            keys={"model": model},
        ),
        keys={"model": model},
    )
