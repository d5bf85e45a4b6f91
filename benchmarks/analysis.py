"""How long the statistics take: Cliff's delta of a million against a million, and all tables of the study's rows.

The delta is counted next to the quadratic count at a size where that is possible, and must be equal to it. The tables
are those of FILE, a CSV as `edgeai analyze` takes it, or without one of generated rows of the study's shape (4 models,
20 strategies each, 500 runs). How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pytest_edgeai.commands.latency_files import COLUMNS, read_latencies
from pytest_edgeai.stats import analyze, cliffs_delta_counts
from pytest_edgeai.stats.analysis import PARTITION_JOINS
from pytest_edgeai.stats.order import TIERS
from pytest_edgeai.stats.samples import FloatArray

MILLION = 1_000_000
QUADRATIC = 20_000
BLOCK = 500
AIM_DELTA_S, AIM_TABLES_S = 1.0, 2.0
MODELS = ("resnet", "resnext", "bert", "roberta")
RUNS, INPUTS = 500, 100


@dataclass(frozen=True, slots=True)
class Figure:
    """Something timed, again and again."""

    what: str
    took_s: list[float]

    @property
    def median_s(self) -> float:
        """Median time."""
        return statistics.median(self.took_s)


def main() -> int:
    """Measure, print and write; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="latencies (default: generated)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console(highlight=False)

    deltas, equal = _deltas(options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        tables = _tables(options.file or _generate(Path(folder) / "generated.csv"), options.repeats)
    printed = Table("what", "median", "slowest", title="statistics")
    for figure in (*deltas, *tables):
        printed.add_row(figure.what, f"{figure.median_s:.3f} s", f"{max(figure.took_s):.3f} s")
    console.print(printed)

    slowest_s = max(figure.median_s for figure in deltas if "1,000,000" in figure.what)
    aims = {
        f"Cliff's delta of a million against a million in under {AIM_DELTA_S:g} s": slowest_s < AIM_DELTA_S,
        "it equals the quadratic count": equal,
        f"all tables in under {AIM_TABLES_S:g} s": max(figure.median_s for figure in tables[1:]) < AIM_TABLES_S,
    }
    for aim, met in aims.items():
        console.print(f"{'met' if met else 'NOT MET'}: {aim}", style="green" if met else "red")
    if options.json is not None:
        document = {"aims": aims, "took_s": {figure.what: figure.took_s for figure in (*deltas, *tables)}}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(aims.values()) else 1


def _deltas(repeats: int) -> tuple[list[Figure], bool]:
    """Times with and without ties, and whether the counts equal the quadratic ones."""
    rng = np.random.default_rng(0)
    figures, equal = [], True
    for name, decimals in (("no ties", None), ("ties, rounded to milliseconds", 3)):
        a, b = (rng.lognormal(mean, 0.3, MILLION) for mean in (-3.0, -2.99))
        if decimals is not None:
            a, b = a.round(decimals), b.round(decimals)
        few_a, few_b = a[:QUADRATIC], b[:QUADRATIC]
        figures.append(_timed(f"1,000,000 × 1,000,000, {name}", partial(cliffs_delta_counts, a, b), repeats))
        small = f"{QUADRATIC:,} × {QUADRATIC:,}, {name}"
        figures.append(_timed(small, partial(cliffs_delta_counts, few_a, few_b), repeats))
        figures.append(_timed(f"{small}, every pair", partial(_quadratic, few_a, few_b), repeats))
        equal &= cliffs_delta_counts(few_a, few_b)[0] == _quadratic(few_a, few_b)
    return figures, equal


def _quadratic(a: FloatArray, b: FloatArray) -> int:
    """Compare every pair, a block of rows at a time."""
    numerator = 0
    for start in range(0, a.size, BLOCK):
        block = a[start : start + BLOCK, None]
        numerator += int(np.count_nonzero(block > b)) - int(np.count_nonzero(block < b))
    return numerator


def _tables(file: Path, repeats: int) -> list[Figure]:
    rows = read_latencies([str(file)]).rows
    columns = [row.model for row in rows], [row.operator for row in rows], [row.tier for row in rows]
    engine = partial(analyze, *columns, [row.latency_s for row in rows])
    blocked = partial(engine, run=[row.run for row in rows], inputs=INPUTS)
    analysis = blocked()  # the libraries are imported here
    pairs = sum(len(table.pairs) for table in analysis.tables)
    shape = f"{len(rows):,} rows, {len(analysis.tables)} tables, {pairs} pairs"
    return [
        _timed(f"{len(rows):,} rows read and checked", partial(read_latencies, [str(file)]), repeats),
        _timed(shape, engine, repeats),
        _timed(f"{shape}, within inputs as well", blocked, repeats),
    ]


def _generate(file: Path) -> Path:
    """Rows of the study's shape: payloads that repeat, operators and tiers that differ, heavy tails."""
    rng = np.random.default_rng(1)
    whole = sorted({operator for joined in PARTITION_JOINS.values() for operator in joined})
    strategies = [(operator, tier) for operator in whole for tier in TIERS]
    strategies += [(operator, "mobile_edge") for operator in PARTITION_JOINS]
    with file.open("w", encoding="utf-8", newline="") as written:
        writer = csv.writer(written)
        writer.writerow(COLUMNS)
        for model in MODELS:
            payloads = np.tile(rng.lognormal(0, 0.4, INPUTS), RUNS // INPUTS)
            for operator, tier in strategies:
                latencies = payloads * rng.lognormal(rng.normal(), 0.2, RUNS)
                writer.writerows((model, operator, tier, run, value) for run, value in enumerate(latencies.tolist()))
    return file


def _timed(what: str, act: Callable[[], object], repeats: int) -> Figure:
    took_s = []
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        took_s.append(time.perf_counter() - started)
    return Figure(what, took_s)


if __name__ == "__main__":
    sys.exit(main())
