"""How often the gate is wrong: false alarms of equal versions, and slowdowns that it sees, beside two naive rules.

Sessions are put together from trials that were measured: whole blocks (a block is one replicate of every strategy) in
the order in which they were measured, so that autocorrelation and drift are the machine's own. Interleaved sessions
take neighbouring trials of one stretch as the two versions, at random; sessions apart
(`--edgeai-compare`) take stretches that do not overlap. A slowdown is added to one strategy of the later version:
its compute (stretched) or its transmit spans, whichever is larger, get longer by a factor.

`--real` compares saved sessions of one unchanged version, each with the next. How to run it: README.md beside this
file.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from pytest_edgeai.recording import read_recording
from pytest_edgeai.verdicts.comparison import Limits, compare
from pytest_edgeai.verdicts.regression import Rule, judge_changes

FloatArray: TypeAlias = npt.NDArray[np.float64]
Session: TypeAlias = dict[str, tuple[FloatArray, FloatArray]]
"""Latencies by strategy, before and after, each of shape (trials, inputs)."""

DATA: Final = Path(__file__).parent / "data" / "gate_trials.csv"
COLUMNS: Final = ("stretch", "block", "strategy", "input", "latency_us", "compute_us", "transmit_us")
FACTORS: Final = (0.03, 0.05, 0.10, 0.20)
MAX_FALSE_ALARMS, MIN_SEEN = 0.05, {0.10: 0.80, 0.20: 0.95}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Trials that were measured one after the other: seconds by strategy, each of shape (blocks, inputs)."""

    latency_s: Mapping[str, FloatArray]
    compute_s: Mapping[str, FloatArray]
    transmit_s: Mapping[str, FloatArray]

    @property
    def blocks(self) -> int:
        """How many trials of each strategy there are."""
        return len(next(iter(self.latency_s.values())))

    def slowed(self, strategy: str, factor: float) -> FloatArray:
        """Latencies where the larger of compute and transmit takes longer by a factor."""
        compute_s, transmit_s = self.compute_s[strategy], self.transmit_s[strategy]
        larger_s = compute_s if np.median(compute_s) > np.median(transmit_s) else transmit_s
        return self.latency_s[strategy] + factor * larger_s


@dataclass(frozen=True, slots=True)
class Design:
    """What a session looks like.

    Parameters
    ----------
    trials
        Of each strategy on each side.
    together
        Whether both versions are measured in one session, interleaved.
    """

    trials: int
    together: bool


