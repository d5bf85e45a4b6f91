"""Plots and tables as files: SVG, CSV and LaTeX."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_edgeai.reporting.page.latencies import box_plot, distribution_plot, quantile_plot
from pytest_edgeai.reporting.page.parts import Plot, Table, standing_alone
from pytest_edgeai.reporting.page.results import StrategyName
from pytest_edgeai.reporting.statistics import p_words, title
from pytest_edgeai.stats.samples import FloatArray

if TYPE_CHECKING:
    from pytest_edgeai.stats import Analysis


def plots_of(analysis: Analysis, latencies_s: Mapping[StrategyName, FloatArray]) -> list[Plot]:
    """Box plots and distributions of every table, and Q–Q plots of every strategy.

    Parameters
    ----------
    analysis
        What is drawn.
    latencies_s
        Seconds by model, operator and tier.
    """
    plots = []
    for table in analysis.tables:
        groups = [(group.model, group.operator, group.tier) for group in table.groups]
        words = f"{title(table)} (Kruskal–Wallis p = {p_words(table.kruskal.p, table.kruskal.log10_p)})"
        boxes = box_plot(table.model, groups, latencies_s, list(dict.fromkeys(tier for _, _, tier in groups)))
        lines = distribution_plot(f"distributions of {title(table)}", groups, latencies_s)
        plots += [replace(boxes, name=title(table), title=words), replace(lines, title=words)]
    normality = {(one.model, one.operator, one.tier): (one.shapiro.w, one.shapiro.p) for one in analysis.strategies}
    for model in dict.fromkeys(one.model for one in analysis.strategies):
        own = [name for name in normality if name[0] == model]
        plots.append(replace(quantile_plot(model, own, latencies_s, normality), name=f"Q-Q of {model}"))
    return plots


def write_figures(folder: Path, plots: Iterable[Plot]) -> list[Path]:
    """Write each plot as SVG.

    Parameters
    ----------
    folder
        Made if it is not there.
    plots
        Of any names.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for plot in plots:
        path = _path(folder, plot.name, ".svg", files)
        drawn = vl_convert.vegalite_to_svg(json.dumps(standing_alone(plot)))
        path.write_text(str(drawn), encoding="utf-8")
        files.append(path)
    return files


def write_tables(folder: Path, tables: Iterable[Table]) -> list[Path]:
    """Write each table as CSV and as LaTeX, which needs the package booktabs.

    Parameters
    ----------
    folder
        Made if it is not there.
    tables
        Of any names.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for table in tables:
        path = _path(folder, table.name, ".csv", files)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(table.headings)
            writer.writerows(row.cells for row in table.rows)
        other = path.with_suffix(".tex")
        other.write_text(latex(table), encoding="utf-8")
        files += [path, other]
    return files


def latex(table: Table) -> str:
    """The table in LaTeX, text columns to the left and numbers to the right."""
    import pandas as pd

    frame = pd.DataFrame([list(row.cells) for row in table.rows], columns=list(table.headings))
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    columns = "l" * table.texts + "r" * (len(table.headings) - table.texts)
    return str(style.to_latex(column_format=columns, hrules=True))


def _path(folder: Path, name: str, suffix: str, taken: Sequence[Path]) -> Path:
    """A path that no other plot or table has, whatever characters its name has."""
    stem = re.sub(r"[^\w+-]+", "-", name).strip("-").lower() or "figure"
    path, number = folder / f"{stem}{suffix}", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path
