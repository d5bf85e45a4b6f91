"""The comment on a pull request, from `results.json`: the verdict first, tables folded away, everything escaped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from pytest_edgeai.reporting.advice import advice
from pytest_edgeai.reporting.budgets import HEADINGS, budget_rows
from pytest_edgeai.reporting.cells import (
    megabytes,
    metric_change,
    metric_value,
    number,
    signed_percent,
    trial_counts,
)
from pytest_edgeai.reporting.statistics import milliseconds
from pytest_edgeai.subjects.figures import points_limit, signed_points
from pytest_edgeai.verdicts import OUTCOMES, is_green

LIMIT: Final = 65_000
"""Characters; GitHub takes 65,536."""
_CUT: Final = "*{count} more {what} left out here: {where}.*"
_RESERVED: Final = len(_CUT) + 200
_SPECIAL: Final = re.compile(r"[\\`*_\[\]<>&|~@#$]")
_LONGEST: Final = 200

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Section:
    """Rows between a head and a tail; rows are left out where there is no room, from the last one on.

    Parameters
    ----------
    what
        What the rows are, in the plural.
    rows
        A line each.
    head, tail
        Lines that stay.
    """

    what: str
    rows: Sequence[str]
    head: Sequence[str] = field(default=())
    tail: Sequence[str] = field(default=())


def marker(name: str = "") -> str:
    """The first line of a comment, by which that of an earlier session of the same name is found.

    Parameters
    ----------
    name
        Of the comment, or empty.
    """
    # Quoted, nothing in a name ends the HTML comment.
    named = f" {quote(name, safe='')}" if name else ""
    return f"<!-- pytest-edgeai{named}: this comment is replaced by the next session's -->"


def comment(document: Document, *, name: str = "", limit: int = LIMIT, where: str = "see the report") -> str:
    """The comment in Markdown.

    Parameters
    ----------
    document
        The content of `results.json`.
    name
        What tells it from the comments of other jobs on the same pull request.
    limit
        The most characters it may have.
    where
        Where rows are that are left out.
    """
    sections = [section for section in _sections(document) if section.rows]
    start = [marker(name), f"### {_title(document, name)}", ""]
    end = ["", f"<sub>{_methods(document)}</sub>"]
    left = limit - _size(start) - _size(end)
    left -= sum(_size(section.head) + _size(section.tail) + _RESERVED for section in sections)
    lines = start
    for section in sections:
        kept: list[str] = []
        for row in section.rows:
            if len(row) + 1 > left:
                break
            left -= len(row) + 1
            kept.append(row)
        rest = len(section.rows) - len(kept)
        lines += [*section.head, *kept]
        if rest:
            lines += ["", _CUT.format(count=rest, what=section.what, where=escaped(where))]
        lines += section.tail
    return "\n".join([*lines, *end]) + "\n"


def escaped(text: str) -> str:
    """Text that means nothing to Markdown or HTML, mentions nobody and refers to no issue."""
    flat = " ".join(text.split())
    plain = _SPECIAL.sub(lambda sign: f"&#{ord(sign[0])};", flat)
    # Names and numbers behind these signs become links only where they follow at once.
    return plain.replace("&#64;", "&#64;&#8203;").replace("&#35;", "&#35;&#8203;")


def _size(lines: Iterable[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _title(document: Document, name: str) -> str:
    counts = Counter(str(one["verdict"]) for one in document["strategies"])
    words = ", ".join(f"{counts[kind]} {kind}" for kind in OUTCOMES if counts[kind]) or "nothing was measured"
    sign, colour = ("✅", "green") if document["green"] else ("❌", "not green")
    interrupted = f"; interrupted {escaped(str(document['interrupted'])[:_LONGEST])}" if document["interrupted"] else ""
    named = f" ({escaped(name[:_LONGEST])})" if name else ""
    return f"{sign} pytest-edgeai{named}: {colour}: {words}{interrupted}"


def _sections(document: Document) -> Iterable[_Section]:
    strategies = document["strategies"]
    bad = sorted(
        (one for one in strategies if not is_green(one["verdict"])), key=lambda one: -OUTCOMES.index(one["verdict"])
    )
    yield _Section(
        "failures",
        [f"- {_code(one['id'])}: **{one['verdict']}**: {escaped(one['reason'])}" for one in bad]
        + [
            f"- artifact {_code('-'.join((one['model'], one['operator'])))} could not be made: {escaped(one['reason'])}"
            for one in document["failures"]
        ],
        tail=["", *(f"What to do about {kind}: {escaped(advice(kind))}." for kind in _kinds(bad) if advice(kind)), ""],
    )
    comparison = document["comparison"]
    if comparison is not None:
        yield from _compared(comparison)
    yield _Section("remarks", [f"- {escaped(one)}" for one in document["remarks"]], *_folded("Remarks"))
    headings = ("strategy", "verdict", "median", "p95", "drop", "budget", "accuracy", "size", "trials")
    yield _Section(
        "strategies",
        [_row(_cells(one)) for one in strategies],
        *_folded(f"All {len(strategies)} strategies", headings),
    )
    yield from _budgets(strategies)


def _budgets(strategies: Sequence[Document]) -> Iterable[_Section]:
    cells = budget_rows(strategies)
    rows = [_row([_code(name), *map(escaped, rest)]) for name, *rest in cells]
    yield _Section("limits", rows, *_folded(f"All {len(rows)} limits of budgets", HEADINGS))


def _compared(comparison: Document) -> Iterable[_Section]:
    rows = comparison["strategies"]
    counts = Counter(str(one["outcome"]) for one in rows)
    words = ", ".join(f"{counts[kind]} {kind}" for kind in OUTCOMES if counts[kind])
    before = escaped(str(comparison["before"])[:_LONGEST])
    bad = sorted((one for one in rows if not is_green(one["outcome"])), key=lambda one: -OUTCOMES.index(one["outcome"]))
    colour = "green" if comparison["green"] else "not green" if comparison["fails"] else "not green, tolerated"
    yield _Section(
        "changes",
        [
            *(f"- {escaped(one)}" for one in (*comparison["differences"], *comparison["remarks"])),
            *(f"- {_code(one['strategy'])}: **{one['outcome']}**: {escaped('; '.join(one['reasons']))}" for one in bad),
            *([] if bad else ["- nothing became worse"]),
        ],
        head=["", f"**Against {before}**: {words or 'nothing to compare'} ({colour})", ""],
        tail=[""],
    )
    headings = ("strategy", "verdict", "before", "after", "change", "interval", "accuracy", "size")
    yield _Section(
        "compared strategies", [_row(_change(one)) for one in rows], *_folded(f"All changes against {before}", headings)
    )


def _folded(title: str, headings: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    head = ["", f"<details><summary>{title}</summary>", ""]
    if headings:
        head += [f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}"]
    return head, ["", "</details>"]


def _kinds(strategies: Iterable[Document]) -> Iterable[Any]:
    return dict.fromkeys(one["verdict"] for one in strategies)


def _cells(one: Document) -> list[str]:
    accuracy = one["accuracy"]
    numbers = ["–"] * 3
    if accuracy is not None:
        unit = str(accuracy["unit"])
        numbers = [
            signed_points(accuracy["drop"], unit),
            points_limit(accuracy["limit"], unit),
            f"{accuracy['metric']} {metric_value(accuracy['value'], unit)}",
        ]
    return [
        _code(one["id"]),
        one["verdict"],
        _time(one["median_s"]),
        _time(one["p95_s"]),
        *map(escaped, numbers),
        megabytes(one["size_bytes"]),
        trial_counts(one["valid_trials"], one["trials"], one["tries"]),
    ]


def _change(one: Document) -> list[str]:
    latency, gain = one["latency"], one["accuracy_gain"]
    change = interval = "same artifact" if one["same_artifact"] else "–"
    if latency is not None:
        change = signed_percent(latency["change"])
        interval = f"{signed_percent(latency['low'])} to {signed_percent(latency['high'])}"
    return [
        _code(one["strategy"]),
        one["outcome"],
        *map(_time, one["median_s"]),
        change,
        interval,
        escaped(metric_change(gain, str(one["accuracy_unit"]))),
        signed_percent(one["size"]),
    ]


def _methods(document: Document) -> str:
    settings, host = document["settings"], document["host"]
    return escaped(
        f"pytest-edgeai {document['version']}, profile {settings['profile']}, order by seed {document['seed']}, "
        f"{host['cores']} cores, {str(host['processor'])[:_LONGEST]}, "
        f"backend {document['backend']['name']}. "
        "Latencies are medians over all requests of valid trials; drop is accuracy below the baseline operator's."
    )


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(name: str) -> str:
    return f"<code>{escaped(name)}</code>"


def _time(seconds: float | None) -> str:
    return milliseconds(number(seconds))
