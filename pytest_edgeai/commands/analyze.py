"""`edgeai analyze`: tables and figures of latencies that were measured anywhere."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_edgeai.commands.latency_files import COLUMNS, STANDARD_INPUT, Latencies, LatencyFileError, read_latencies

if TYPE_CHECKING:
    from rich.console import Console

    from pytest_edgeai.stats import Analysis

_STANDARD_OUTPUT = "-"
_NARROWEST = 150
"""Columns that no table is wider than; where output goes to a file, it is no narrower."""

DESCRIPTION = f"""Compare the strategies in FILE: operators within a model and tier, tiers within a model and operator.

FILE is a CSV with the columns {",".join(COLUMNS)} in any order, others being ignored; or a JSON file of
pytest-benchmark, a session's results.json, or the folder of its reports; or - for standard input.
"""
EPILOG = """Every table has Kruskal-Wallis over its groups (effect: epsilon squared) and, for each pair,
Conover-Iman's test and Cliff's delta with an interval (positive: the first is slower). Partitioned strategies
(partition, sptq_partition on mobile+edge or mobile_edge) stand beside the tiers of the operators they split. Where
runs, or the column input, tell which measurements were made on the same input, every table is compared within inputs
as well (Friedman's test, paired differences).

exit code: 0 the tables are written; 2 a file or an option cannot be used
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="latencies; several files are read as one")
    parser.add_argument(
        "--p-adjust",
        type=_method,
        default="holm",
        metavar="METHOD",
        help="adjustment of the pairs of a table for their number: none (as the study), bonferroni, sidak, holm-sidak, "
        "holm, simes-hochberg, hommel, fdr_bh, fdr_by, fdr_tsbh, fdr_tsbky (default: holm)",
    )
    parser.add_argument(
        "--alpha", type=_level, default=0.05, metavar="LEVEL", help="level of significance (default: 0.05)"
    )
    parser.add_argument(
        "--inputs",
        type=_several,
        metavar="N",
        help="runs go through N inputs again and again: run modulo N tells the input (default: the column input, if "
        "there is one, else runs of one number were measured on one input)",
    )
    out = parser.add_argument_group("output", "Without - among these, the tables are printed.")
    out.add_argument("--json", metavar="PATH", help="write everything as JSON; - prints it")
    out.add_argument("--markdown", metavar="PATH", help="write the tables as Markdown; - prints them")
    out.add_argument("--csv", type=Path, metavar="DIR", help="write strategies.csv and pairs.csv")
    out.add_argument("--figures", type=Path, metavar="DIR", help="write box plots, distributions and Q-Q plots as SVG")


def run(options: argparse.Namespace) -> int:
    """Read, analyse and write; the exit code."""
    from pytest_edgeai.stats import StatisticsInputError

    if options.json == _STANDARD_OUTPUT == options.markdown:
        return _refuse("--json - and --markdown - cannot both be printed: give one of them a path")
    if options.files.count(STANDARD_INPUT) > 1:
        return _refuse("standard input can be read once only")
    try:
        latencies = read_latencies(options.files)
        analysis = _analysis(latencies, options)
    except (LatencyFileError, StatisticsInputError) as error:
        return _refuse(str(error))
    cautions = [*latencies.cautions]
    if not analysis.tables:
        cautions.append("there is nothing to compare: no two strategies differ in operator only, or in tier only")
    writers: list[tuple[str, Any, Callable[[], object]]] = [
        ("--json", options.json, lambda: _write(options.json, _json(analysis, cautions))),
        ("--markdown", options.markdown, lambda: _write(options.markdown, _markdown(analysis, cautions))),
        ("--csv", options.csv, lambda: _write_csv(options.csv, analysis)),
        ("--figures", options.figures, lambda: _write_figures(options.figures, analysis, latencies)),
    ]
    for option, target, write in writers:
        if target is not None:
            try:
                write()
            except BrokenPipeError:
                raise
            except OSError as error:
                return _refuse(f"{option}: {target} cannot be written: {error.strerror}")
    for caution in cautions:
        print(f"caution: {caution}", file=sys.stderr)
    if _STANDARD_OUTPUT not in (options.json, options.markdown):
        _print(analysis)
    return 0


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2


