"""From sections to one HTML file that needs nothing else."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_edgeai import __version__
from pytest_edgeai.reporting.page.bundle import javascript
from pytest_edgeai.reporting.page.compared import comparison_of, title_of
from pytest_edgeai.reporting.page.conditions import period
from pytest_edgeai.reporting.page.overview import headline, outcomes
from pytest_edgeai.reporting.page.parts import Lines, Part, Plot, Section, Table, Text
from pytest_edgeai.reporting.page.results import Document, Results
from pytest_edgeai.reporting.page.sections import sections_of

if TYPE_CHECKING:
    from jinja2 import Environment


def render(document: Document) -> str:
    """The page of a session.

    Parameters
    ----------
    document
        The content of `results.json`.
    """
    results = Results(document)
    return rendered(
        "page.html",
        sections_of(results),
        {"model": results.models, "operator": results.operators, "tier": results.tiers},
        title=f"pytest-edgeai: {'green' if document['green'] else 'not green'}",
        green=document["green"],
        headline=headline(results),
        period=period(results),
        version=document["version"],
    )


def rendered(template: str, sections: Sequence[Section], filters: Mapping[str, Sequence[str]], **words: Any) -> str:
    """A page of sections.

    Parameters
    ----------
    template
        Its file.
    sections
        In their order.
    filters
        The values of each key by which rows, plots and tables can be filtered.
    **words
        What else the template says.
    """
    from markupsafe import Markup

    plots = {
        f"plot-{section.name}-{number}": _as_data(part)
        for section in sections
        for number, part in enumerate(section.parts)
        if isinstance(part, Plot)
    }
    templates = _environment()
    return templates.get_template(template).render(
        **words,
        sections=sections,
        filters=filters,
        data=Markup(script_safe({"plots": plots})),
        style=Markup(templates.get_template("page.css").render()),
        script=Markup(templates.get_template("page.js").render()),
        vega=Markup(javascript()),
        kind=_kind,
    )


def render_comparison(comparison: Document) -> str:
    """The page of two saved sessions.

    Parameters
    ----------
    comparison
        As `results.json` has it under `comparison`.
    """
    return rendered(
        "comparison.html",
        [comparison_of(comparison, {})],
        {},
        title=f"pytest-edgeai: {title_of(comparison)}",
        green=comparison["green"],
        headline=outcomes(comparison["strategies"]) or "nothing to compare",
        period=f"{len(comparison['strategies'])} strategies",
        version=__version__,
    )


def script_safe(value: Any) -> str:
    """JSON that cannot end the script element that it stands in, nor begin another one."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _as_data(plot: Plot) -> Mapping[str, Any]:
    """The specification, and the rows as columns, since names would be most of them."""
    columns = list(dict.fromkeys(itertools.chain.from_iterable(plot.rows)))
    return {
        "spec": {**plot.spec, "data": {"name": "rows"}},
        "panel": plot.panel,
        "columns": columns,
        "rows": [[row.get(column) for column in columns] for row in plot.rows],
    }


def _kind(part: Part) -> str:
    """By which the template chooses."""
    kinds: Sequence[tuple[type, str]] = ((Plot, "plot"), (Table, "table"), (Lines, "lines"), (Text, "text"))
    return next(name for kind, name in kinds if isinstance(part, kind))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("pytest_edgeai.reporting.page"),
        autoescape=select_autoescape(default=True, disabled_extensions=("css", "js")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


__all__ = ["Section", "render", "rendered", "script_safe"]
