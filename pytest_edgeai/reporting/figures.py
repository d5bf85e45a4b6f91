"""Figures of latencies: box plots and distributions of every table, Q–Q plots of every strategy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_edgeai.reporting.statistics import p_words, title
from pytest_edgeai.stats.samples import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pytest_edgeai.stats import Analysis, StrategySummary, Table

_DPI = 120
_PANELS_A_ROW = 5
_WIDE_RANGE = 10.0  # from here on, latencies are on a logarithmic axis


def write_figures(
    folder: Path, analysis: Analysis, latencies_s: Mapping[tuple[str, str, str], FloatArray]
) -> list[Path]:
    """Write a PNG for each table, and one for each model with a Q–Q plot of each of its strategies.

    Parameters
    ----------
    folder
        Made if it is not there.
    analysis
        What is drawn.
    latencies_s
        Seconds by model, operator and tier.

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
    for table in analysis.tables:
        files.append(_save(_table(table, latencies_s), folder, title(table), files))
    for model in dict.fromkeys(strategy.model for strategy in analysis.strategies):
        own = [strategy for strategy in analysis.strategies if strategy.model == model]
        files.append(_save(_quantiles(own, latencies_s), folder, f"Q-Q of {model}", files))
    return files


def _save(figure: Figure, folder: Path, name: str, taken: Sequence[Path]) -> Path:
    stem = re.sub(r"[^\w.+-]+", "-", name).lower()
    path, number = folder / f"{stem}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}-{number}.png"
    figure.savefig(path, dpi=_DPI)
    return path


def _table(table: Table, latencies_s: Mapping[tuple[str, str, str], FloatArray]) -> Figure:
    """Box plots beside empirical distribution functions."""
    from matplotlib.figure import Figure

    samples = [latencies_s[group.model, group.operator, group.tier] * 1e3 for group in table.groups]
    labels = [group.label for group in table.groups]
    figure = Figure(figsize=(10, 4), layout="constrained")
    boxes, distributions = figure.subplots(1, 2)
    boxes.boxplot(samples, tick_labels=[label.replace("-", "\n") for label in labels])
    boxes.tick_params(axis="x", labelrotation=20, labelsize="small")
    boxes.set_ylabel("latency in ms")
    for label, sample in zip(labels, samples, strict=True):
        distributions.ecdf(sample, label=label)
    distributions.set_xlabel("latency in ms")
    distributions.set_ylabel("share of requests at or below")
    distributions.legend(fontsize="small")
    lowest, highest = min(map(np.min, samples)), max(map(np.max, samples))
    if lowest > 0 and highest / lowest >= _WIDE_RANGE:
        boxes.set_yscale("log")
        distributions.set_xscale("log")
    kruskal = table.kruskal
    figure.suptitle(f"{title(table)} (Kruskal–Wallis p = {p_words(kruskal.p, kruskal.log10_p)})")
    return figure


def _quantiles(strategies: Sequence[StrategySummary], latencies_s: Mapping[tuple[str, str, str], FloatArray]) -> Figure:
    """Quantiles of each strategy against those of the normal distribution."""
    from matplotlib.figure import Figure

    columns = min(_PANELS_A_ROW, len(strategies))
    rows = math.ceil(len(strategies) / columns)
    figure = Figure(figsize=(3 * columns, 2.8 * rows + 0.4), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel, strategy in zip(panels, strategies, strict=False):
        _quantile_panel(panel, strategy, latencies_s[strategy.model, strategy.operator, strategy.tier] * 1e3)
    for panel in panels[len(strategies) :]:
        panel.remove()
    figure.suptitle(f"Q–Q plots of {strategies[0].model}: on the line where latencies are normally distributed")
    figure.supxlabel("quantile of the normal distribution")
    figure.supylabel("latency in ms")
    return figure


def _quantile_panel(panel: Axes, strategy: StrategySummary, sample_ms: FloatArray) -> None:
    from scipy import stats

    (normal, ordered), (slope, intercept, _) = stats.probplot(sample_ms)
    panel.plot(normal, ordered, ".", markersize=3)
    panel.plot(normal, slope * normal + intercept, linewidth=1)
    panel.set_title(f"{strategy.operator} on {strategy.tier}\nShapiro–Wilk p = {strategy.shapiro.p:.2g}", fontsize=8)
    panel.tick_params(labelsize=7)
