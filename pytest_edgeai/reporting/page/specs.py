"""What the Vega-Lite specifications of all plots have in common: colours, fonts, axes of latencies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pytest_edgeai.reporting.page.parts import Spec

# Of medium lightness, so that each has a contrast of at least 3 to white and to the dark background of the page.
COLOURS = ("#2f7fc2", "#c8611a", "#2f8f5b", "#b04fa0", "#8a7a1e", "#d0433f", "#6d6fd1", "#7d7f86", "#0f8a99", "#a3674b")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
MARK = COLOURS[0]
WARNING = COLOURS[5]
WIDE_RANGE = 10.0
"""From this ratio of the largest to the smallest on, latencies are on a logarithmic axis."""
_TEXT = "currentColor"  # dark on light paper and light on dark, as the page's own text

CONFIG: Spec = {
    "aria": False,  # the page describes a plot by its caption and its table
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": _TEXT, "strokeOpacity": 0.25},
    "axis": {
        "labelColor": _TEXT,
        "titleColor": _TEXT,
        "domainColor": _TEXT,
        "domainOpacity": 0.5,
        "tickColor": _TEXT,
        "tickOpacity": 0.5,
        "gridColor": _TEXT,
        "gridOpacity": 0.12,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 12,
    },
    "axisY": {"labelLimit": 170},
    "legend": {"labelColor": _TEXT, "titleColor": _TEXT, "orient": "top", "columns": 4, "titleFontWeight": "normal"},
    "header": {"labelColor": _TEXT, "titleColor": _TEXT, "labelFontSize": 11},
    "title": {"color": _TEXT, "anchor": "start", "fontWeight": "normal", "fontSize": 13},
    "text": {"color": _TEXT},
    "rule": {"color": _TEXT, "strokeWidth": 1},
    "range": {"category": list(COLOURS), "symbol": list(SHAPES)},
}


def single(content: Spec, *, height: int | Spec) -> dict[str, Any]:
    """A plot of one panel, as wide as there is room.

    Parameters
    ----------
    content
        Mark and encoding, or layers.
    height
        In pixels, or by the step of its rows.
    """
    return {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": CONFIG,
        **content,
    }


def rows_of(field: str, order: Sequence[str], title: str | None = None) -> dict[str, Any]:
    """The channel y with a row for each name, in this order."""
    return {"field": field, "type": "nominal", "sort": list(order), "title": title, "axis": {"grid": True}}


def coloured(field: str, order: Sequence[str], title: str) -> dict[str, Any]:
    """The channel color by names; each keeps its colour whatever the page filters."""
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(order))]
    return {
        "field": field,
        "type": "nominal",
        "title": title,
        "scale": {"domain": list(order), "range": colours},
        "legend": None if len(order) > 3 * len(COLOURS) else {},
    }


def shaped(field: str, order: Sequence[str], title: str) -> dict[str, Any]:
    """The channel shape by names, likewise."""
    shapes = [SHAPES[number % len(SHAPES)] for number in range(len(order))]
    return {"field": field, "type": "nominal", "title": title, "scale": {"domain": list(order), "range": shapes}}


def milliseconds(field: str, values: Iterable[float], title: str, *, zero: bool = False) -> dict[str, Any]:
    """A channel of positions for milliseconds: on a logarithmic axis where they have a wide range.

    Parameters
    ----------
    field, title
        Of the values.
    values
        All of them.
    zero
        Whether lengths are compared, so that the axis has to be linear and begin at 0.
    """
    found = [value for value in values if value == value]
    wide = not zero and bool(found) and min(found) > 0 and max(found) / min(found) >= WIDE_RANGE
    scale = (
        {"type": "log", "nice": False, "padding": 10} if wide else {"zero": zero, **({} if zero else {"padding": 10})}
    )
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": {"tickCount": 8}}


def told(*fields: tuple[str, str] | tuple[str, str, str]) -> list[dict[str, Any]]:
    """What hovering over a mark tells: fields with their titles, and for numbers a format of d3."""
    return [
        {
            "field": field,
            "title": title,
            **({"type": "quantitative", "format": rest[0]} if rest else {"type": "nominal"}),
        }
        for field, title, *rest in fields
    ]


def shortened(value: float, digits: int = 5) -> float:
    """A number with as many digits as a plot can show, so that the page stays small."""
    return float(f"{value:.{digits}g}")
