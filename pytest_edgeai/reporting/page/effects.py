"""Effect sizes in the study's triangular form: each group of a table against every other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_edgeai.reporting.page.parts import Row, Section, Table
from pytest_edgeai.reporting.page.results import Results
from pytest_edgeai.reporting.statistics import METHODS, p_words


def effects(results: Results) -> Section:
    """A triangle for each table of tests."""
    statistics = results.document["statistics"]
    tables = [] if statistics is None else [_triangle(table) for table in statistics["tables"]]
    introduction = [
        "A cell compares its row with its column: the magnitude of the effect (N negligible, S small, M medium, "
        "L large) and Cliff's delta, positive where the row is slower; * is significant."
    ]
    if statistics is not None:
        asked = statistics["settings"]
        introduction.append(METHODS.format(method=asked["p_adjust"], alpha=asked["alpha"]))
    return Section("effects", "Effect sizes", introduction, tables)


def _triangle(table: Mapping[str, Any]) -> Table:
    labels = [str(group["label"]) for group in table["groups"]]
    cells: dict[tuple[str, str], str] = {}
    for pair in table["pairs"]:
        for row, column, delta in (
            (pair["a"], pair["b"], pair["delta_a_b"]),
            (pair["b"], pair["a"], -pair["delta_a_b"]),
        ):
            cells[row, column] = f"{pair['magnitude']} {delta:+.2f}{'*' if pair['significant'] else ''}"
    rows = [
        Row(
            (
                label,
                *(cells.get((label, other), "") if place < number else "" for place, other in enumerate(labels[:-1])),
            )
        )
        for number, label in enumerate(labels)
        if number
    ]
    kruskal = table["kruskal"]
    of_operators = table["dimension"] == "operator"
    place = table["tier"] if of_operators else table["operator"]
    what = f"Operators of {table['model']} on {place}" if of_operators else f"Tiers of {table['model']}-{place}"
    return Table(
        name=f"effects-{table['dimension']}-{table['model']}-{place}",
        caption=f"{what}: Kruskal–Wallis p = {p_words(kruskal['p'], kruskal['log10_p'])}, "
        f"ε² = {kruskal['epsilon_squared']:.3f}",
        headings=("slower than", *labels[:-1]),
        rows=rows,
        keys={"model": table["model"], ("tier" if of_operators else "operator"): place},
    )
