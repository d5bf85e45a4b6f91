"""The history of strategies for people and programs: on a terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from pytest_edgeai.reporting.drawing import Sheet
from pytest_edgeai.reporting.statistics import milliseconds
from pytest_edgeai.subjects.figures import amount, signed_ends, signed_points
from pytest_edgeai.versions.history import Change, History, Series
from pytest_edgeai.versions.summaries import LATENCY, SIZE, Quantity

HISTORY_FORMAT: Final = 1
UNCHANGED: Final = "artifact and measuring code are the same on both sides, so it was the host or its libraries"
HEADINGS: Final = ("strategy", "newest", "median", "compute", "accuracy", "size", "worse", "better")
_IMPORTANCE: Final = ("strategy", "median", "worse", "better", "accuracy", "newest", "compute", "size")
_COLUMNS: Final = ("strategy", "quantity", "unit", "commit", "committed_at", "branch", "saved_at", "file", "value")


def headline(history: History) -> str:
    """How many sessions of how many commits, and of which time."""
    sessions = history.sessions
    commits = len({one.commit for one in sessions if one.commit})
    first, last = (one.committed_at or one.saved_at for one in (sessions[0], sessions[-1]))
    counted = f"{len(sessions)} session{'s' * (len(sessions) != 1)} of {commits} commit{'s' * (commits != 1)}"
    return f"{counted}, {first[:10]} to {last[:10]}" if first[:10] != last[:10] else f"{counted}, {last[:10]}"


def sheet(history: History) -> Sheet:
    """A row for each strategy: its newest session and values, and how often something became worse and better."""
    rows = []
    for name in history.strategies:
        series = history.of(name)
        metrics = [one for one in series.values() if one.quantity.unit not in ("s", "bytes")]
        changes = [change for one in series.values() for change in one.changes]
        rows.append(
            (
                name,
                history.sessions[max(one.places[-1] for one in series.values())].short,
                _newest(series.get(LATENCY)),
                _newest(series.get("compute")),
                _newest(metrics[0] if metrics else None),
                _newest(series.get(SIZE)),
                str(sum(change.is_worse for change in changes) or "–"),
                str(sum(change.is_better for change in changes) or "–"),
            )
        )
    return Sheet(
        HEADINGS,
        rows,
        _IMPORTANCE,
        essential=4,
        style=lambda row, heading: "red" if heading == "worse" and rows[row][6] != "–" else "",
    )


def sentences(history: History) -> Iterator[str]:
    """The changes, the newest first: where, and below it what by how much."""
    for first, changes in groupby(history.changes, key=lambda one: one.first):
        for where, found in _by_place(history, list(changes)):
            session = history.sessions[first]
            yield f"{where}, {(session.committed_at or session.saved_at)[:10]}:"
            for (strategy, is_unchanged), some in groupby(found, key=lambda one: (one.strategy, one.is_unchanged)):
                blamed = f"; {UNCHANGED}" if is_unchanged else ""
                yield f"  {strategy}: {'; '.join(map(change_words, some))}{blamed}"


def change_words(change: Change) -> str:
    """A change, for example `latency +32.1 % (+28.0 to +36.4 %), 21.3 ms to 28.1 ms`."""
    quantity = change.quantity
    if change.is_relative:
        size = f"{change.change * 100:+.1f} % ({change.low * 100:+.1f} to {change.high * 100:+.1f} %)"
    else:
        ends = signed_ends(change.low, change.high, quantity.unit)
        size = f"{signed_points(change.change, quantity.unit)} ({ends})"
    return f"{quantity.name} {size}, {value_words(change.before, quantity)} to {value_words(change.after, quantity)}"


def value_words(value: float, quantity: Quantity) -> str:
    """A value with its unit; a dash where there is none."""
    if math.isnan(value):
        return "–"
    if quantity.unit == "s":
        return milliseconds(value)
    if quantity.unit == "bytes":
        return f"{value / 1e6:.2f} MB"
    return amount(value, quantity.unit)


def document(history: History) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "format": HISTORY_FORMAT,
        "sessions": [
            {
                "file": one.file,
                "commit": one.commit,
                "committed_at": one.committed_at,
                "branch": one.branch,
                "dirty": one.dirty,
                "saved_at": one.saved_at,
            }
            for one in history.sessions
        ],
        "series": [
            {
                "strategy": one.strategy,
                "quantity": one.quantity.name,
                "unit": one.quantity.unit,
                "higher_is_better": one.quantity.higher_is_better,
                "sessions": list(one.places),
                "values": one.values.tolist(),
            }
            for one in history.series
        ],
        "changes": [
            {
                "strategy": one.strategy,
                "quantity": one.quantity.name,
                "worse": one.is_worse,
                "unchanged": one.is_unchanged,
                "last_before": history.sessions[one.last].commit,
                "first_after": history.sessions[one.first].commit,
                "sessions": [one.last, one.first],
                "before": one.before,
                "after": one.after,
                "relative": one.is_relative,
                "change": one.change,
                "low": one.low,
                "high": one.high,
            }
            for one in history.changes
        ],
        "remarks": list(history.remarks),
    }


def table(history: History) -> str:
    """All values as CSV, a row for each; times in seconds, sizes in bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in history.series:
        for place, value in zip(one.places, one.values.tolist(), strict=True):
            session = history.sessions[place]
            about = (session.commit, session.committed_at, session.branch, session.saved_at, session.file)
            writer.writerow((one.strategy, one.quantity.name, one.quantity.unit, *about, value))
    return text.getvalue()


def _by_place(history: History, changes: list[Change]) -> list[tuple[str, list[Change]]]:
    """Changes with the same first session, by where they are: a strategy may have no value in the session before."""
    places: dict[str, list[Change]] = {}
    for change in changes:
        places.setdefault(history.between(change), []).append(change)
    return list(places.items())


def _newest(series: Series | None) -> str:
    return "–" if series is None else value_words(float(series.values[-1]), series.quantity)
