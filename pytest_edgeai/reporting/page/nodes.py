"""Artifacts for several nodes: each node, every combination against its multiply-accumulates, and all without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_edgeai.reporting.cells import count, megabytes, metric_change, metric_value, millions, percent
from pytest_edgeai.reporting.nodes import HEADINGS, slowest_rows
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results, keys_of, name_of

_INTRODUCTION = (
    "Parameters, multiply-accumulates and sizes are those of each node's graph. The accuracy of some nodes is that of "
    "what the receiver makes of their answers alone, computed from what each node answers to the validation examples.",
    "How long each node takes by itself is not measured: a request is sent to all nodes, and its spans are those of "
    "the node that it waited for longest.",
)
_NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class _Nodes:
    """An artifact for several nodes beside the whole model.

    Parameters
    ----------
    model, operator
        Of the artifact.
    nodes
        What each node has.
    values
        The first metric by the numbers of the nodes that answer; None where that is no answer.
    unit, sign
        Of the metric; the sign is -1 where less is better.
    whole_macs, whole_value
        Of the baseline operator's artifact, as far as they are known.
    """

    model: str
    operator: str
    nodes: Sequence[Document]
    values: Mapping[tuple[int, ...], float | None]
    unit: str
    sign: int
    whole_macs: int | None
    whole_value: float | None

    @property
    def name(self) -> str:
        return f"{self.model}-{self.operator}"

    @property
    def keys(self) -> dict[str, str]:
        return {"model": self.model, "operator": self.operator}

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(range(len(self.nodes)))

    def macs(self, some: Iterable[int]) -> int:
        return sum(self.nodes[number]["macs"] for number in some)

    def value(self, some: tuple[int, ...]) -> str:
        """The accuracy of some nodes, in words."""
        if some not in self.values:
            return metric_value(None, self.unit)
        value = self.values[some]
        return _NO_ANSWER if value is None else metric_value(value, self.unit)

    def difference(self, some: tuple[int, ...], other: float | None) -> str:
        """By how much some nodes are better than another value."""
        value = self.values.get(some)
        return metric_change(None if value is None or other is None else value - other, self.unit)


def nodes(results: Results) -> Section:
    """Tables of all such artifacts, and a plot for each whose nodes were evaluated together."""
    artifacts = {(one["model"], one["operator"]): one for one in results.document["artifacts"]}
    found = [_read(results, artifacts, one) for one in artifacts.values() if one["provenance"].get("nodes")]
    combined = [one for one in found if any(value is not None for value in one.values.values())]
    parts: list[Plot | Table] = [
        _by_node(found),
        *(_combinations(one) for one in combined),
        _without_one(combined),
        _slowest(results),
    ]
    return Section("nodes", "Several nodes", _INTRODUCTION, [part for part in parts if part.rows])


def _read(results: Results, artifacts: Mapping[tuple[str, str], Document], one: Document) -> _Nodes:
    name = (one["model"], one["operator"])
    judged = [row["accuracy"] for row in results.strategies if (row["model"], row["operator"]) == name]
    accuracy: Document = next((row for row in judged if row is not None), {})
    whole = artifacts.get((one["model"], results.baseline))
    return _Nodes(
        *name,
        nodes=one["provenance"]["nodes"],
        values={tuple(some["nodes"]): some["value"] for some in one.get("combinations", ())},
        unit=accuracy.get("unit", ""),
        sign=1 if accuracy.get("higher_is_better", True) else -1,
        whole_macs=None if whole is None else whole["provenance"].get("macs"),
        whole_value=accuracy.get("baseline_value"),
    )


def _by_node(found: Sequence[_Nodes]) -> Table:
    rows = [
        Row(
            (
                f"{one.name}, node {number}",
                count(node["parameters"]),
                millions(node["macs"]),
                _times(one.whole_macs, node["macs"]),
                megabytes(node["size_bytes"]),
                one.value((number,)),
                one.difference((number,), one.whole_value),
            ),
            one.keys,
        )
        for one in found
        for number, node in enumerate(one.nodes)
    ]
    headings = ("node", "parameters", "MACs", "the whole model has", "size", "accuracy alone", "difference")
    return Table("nodes", "Each node", headings, rows)


def _times(whole: int | None, macs: int) -> str:
    return "–" if whole is None or not macs else f"{whole / macs:.1f} times as many"


def _combinations(one: _Nodes) -> Plot:
    ordered = sorted(one.values, key=lambda some: (one.macs(some), some))
    best = float("-inf")
    drawn: list[dict[str, Any]] = []
    cells = []
    for some in ordered:
        value, macs = one.values[some], one.macs(some)
        leads = value is not None and value * one.sign > best
        label = ", ".join(map(str, some))
        share = percent(macs / one.whole_macs) if one.whole_macs else "–"
        cells.append(
            Row(
                (
                    label,
                    millions(macs),
                    share,
                    one.value(some),
                    one.difference(some, one.whole_value),
                    "yes" if leads else "no",
                ),
                one.keys,
            )
        )
        if value is None:
            continue
        best = max(best, value * one.sign)
        drawn.append(
            {
                **one.keys,
                "nodes": label,
                "count": str(len(some)),
                "macs": specs.shortened(macs / 1e6),
                "value": specs.shortened(value),
                "leads": "yes" if leads else "no",
            }
        )
    headings = ("nodes", "MACs", "of the whole model's", "accuracy", "difference", "no lighter one is as accurate")
    name = f"combinations-{one.model}-{one.operator.replace('>', '-')}"
    return Plot(
        name=name,
        title=f"Combinations of the nodes of {one.name}",
        caption="A dot is some of the nodes: the multiply-accumulates of all of them together, and the accuracy of "
        f"their answers. The dashed line joins those that no lighter combination equals{_whole_words(one)}.",
        spec=_spec(one, drawn),
        rows=drawn,
        table=Table(name, f"Combinations of the nodes of {one.name}", headings, cells, keys=one.keys),
        keys=one.keys,
    )


def _whole_words(one: _Nodes) -> str:
    if one.whole_value is None or one.whole_macs is None:
        return ""
    return f"; the level line is the whole model, with {millions(one.whole_macs)} multiply-accumulates"


def _spec(one: _Nodes, drawn: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    unit = f" in {one.unit}" if one.unit else ""
    position = {
        "x": {
            "field": "macs",
            "type": "quantitative",
            "title": "millions of multiply-accumulates",
            "axis": {"tickCount": 8},
        },
        "y": {"field": "value", "type": "quantitative", "title": f"accuracy{unit}", "scale": {"zero": False}},
    }
    front = {
        "transform": [{"filter": "datum.leads == 'yes'"}],
        "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [4, 3], "opacity": 0.7},
        "encoding": {**position, "order": {"field": "macs", "type": "quantitative"}},
    }
    sizes = sorted({row["count"] for row in drawn}, key=int)
    dots = {
        "mark": {"type": "point", "filled": True, "size": 50},
        "encoding": {
            **position,
            "color": specs.coloured("count", sizes, "nodes"),
            "shape": specs.shaped("count", sizes, "nodes"),
            "tooltip": specs.told(
                ("nodes", "nodes"),
                ("macs", "million MACs", ".4~g"),
                ("value", "accuracy", ".4~g"),
                ("leads", "no lighter one is as accurate"),
            ),
        },
    }
    whole = {
        "mark": {"type": "rule", "opacity": 0.6},
        "encoding": {"y": {"datum": one.whole_value, "type": "quantitative"}},
    }
    layers = [front, dots] if one.whole_value is None else [whole, front, dots]
    return specs.single({"layer": layers}, height=260)


def _without_one(found: Sequence[_Nodes]) -> Table:
    rows = []
    for one in found:
        together = one.values.get(one.all)
        for left_out in (None, *one.all):
            some = tuple(number for number in one.all if number != left_out)
            if some not in one.values:
                continue
            what = "all nodes" if left_out is None else f"without node {left_out}"
            change = "–" if left_out is None else one.difference(some, together)
            rows.append(Row((f"{one.name}, {what}", millions(one.macs(some)), one.value(some), change), one.keys))
    return Table("without-one", "All nodes, and all without one", ("nodes", "MACs", "accuracy", "difference"), rows)


def _slowest(results: Results) -> Table:
    trials = [trial for some in results.valid_trials.values() for trial in some]
    keys = {one["id"]: keys_of(name_of(one)) for one in results.strategies}
    rows = slowest_rows(("-".join(name_of(trial)), trial.get("slowest", ())) for trial in trials)
    return Table(
        "slowest-nodes", "Nodes that requests waited for", HEADINGS, [Row(row, keys[row[0]]) for row in rows], texts=1
    )