def main() -> int:
    """Simulate, print and write; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, metavar="CSV", help="measured trials (default: %(default)s)")
    parser.add_argument(
        "--collect", nargs="+", type=Path, metavar="CSV", help="make the data from the samples.csv of long sessions"
    )
    parser.add_argument("--real", nargs="+", type=Path, metavar="JSON", help="saved sessions, in their order")
    parser.add_argument("--sessions", type=int, default=400, metavar="N", help="simulated (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=5, metavar="N", help="a side (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console(highlight=False)
    if options.collect:
        collect(options.collect, options.data)
    stretches = read(options.data)
    console.print(
        "measured: " + ", ".join(f"{one.blocks} blocks of {len(one.latency_s)} strategies" for one in stretches)
    )
    table = Table(title=f"{options.sessions} simulated sessions, {options.trials} trials a side")
    for heading in ("sessions", "rule", "false alarms", *(f"sees {factor:.0%}" for factor in FACTORS)):
        table.add_column(heading, justify="left" if heading in ("sessions", "rule") else "right")
    figures: dict[str, dict[str, list[float]]] = {}
    for name in ("interleaved", "apart"):
        design = Design(options.trials, together=name == "interleaved")
        figures[name] = simulate(stretches, design, options.sessions, options.seed)
        for rule, rates in figures[name].items():
            table.add_row(name, rule, *(f"{rate:.1%}" for rate in rates))
    console.print(table)
    aims = {
        f"false alarms in at most {MAX_FALSE_ALARMS:.0%} of sessions, {name}": rates["gate"][0] <= MAX_FALSE_ALARMS
        for name, rates in figures.items()
    }
    for factor, least in MIN_SEEN.items():
        seen = figures["interleaved"]["gate"][1 + FACTORS.index(factor)]
        aims[f"a slowdown of {factor:.0%} is seen in at least {least:.0%} of interleaved sessions"] = seen >= least
    if options.real:
        alarms = real_alarms(options.real)
        console.print(f"{len(alarms)} real pairs of sessions: {sum(map(bool, alarms))} with a false alarm; {alarms}")
        aims["no more than one of the real pairs with a false alarm"] = sum(map(bool, alarms)) <= 1
    for aim, met in aims.items():
        console.print(f"{'met' if met else 'NOT MET'}: {aim}", style="green" if met else "red")
    if options.json is not None:
        options.json.write_text(json.dumps({"aims": aims, "rates": figures}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(aims.values()) else 1


def collect(files: Sequence[Path], target: Path) -> None:
    """Write what is needed of the `samples.csv` of sessions into one small file."""
    target.parent.mkdir(exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as written:
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, path in enumerate(files):
            with path.open(encoding="utf-8", newline="") as source:
                for row in csv.DictReader(source):
                    strategy = "-".join((row["model"], row["operator"], row["tier"]))
                    compute_s = float(row["compute_s"]) + float(row["stretch_s"])
                    transmit_s = float(row["transmit_s"])
                    latencies = [round(1e6 * one) for one in (float(row["latency_s"]), compute_s, transmit_s)]
                    writer.writerow((number, row["replicate"], strategy, row["input"], *latencies))


def read(path: Path) -> list[Stretch]:
    """Stretches; a block in which a trial is not there is left out."""
    trials: dict[int, dict[str, dict[int, dict[int, FloatArray]]]] = {}
    with path.open(encoding="utf-8", newline="") as source:
        for row in csv.DictReader(source):
            of_strategy = trials.setdefault(int(row["stretch"]), {}).setdefault(row["strategy"], defaultdict(dict))
            values = np.array([float(row[name]) / 1e6 for name in COLUMNS[-3:]])
            of_strategy[int(row["block"])][int(row["input"])] = values
    stretches = []
    for strategies in trials.values():
        whole = sorted(set.intersection(*(set(blocks) for blocks in strategies.values())))
        parts: list[dict[str, FloatArray]] = [{}, {}, {}]
        for name, blocks in strategies.items():
            inputs = sorted(blocks[whole[0]])
            values = np.array([[blocks[block][number] for number in inputs] for block in whole])
            for part, one in zip(parts, np.moveaxis(values, -1, 0), strict=True):
                part[name] = one
        stretches.append(Stretch(*parts))
    return stretches


def simulate(stretches: Sequence[Stretch], design: Design, sessions: int, seed: int) -> dict[str, list[float]]:
    """By rule, the share of sessions with a false alarm, and of those in which each slowdown is seen."""
    rules: dict[str, Callable[[Session], set[str]]] = {
        "gate": lambda session: _gate(session, design.together),
        "mean + 10 %": _mean,
        "Mann–Whitney": _mann_whitney,
    }
    found: dict[str, list[float]] = {name: [] for name in rules}
    for factor in (0.0, *FACTORS):
        rng = np.random.default_rng(seed)  # the same sessions for every factor
        drawn = [_session(stretches, design, rng, factor) for _ in range(sessions)]
        for name, rule in rules.items():
            hits = [bool(rule(session)) if not factor else slowed in rule(session) for session, slowed in drawn]
            found[name].append(sum(hits) / sessions)
    return found


def _session(
    stretches: Sequence[Stretch], design: Design, rng: np.random.Generator, factor: float = 0.0
) -> tuple[Session, str]:
    """One session of equal versions, but for one strategy that is slower; and which that is."""
    stretch = stretches[int(rng.integers(len(stretches)))]
    slowed = str(rng.choice(sorted(stretch.latency_s)))
    sides = _sides(stretch.blocks, design, rng)
    session: Session = {}
    for name, latency_s in stretch.latency_s.items():
        before, after = sides()
        later_s = stretch.slowed(name, factor) if name == slowed else latency_s
        session[name] = latency_s[before], later_s[after]
    return session, slowed


def _sides(
    blocks: int, design: Design, rng: np.random.Generator
) -> Callable[[], tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Which blocks are the trials of the two versions; for interleaved ones anew for each strategy."""
    n = design.trials
    if 2 * n > blocks:
        raise SystemExit(f"a stretch of {blocks} blocks is too short for {n} trials a side")
    if not design.together:
        starts = [(one, other) for one in range(blocks - n + 1) for other in range(blocks - n + 1)]
        one, other = starts[int(rng.choice([k for k, (a, b) in enumerate(starts) if abs(a - b) >= n]))]
        return lambda: (one + np.arange(n), other + np.arange(n))
    pairs = int(rng.integers(blocks - 2 * n + 1)) + np.arange(2 * n).reshape(n, 2)

    def interleaved() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        first = rng.integers(2, size=n)
        return pairs[range(n), first], pairs[range(n), 1 - first]

    return interleaved


def _gate(session: Session, together: bool) -> set[str]:
    found = judge_changes(session, Rule(), together=together)
    return {name for name, change in found.items() if change.outcome == "regression"}


def _mean(session: Session) -> set[str]:
    return {name for name, (before, after) in session.items() if after.mean() > 1.1 * before.mean()}


def _mann_whitney(session: Session) -> set[str]:
    """Two-sided, on all requests; slower ones count."""
    from scipy.stats import mannwhitneyu

    return {
        name
        for name, (before, after) in session.items()
        if mannwhitneyu(before.ravel(), after.ravel()).pvalue < 0.05 and np.median(after) > np.median(before)
    }


def real_alarms(files: Sequence[Path]) -> list[list[str]]:
    """For each session and the next, the strategies that the gate says are slower."""
    recordings = [read_recording(json.loads(path.read_text(encoding="utf-8")), path.stem) for path in files]
    return [
        [row.strategy for row in compare(before, after, Rule(), Limits()).rows if row.outcome == "regression"]
        for before, after in itertools.pairwise(recordings)
    ]


if __name__ == "__main__":
    sys.exit(main())
