"""Whether processes and containers agree: the medians of all small models on all tiers, side by side.

The main job runs on each backend, one after the other in one go, with the default links; printed are the medians of
each strategy, what docker's is of process's, and the order of tiers. It means something on an idle host only. How to
run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
BACKENDS = ("process", "docker")
AIM_SHARE = 0.10
ALIKE_SHARE = 0.05
"""Tiers that are nearer to each other than this on either backend have no order."""

Strategy = tuple[str, str, str]
Medians = Mapping[Strategy, float]


def main() -> int:
    """Measure, print and write; 1 where the aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", metavar="A,B", help="all small models if not given")
    parser.add_argument("--operators", default="identity", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console()
    console.print(f"load {os.getloadavg()[0]:.2f} before the first session", highlight=False)
    selection = [f"--edgeai-operators={options.operators}", f"--edgeai-replicates={options.replicates}"]
    if options.models:
        selection.append(f"--edgeai-models={options.models}")
    planned: set[Strategy] = set()
    process, docker = (_measure(backend, selection, planned) for backend in BACKENDS)
    both = sorted(process.keys() & docker.keys())
    missing = sorted(planned - set(both))
    console.print(_table(both, process, docker))
    ratios = {strategy: docker[strategy] / process[strategy] for strategy in both}
    apart = [strategy for strategy in both if abs(ratios[strategy] - 1) > AIM_SHARE]
    unlike = _orders_that_differ(process, docker)
    met = bool(both) and not (apart or unlike or missing)
    sentences = [f"{len(both) - len(apart)} of {len(both)} medians agree within {AIM_SHARE:.0%}"]
    sentences += [f"{name}: the order of tiers differs" for name in unlike]
    sentences += [f"{'-'.join(strategy)} has no median on one of the backends, or on both" for strategy in missing]
    for sentence in sentences:
        console.print(sentence, style="green" if met else "red", highlight=False)
    if options.json is not None:
        rows = [
            {"strategy": "-".join(one), "process_s": process[one], "docker_s": docker[one], "ratio": ratios[one]}
            for one in both
        ]
        document = {"aim_met": met, "verdict": sentences, "strategies": rows}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if met else 1


def _measure(backend: str, selection: Sequence[str], planned: set[Strategy]) -> Medians:
    """The medians of a session on a backend; strategies that are invalid are only added to what was planned."""
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary)
        command = [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", f"--edgeai-backend={backend}"]
        command += [f"--edgeai-report={report}", "-p", "no:cacheprovider", *selection]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        results = report / "latest" / "results.json"
        if not results.is_file():
            raise SystemExit(f"the session on {backend} ended with code {code} and without results")
        strategies = json.loads(results.read_text(encoding="utf-8"))["strategies"]
    medians: dict[Strategy, float | None] = {
        (one["model"], one["operator"], one["tier"]): one["median_s"] for one in strategies
    }
    planned.update(medians)
    return {strategy: median_s for strategy, median_s in medians.items() if median_s is not None}


def _orders_that_differ(process: Medians, docker: Medians) -> list[str]:
    """Models with operators of which two tiers are in another order, where neither backend has them close together."""
    unlike = dict[str, None]()
    both = process.keys() & docker.keys()
    for one in both:
        for other in both:
            if one[:2] != other[:2] or one[2] >= other[2]:
                continue
            ratios = [medians[one] / medians[other] for medians in (process, docker)]
            close = min(abs(ratio - 1) for ratio in ratios) <= ALIKE_SHARE
            if not close and (ratios[0] < 1) != (ratios[1] < 1):
                unlike["-".join(one[:2])] = None
    return sorted(unlike)


def _table(strategies: Sequence[Strategy], process: Medians, docker: Medians) -> Table:
    table = Table("strategy", title="medians")
    for heading in ("process", "docker", "ratio", "order on process", "order on docker"):
        table.add_column(heading, justify="right")
    for strategy in strategies:
        places = []
        for medians in (process, docker):
            alike = sorted((one for one in strategies if one[:2] == strategy[:2]), key=medians.__getitem__)
            places.append(str(alike.index(strategy) + 1))
        ratio = docker[strategy] / process[strategy]
        table.add_row(
            "-".join(strategy),
            f"{process[strategy] * 1e3:.2f} ms",
            f"{docker[strategy] * 1e3:.2f} ms",
            f"{ratio:.3f}",
            *places,
            style="red" if abs(ratio - 1) > AIM_SHARE else None,
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
