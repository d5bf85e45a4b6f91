"""What the artifacts are: their size and cost, and where partitions cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_edgeai.reporting.cells import count, megabytes, millions, percent
from pytest_edgeai.reporting.page import specs
from pytest_edgeai.reporting.page.parts import Plot, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results


def artifacts(results: Results) -> Section:
    """All artifacts, then those in parts."""
    found: Sequence[Document] = results.document["artifacts"]
    cut = [one for one in found if one["provenance"].get("part_macs")]
    parts: list[Plot | Table] = []
    if found:
        parts.append(_all(found))
    if cut:
        parts.append(_cuts(cut))
    return Section("artifacts", "Artifacts", (), parts)


def _keys(one: Document) -> dict[str, str]:
    return {"model": one["model"], "operator": one["operator"]}


def _name(one: Document) -> str:
    return f"{one['model']}-{one['operator']}"


def _all(found: Sequence[Document]) -> Table:
    rows = []
    for one in found:
        provenance: Mapping[str, Any] = one["provenance"]
        rows.append(
            Row(
                (
                    _name(one),
                    one["digest"][:12],
                    str(provenance.get("engine", "–")),
                    megabytes(one["size_bytes"]),
                    count(provenance.get("parameters")),
                    percent(provenance.get("sparsity")),
                    millions(provenance.get("macs")),
                    f"{provenance['build_s']:.1f} s" if "build_s" in provenance else "–",
                ),
                _keys(one),
            )
        )
    headings = ("artifact", "digest", "engine", "all files", "parameters", "sparsity", "MACs", "built in")
    return Table("artifacts", "Artifacts of this session", headings, rows, texts=3)


def _cuts(cut: Sequence[Document]) -> Plot:
    """Each partitioned artifact as a bar that is divided where its graph is."""
    drawn: list[dict[str, Any]] = []
    cells = []
    for one in cut:
        provenance = one["provenance"]
        macs = provenance["part_macs"]
        crossing = [*provenance.get("crossing", ()), ()]
        sent = [*provenance.get("crossing_bytes", ()), None]
        cuts = [*provenance.get("cut", ()), ""]
        for number, amount in enumerate(macs):
            after = f"cut at {cuts[number]}" if cuts[number] else "answers"
            share = amount / sum(macs) if sum(macs) else 1 / len(macs)
            sends = ", ".join(crossing[number]) or "–"
            drawn.append(
                {
                    **_keys(one),
                    "artifact": _name(one),
                    "part": f"part {number}",
                    "share": specs.shortened(share),
                    "macs": millions(amount),
                    "after": after,
                    "sends": sends,
                    "bytes": "–" if sent[number] is None else f"{sent[number] / 1e3:.1f} kB",
                }
            )
            cells.append(
                Row(
                    (
                        f"{_name(one)}, part {number}",
                        after,
                        sends,
                        millions(amount),
                        percent(share),
                        count(provenance["part_parameters"][number]) if "part_parameters" in provenance else "–",
                        drawn[-1]["bytes"],
                    ),
                    _keys(one),
                )
            )
    parts = list(dict.fromkeys(row["part"] for row in drawn))
    place = specs.rows_of("artifact", [_name(one) for one in cut])
    along = {"field": "share", "type": "quantitative", "title": "share of multiply-accumulates", "stack": "zero"}
    shown = {"axis": {"format": "%", "tickCount": 6}, "scale": {"domain": [0, 1]}}
    order = {"field": "part", "type": "ordinal"}
    tips = specs.told(
        ("artifact", "artifact"),
        ("part", "part"),
        ("share", "share of MACs", ".1%"),
        ("macs", "MACs"),
        ("after", "ends"),
        ("sends", "sends"),
        ("bytes", "bytes sent"),
    )
    layers = [
        {
            "mark": {"type": "bar", "size": 18},
            "encoding": {
                "y": place,
                "x": {**along, **shown},
                "order": order,
                "color": specs.coloured("part", parts, "part"),
                "tooltip": tips,
            },
        },
        {
            "mark": {"type": "text", "color": "white", "fontSize": 10, "fontWeight": "bold"},
            "transform": [{"filter": "datum.share > 0.12"}],
            "encoding": {
                "y": place,
                "x": {**along, **shown, "bandPosition": 0.5},
                "order": order,
                "detail": {"field": "part", "type": "nominal"},
                "text": {"field": "part", "type": "nominal"},
                "tooltip": tips,
            },
        },
    ]
    headings = ("part", "ends", "sends", "MACs", "share", "parameters", "bytes sent")
    return Plot(
        name="cuts",
        title="Where partitions cut",
        caption="Each partitioned artifact from its input (left) to its answer (right), divided where its graph is "
        "cut; a part is as wide as its share of the multiply-accumulates.",
        spec=specs.single({"layer": layers}, height={"step": 30}),
        rows=drawn,
        table=Table("cuts", "Parts of partitioned artifacts", headings, cells, texts=3),
    )