def _analysis(latencies: Latencies, options: argparse.Namespace) -> Analysis:
    from pytest_edgeai.stats import analyze

    rows, inputs = latencies.rows, latencies.inputs
    told = options.inputs is None and inputs is not None
    return analyze(
        [row.model for row in rows],
        [row.operator for row in rows],
        [row.tier for row in rows],
        np.array([row.latency_s for row in rows]),
        run=inputs if told else [row.run for row in rows],
        inputs=options.inputs,
        alpha=options.alpha,
        p_adjust=options.p_adjust,
    )


def _json(analysis: Analysis, cautions: list[str]) -> str:
    return json.dumps(analysis.as_json() | {"cautions": cautions}, indent=1, allow_nan=False) + "\n"


def _markdown(analysis: Analysis, cautions: list[str]) -> str:
    from pytest_edgeai.reporting import statistics as words

    lines = ["# Latencies", "", *(f"- {caution}" for caution in cautions), *([""] if cautions else [])]
    lines += words.markdown_table(words.STRATEGY_HEADINGS, words.strategy_rows(analysis.strategies))
    lines += ["", words.methods(analysis), *words.markdown_tables(analysis)]
    return "\n".join(lines) + "\n"


def _write(path: str, text: str) -> None:
    if path == _STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")


def _write_csv(folder: Path, analysis: Analysis) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    strategies = []
    for strategy in analysis.strategies:
        row = strategy.as_json()
        shapiro = row.pop("shapiro")
        strategies.append(row | {"iqr_s": strategy.iqr_s, "shapiro_w": shapiro["w"], "shapiro_p": shapiro["p"]})
    pairs = []
    for table in analysis.tables:
        document = table.as_json()
        names = {key: document[key] for key in ("dimension", "model", "operator", "tier")}
        kruskal = {f"kruskal_{key}": value for key, value in document["kruskal"].items()}
        pairs += [names | kruskal | pair for pair in document["pairs"]]
    for name, rows in (("strategies.csv", strategies), ("pairs.csv", pairs)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            if rows:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)


def _write_figures(folder: Path, analysis: Analysis, latencies: Latencies) -> None:
    from pytest_edgeai.reporting.figures import plots_of, write_figures

    samples = {strategy: np.array([row.latency_s for row in rows]) for strategy, rows in latencies.by_strategy.items()}
    write_figures(folder, plots_of(analysis, samples))


def _print(analysis: Analysis) -> None:
    from rich.console import Console

    from pytest_edgeai.reporting import statistics as words

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _NARROWEST)
    _print_table(console, words.STRATEGY_HEADINGS, words.strategy_rows(analysis.strategies), left=1)
    if analysis.tables:
        console.print(f"\n{words.methods(analysis)}", soft_wrap=True)
    for table in analysis.tables:
        console.print(f"\n{words.title(table)}", style="bold")
        for sentence in words.sentences(table):
            console.print(sentence, soft_wrap=True)
        emphasis = ["" if pair.significant else "dim" for pair in table.pairs]
        _print_table(console, words.pair_headings(table), words.pair_rows(table), left=2, styles=emphasis)


def _print_table(
    console: Console,
    headings: tuple[str, ...],
    rows: list[tuple[str, ...]],
    *,
    left: int,
    styles: list[str] | None = None,
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", no_wrap=number < left)
    for number, row in enumerate(rows):
        table.add_row(*map(Text, row), style=styles[number] if styles else None)
    console.print(table)


def _method(text: str) -> str:
    from pytest_edgeai.stats import check_method

    try:
        return check_method(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 0 < level < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return level


def _several(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 2")
    return int(text)
