"""How often the gate is wrong: false alarms of equal versions, and slowdowns that it sees, beside two naive rules.

What is resampled are real sessions in which two equal versions were measured (`--edgeai-against` with
`gate.measure_same`), as they were: trials of one replicate are neighbours, replicates are in order, so that drift and
autocorrelation are the machine's own. A simulated session takes as many of them as it takes for its strategies, and
exchanges the two trials of a replicate at random; for sessions apart (`--edgeai-compare`) the two sides come from two
sessions, one after the other. A slowdown is added to one strategy of the later version: the larger of its compute
(stretched) and transmit spans gets longer by a factor.

The real sessions are judged as they are, too. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from pytest_edgeai.reporting.files import AGAINST_SAMPLES, SAMPLES
from pytest_edgeai.verdicts.estimates import Spread, estimate_changes
from pytest_edgeai.verdicts.regression import Rule, judge_changes

FloatArray: TypeAlias = npt.NDArray[np.float64]
Session: TypeAlias = dict[str, tuple[FloatArray, FloatArray]]
"""Latencies by strategy, before and after, each of shape (trials, inputs)."""

DATA: Final = Path(__file__).parent / "data" / "gate_trials.csv"
COLUMNS: Final = ("session", "strategy", "replicate", "side", "latency_us", "larger_us")
FACTORS: Final = (0.03, 0.05, 0.10, 0.20)
MAX_FALSE_ALARMS, MIN_SEEN = 0.05, {0.10: 0.80, 0.20: 0.95}


@dataclass(frozen=True, slots=True)
class Pairs:
    """The trials of one strategy in one real session: seconds, each of shape (sides, replicates, inputs).

    Parameters
    ----------
    latency_s
        Round trips.
    larger_s
        The larger of compute and transmit.
    """

    latency_s: FloatArray
    larger_s: FloatArray

    @property
    def all_s(self) -> FloatArray:
        """Latencies of both sides, of shape (trials, inputs)."""
        return self.latency_s.reshape(-1, self.latency_s.shape[-1])

    def slowed(self, factor: float) -> FloatArray:
        """Latencies where the larger part takes longer by a factor."""
        return self.latency_s + factor * self.larger_s


@dataclass(frozen=True, slots=True)
class Design:
    """What a session looks like.

    Parameters
    ----------
    strategies
        How many it has at least.
    together
        Whether both versions are measured in one session, interleaved.
    """

    strategies: int
    together: bool


def main() -> int:
    """Simulate, print and write; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, metavar="CSV", help="measured trials (default: %(default)s)")
    parser.add_argument(
        "--collect", nargs="+", type=Path, metavar="DIR", help="make the data from the reports of sessions, in order"
    )
    parser.add_argument("--sessions", type=int, default=400, metavar="N", help="simulated (default: %(default)s)")
    parser.add_argument("--strategies", type=int, default=24, metavar="N", help="of a session (default: %(default)s)")
    parser.add_argument(
        "--trials", type=int, default=10, metavar="N", help="a side of interleaved sessions (default: %(default)s)"
    )
    parser.add_argument(
        "--trials-apart", type=int, default=5, metavar="N", help="a side of sessions apart (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console(highlight=False)
    if options.collect:
        collect(options.collect, options.data)
    real = read(options.data)
    console.print(f"measured: {len(real)} sessions of {', '.join(str(len(one)) for one in real)} strategies")
    table = Table(title=f"{options.sessions} simulated sessions")
    for heading in ("sessions", "rule", "false alarms", *(f"sees {factor:.0%}" for factor in FACTORS)):
        table.add_column(heading, justify="left" if heading in ("sessions", "rule") else "right")
    figures: dict[str, dict[str, list[float]]] = {}
    for name, trials in (("interleaved", options.trials), ("apart", options.trials_apart)):
        design = Design(options.strategies, together=name == "interleaved")
        figures[name] = simulate(joined(real, trials), design, options.sessions, options.seed)
        for rule, rates in figures[name].items():
            table.add_row(f"{name}, {trials} trials a side", rule, *(f"{rate:.1%}" for rate in rates))
    console.print(table)
    aims = {
        f"false alarms in at most {MAX_FALSE_ALARMS:.0%} of sessions, {name}": rates["gate"][0] <= MAX_FALSE_ALARMS
        for name, rates in figures.items()
    }
    for factor, least in MIN_SEEN.items():
        seen = figures["interleaved"]["gate"][1 + FACTORS.index(factor)]
        aims[f"a slowdown of {factor:.0%} is seen in at least {least:.0%} of interleaved sessions"] = seen >= least
    alarms = {
        "interleaved": real_together(real),
        f"interleaved, joined to {options.trials} trials a side": real_together(joined(real, options.trials)),
        "apart": real_apart(real),
    }
    for name, found in alarms.items():
        console.print(f"{len(found)} real sessions, {name}: {sum(map(bool, found))} with a false alarm; {found}")
        aims[f"no more than one of the real sessions with a false alarm, {name}"] = sum(map(bool, found)) <= 1
    console.print(f"spread of a strategy between real sessions, beyond what trials tell: {session_spread(real):.1%}")
    for aim, met in aims.items():
        console.print(f"{'met' if met else 'NOT MET'}: {aim}", style="green" if met else "red")
    if options.json is not None:
        options.json.write_text(json.dumps({"aims": aims, "rates": figures}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(aims.values()) else 1


def collect(folders: Sequence[Path], target: Path) -> None:
    """Write what is needed of the reports of sessions into one small file, a trial in a row."""
    target.parent.mkdir(exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as written:
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, folder in enumerate(folders):
            for side, name in enumerate((AGAINST_SAMPLES, SAMPLES)):
                trials: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
                with (folder / name).open(encoding="utf-8", newline="") as source:
                    for row in csv.DictReader(source):
                        strategy = "-".join((row["model"], row["operator"], row["tier"]))
                        larger_s = max(float(row["compute_s"]) + float(row["stretch_s"] or 0), float(row["transmit_s"]))
                        sample = (int(row["input"]), round(1e6 * float(row["latency_s"])), round(1e6 * larger_s))
                        trials.setdefault((strategy, int(row["replicate"])), []).append(sample)
                for (strategy, replicate), samples in sorted(trials.items()):
                    _, latency_us, larger_us = zip(*sorted(samples), strict=True)
                    values = (" ".join(map(str, one)) for one in (latency_us, larger_us))
                    writer.writerow((number, strategy, replicate, side, *values))


def read(path: Path) -> list[dict[str, Pairs]]:
    """Real sessions in their order, by strategy."""
    found: dict[int, dict[str, dict[tuple[int, int], tuple[FloatArray, FloatArray]]]] = {}
    with path.open(encoding="utf-8", newline="") as source:
        for row in csv.DictReader(source):
            latency_s, larger_s = (np.array(row[name].split(), dtype=float) / 1e6 for name in COLUMNS[-2:])
            of_strategy = found.setdefault(int(row["session"]), {}).setdefault(row["strategy"], {})
            of_strategy[int(row["side"]), int(row["replicate"])] = latency_s, larger_s
    return [{name: _pairs(trials) for name, trials in session.items()} for session in found.values()]


def _pairs(trials: Mapping[tuple[int, int], tuple[FloatArray, FloatArray]]) -> Pairs:
    replicates = sorted({replicate for _, replicate in trials})
    both = np.array([[trials[side, replicate] for replicate in replicates] for side in (0, 1)])
    return Pairs(both[:, :, 0], both[:, :, 1])


def simulate(real: Sequence[Mapping[str, Pairs]], design: Design, sessions: int, seed: int) -> dict[str, list[float]]:
    """By rule, the share of sessions with a false alarm, and of those in which each slowdown is seen."""
    rules: dict[str, Callable[[Session], set[str]]] = {
        "gate": lambda session: _gate(session, design.together),
        "mean + 10 %": _mean,
        "Mann–Whitney": _mann_whitney,
    }
    found: dict[str, list[float]] = {name: [] for name in rules}
    for factor in (0.0, *FACTORS):
        rng = np.random.default_rng(seed)  # the same sessions for every factor
        drawn = [_session(real, design, rng, factor) for _ in range(sessions)]
        for name, rule in rules.items():
            hits = [bool(rule(session)) if not factor else slowed in rule(session) for session, slowed in drawn]
            found[name].append(sum(hits) / sessions)
    return found


def joined(real: Sequence[Mapping[str, Pairs]], trials: int) -> list[dict[str, Pairs]]:
    """Sessions of as many trials a side: neighbouring real ones, one after the other, as often as it takes."""
    replicates = next(iter(real[0].values())).latency_s.shape[1]
    count = -(-trials // replicates)
    groups = [real[first : first + count] for first in range(0, len(real) - count + 1, count)]
    return [
        {
            name: Pairs(
                np.concatenate([one[name].latency_s for one in group], axis=1)[:, :trials],
                np.concatenate([one[name].larger_s for one in group], axis=1)[:, :trials],
            )
            for name in group[0]
        }
        for group in groups
    ]


def _session(
    real: Sequence[Mapping[str, Pairs]], design: Design, rng: np.random.Generator, factor: float = 0.0
) -> tuple[Session, str]:
    """One session of equal versions, but for one strategy that is slower; and which that is."""
    sides: dict[str, tuple[Pairs, Pairs]] = {}
    for number in rng.permutation(len(real) if design.together else len(real) - 1):
        later = real[number if design.together else number + 1]
        sides |= {f"{name} {number}": (real[number][name], later[name]) for name in later}
        if len(sides) >= design.strategies:
            break
    slowed = str(rng.choice(sorted(sides)))
    session: Session = {}
    for name, (before, after) in sides.items():
        replicates = np.arange(before.latency_s.shape[1])
        first = rng.integers(2, size=len(replicates))
        other = 1 - first if design.together else rng.integers(2, size=len(replicates))
        later_s = after.slowed(factor) if name == slowed else after.latency_s
        session[name] = before.latency_s[first, replicates], later_s[other, replicates]
    return session, slowed


def real_together(real: Sequence[Mapping[str, Pairs]]) -> list[list[str]]:
    """For each real session, the strategies that the gate says are slower in one of two equal versions."""
    return [
        sorted(_gate({name: (one.latency_s[0], one.latency_s[1]) for name, one in session.items()}, together=True))
        for session in real
    ]


def real_apart(real: Sequence[Mapping[str, Pairs]]) -> list[list[str]]:
    """For each real session and the next, the strategies that the gate says are slower."""
    return [
        sorted(_gate({name: (before[name].latency_s[0], after[name].latency_s[0]) for name in after}, together=False))
        for before, after in itertools.pairwise(real)
    ]


def session_spread(real: Sequence[Mapping[str, Pairs]]) -> float:
    """How much a strategy's level differs between sessions, which their trials do not show: a standard deviation.

    The mean square of the shifts between neighbouring sessions, less what trials make of it, is twice its square.
    """
    excess = []
    for before, after in itertools.pairwise(real):
        sides = {name: (before[name].all_s, after[name].all_s) for name in after}
        found = estimate_changes(sides, Spread(trial=1e-6), paired=False)
        excess += [one.shift**2 - one.trial_se**2 for one in found.values()]
    return float(np.sqrt(max(0.0, float(np.mean(excess))) / 2))


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


if __name__ == "__main__":
    sys.exit(main())
