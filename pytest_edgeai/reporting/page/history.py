"""The history as a page: what changed between which commits, and a plot of each strategy over its commits."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_edgeai import __version__
from pytest_edgeai.reporting import history as words
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Part, Plot, Row, Section, Table
from pytest_edgeai.reporting.page.rendering import rendered
from pytest_edgeai.stats.order import ordered_operators, ordered_placements
from pytest_edgeai.versions.history import Change, History, Series, is_watched
from pytest_edgeai.versions.summaries import LATENCY, LOAD, Quantity, Summary

_SHOWN: Final = 0.05
"""A span is drawn if its median is at least this share of the latency."""


def render_history(history: History, commit_url: str = "") -> str:
    """The page of a history.

    Parameters
    ----------
    history
        What to show.
    commit_url
        The address of a commit, with `{commit}` in the place of its name; empty for no links.
    """
    page = _Page(history, commit_url)
    keys = [key for name in history.strategies if (key := history.keys(name)) is not None]
    return rendered(
        "history.html",
        page.sections(),
        {
            "model": list(dict.fromkeys(model for model, _, _ in keys)),
            "operator": ordered_operators(operator for _, operator, _ in keys),
            "tier": ordered_placements(tier for _, _, tier in keys),
        },
        title="pytest-edgeai: history",
        headline=words.headline(history),
        period="; ".join(history.remarks) or "All sessions were measured under the same conditions",
        version=__version__,
    )


class _Page:
    """The parts of the page.

    Parameters
    ----------
    history, commit_url
        As given.
    """

    def __init__(self, history: History, commit_url: str) -> None:
        self.history = history
        self.commit_url = commit_url
        self.labels = _labels(history.sessions)

    def sections(self) -> list[Section]:
        """What changed, the newest values, and a section for each model."""
        changes = Section(
            "changes",
            "Changes",
            (
                "A change is a step between two levels, each the median of its sessions. The interval is that of its "
                "size, with 99 % confidence, given that there is a step at this place. Where the change is called "
                f"host, {words.UNCHANGED}.",
            ),
            (self._changes(),),
        )
        newest = Section("strategies", "Strategies", (), (self._newest(),))
        return [changes, newest, *self._models()]

    def _changes(self) -> Table:
        rows = [
            Row(
                (
                    change.strategy,
                    _direction(change),
                    self._range(change),
                    words.change_words(change),
                ),
                self._keys(change.strategy),
                {"worse": "regression", "better": "improvement", "host": "inconclusive"}[_direction(change)],
            )
            for change in self.history.changes
        ]
        caption = "Changes, the newest first" if rows else "No change of level is found"
        return Table("changes", caption, ("strategy", "change", "commits", "by how much"), rows, texts=4)

    def _newest(self) -> Table:
        sheet = words.sheet(self.history)
        rows = [Row(cells, self._keys(cells[0])) for cells in sheet.rows]
        return Table("newest", "The newest values, and how many changes there are", sheet.headings, rows)

    def _models(self) -> Iterator[Section]:
        by_model: dict[str, list[str]] = {}
        for name in self.history.strategies:
            keys = self.history.keys(name)
            by_model.setdefault("others" if keys is None else keys[0], []).append(name)
        for number, (model, names) in enumerate(by_model.items()):
            parts: list[Part] = [part for name in names for part in self._plots(name)]
            yield Section(f"model-{number}", model, (), parts)

    def _plots(self, strategy: str) -> Iterator[Plot]:
        """Latency with its spans, the first metric, and what else has changed."""
        series = self.history.of(strategy)
        times = _times(series)
        if times:
            yield self._plot(strategy, "latency and spans", times, 220)
        others = [one for one in series.values() if one.quantity.unit != "s"]
        metric = next((one for one in others if one.quantity.unit != "bytes"), None)
        for one in others:
            if one is metric or one.changes:
                yield self._plot(strategy, one.quantity.name, [one], 130)

    def _plot(self, strategy: str, what: str, series: Sequence[Series], height: int) -> Plot:
        names = [one.quantity.name for one in series]
        rows = [row for one in series for row in self._rows(one)]
        unit = _unit(series[0].quantity)
        values = [row["value"] for row in rows if row["kind"] == "value"]
        x = {
            "field": "session",
            "type": "ordinal",
            "sort": None,
            "scale": {"domain": self.labels},
            "title": "commit",
            "axis": {"labelAngle": -45, "labelOverlap": "greedy", "labelFont": "monospace"},
        }
        y = specs.milliseconds("value", values, f"{what} in {unit}" if unit else what)
        colour = specs.coloured("quantity", names, "quantity")
        told = specs.told(
            ("session", "commit"), ("when", "date"), ("quantity", "quantity"), ("value", unit or "value", ".4~g")
        )
        layers: list[dict[str, Any]] = [
            {
                "transform": [{"filter": "datum.kind == 'change'"}],
                "mark": {"type": "rule", "color": specs.WARNING, "strokeDash": [4, 3], "strokeWidth": 2},
                "encoding": {"x": x, "tooltip": specs.told(("session", "first commit"), ("text", "change"))},
            },
            {
                "transform": [{"filter": "datum.kind == 'level'"}],
                "mark": {"type": "line", "strokeWidth": 2, "opacity": 0.7},
                "encoding": {"x": x, "y": y, "color": colour, "detail": {"field": "part", "type": "nominal"}},
            },
            {
                "transform": [{"filter": "datum.kind == 'value'"}],
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 40,
                    "cursor": "pointer" if self.commit_url else "auto",
                },
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": colour,
                    "tooltip": told,
                    **({"href": {"field": "url", "type": "nominal"}} if self.commit_url else {}),
                },
            },
        ]
        caption = "Points are sessions and lines the levels between changes; a dashed line marks the first session "
        caption += "behind a change. "
        if self.commit_url:
            caption += "A point opens its commit."
        return Plot(
            name=f"history-{strategy}-{what}".replace(" ", "-"),
            title=f"{strategy}: {what}",
            caption=caption.strip(),
            spec=specs.single({"layer": layers}, height=height),
            rows=rows,
            table=self._table(strategy, what, series),
            keys=self._keys(strategy),
        )

    def _rows(self, series: Series) -> Iterator[dict[str, Any]]:
        factor = 1e3 if series.quantity.unit == "s" else 1e-6 if series.quantity.unit == "bytes" else 1.0
        name = series.quantity.name
        for place, value in zip(series.places, series.values.tolist(), strict=True):
            session = self.history.sessions[place]
            yield {
                "session": self.labels[place],
                "quantity": name,
                "kind": "value",
                "value": specs.shortened(value * factor),
                "when": (session.committed_at or session.saved_at)[:10],
                **({"url": address} if (address := self._address(session)) else {}),
            }
        for number, (level, places) in enumerate(_levels(series)):
            for place in dict.fromkeys((places[0], places[-1])):  # a line needs its ends only
                about = {"session": self.labels[place], "quantity": name, "kind": "level", "part": f"{name} {number}"}
                yield {**about, "value": specs.shortened(level * factor)}
        for change in series.changes:
            text = words.change_words(change)
            yield {"session": self.labels[change.first], "quantity": name, "kind": "change", "text": text}

    def _table(self, strategy: str, what: str, series: Sequence[Series]) -> Table:
        found = [dict(zip(one.places, one.values.tolist(), strict=True)) for one in series]
        behind: dict[int, list[str]] = {}
        for one in series:
            for change in one.changes:
                behind.setdefault(change.first, []).append(words.change_words(change))
        places = sorted({place for one in found for place in one}, reverse=True)
        rows = [
            Row(
                (
                    self._link(self.history.sessions[place], self.labels[place]),
                    "; ".join(behind.get(place, ())),
                    *(
                        words.value_words(values.get(place, float("nan")), one.quantity)
                        for one, values in zip(series, found, strict=True)
                    ),
                )
            )
            for place in places
        ]
        headings = ("commit", "change", *(one.quantity.name for one in series))
        return Table(
            f"values-{what}".replace(" ", "-"), f"{strategy}: {what}, the newest first", headings, rows, texts=2
        )

    def _range(self, change: Change) -> str:
        from markupsafe import Markup

        last, first = self.history.sessions[change.last], self.history.sessions[change.first]
        joined = Markup("{} to {}").format(self._link(last, last.short), self._link(first, first.short))
        return (
            joined
            if last.commit != first.commit or not last.commit
            else Markup("{}, measured again").format(self._link(first, first.short))
        )

    def _link(self, session: Summary, label: str) -> str:
        from markupsafe import Markup

        address = self._address(session)
        return Markup('<a href="{}">{}</a>').format(address, label) if address else label

    def _address(self, session: Summary) -> str:
        """Where a commit can be read; nothing for what is not the name of one."""
        if not self.commit_url or not re.fullmatch(r"[0-9a-f]{7,64}", session.commit):
            return ""
        return self.commit_url.replace("{commit}", session.commit)

    def _keys(self, strategy: str) -> Mapping[str, str]:
        keys = self.history.keys(strategy)
        return {} if keys is None else dict(zip(("model", "operator", "tier"), keys, strict=True))


def _direction(change: Change) -> str:
    return "worse" if change.is_worse else "better" if change.is_better else "host"


def _labels(sessions: Sequence[Summary]) -> list[str]:
    """A name for each session: its commit, numbered where it was measured several times."""
    seen: dict[str, int] = {}
    labels = []
    for one in sessions:
        seen[one.short] = seen.get(one.short, 0) + 1
        labels.append(one.short if seen[one.short] == 1 else f"{one.short} #{seen[one.short]}")
    return labels


def _times(series: Mapping[str, Series]) -> list[Series]:
    """Latency, and the spans that are a relevant share of it or have changed."""
    latency = series.get(LATENCY)
    found = [one for one in series.values() if one.quantity.unit == "s" and one.quantity.name != LOAD]
    if latency is None:
        return found
    least = _SHOWN * float(latency.values.max())
    return [latency, *(one for one in found if one is not latency and (one.changes or one.values.max() >= least))]


def _levels(series: Series) -> list[tuple[float, Sequence[int]]]:
    """The level of each part between changes, with its sessions; nothing where changes are not looked for."""
    if not is_watched(series.quantity):
        return []
    begins = [series.places.index(change.first) for change in series.changes]
    parts = [series.places[begin:end] for begin, end in itertools.pairwise([0, *begins, len(series.places)])]
    if not series.changes:
        return [(statistics.median(series.values.tolist()), parts[0])]
    levels = [series.changes[0].before, *(change.after for change in series.changes)]
    return list(zip(levels, parts, strict=True))


def _unit(quantity: Quantity) -> str:
    return {"s": "ms", "bytes": "MB"}.get(quantity.unit, quantity.unit)
