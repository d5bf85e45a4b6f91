"""How often the gate is wrong, on sessions that were recorded for judging it and on which none of its rules was chosen.

Each real session measured two equal versions (`gate_sessions.py`). It is judged once as it was. Then sessions are
simulated from it: the two trials of a replicate are exchanged at random, which nothing but chance tells apart, and one
strategy of the later version gets slower in some way. Where more trials are wanted than a session has, those of the
next sessions on the same backend follow. Sessions apart are a session and the next.

Rates have exact intervals (Clopper and Pearson 1934) of 95 %. Those of simulated sessions are about the simulation:
sessions that stem from few real ones are less different than their number says, so the real ones are counted, too.

How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from gate_data import SLOWDOWNS, FloatArray, Measured, Pairs, joined, read
from rich.console import Console
from rich.table import Table

from pytest_edgeai.verdicts.artifacts import Limits
from pytest_edgeai.verdicts.control import control_shifts
from pytest_edgeai.verdicts.regression import LatencyChange, Rule, judge_changes
from pytest_edgeai.verdicts.undecided import more_trials, rule_of_look
from pytest_edgeai.versions.recording import RecordedStrategy

Sides: TypeAlias = dict[str, tuple[FloatArray, FloatArray]]

FOLDER: Final = Path(__file__).parent / "data" / "held_back"
MOST_FALSE_ALARMS: Final = 0.05
LEAST_SEEN: Final = {
    "all requests, larger part + 10 %": 0.80,
    "all requests, larger part + 20 %": 0.95,
    "half of the requests × 2": 0.95,
    "a tenth of the requests × 20": 0.95,
    "two of ten inputs × 10": 0.95,
}
NOTHING: Final = "nothing"
EVERYTHING: Final = "everything × 1.3"
_MEMORY_GROWTHS: Final = (0.12, 0.20, 0.50)


def main() -> int:
    """Judge, print and write; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, metavar="DIR", help="sessions (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=200, metavar="N", help="simulated (default: %(default)s)")
    parser.add_argument("--trials", default="5,10", metavar="N,N", help="a side (default: %(default)s)")
    parser.add_argument(
        "--most",
        type=int,
        default=30,
        metavar="N",
        help="up to so many a side of what is undecided (default: %(default)s)",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console(highlight=False, width=150)
    real = read(options.data)
    if not real:
        parser.error(f"there are no sessions in {options.data}: record some by gate_sessions.py")
    for one in real:
        console.print(f"{one.name}: {len(one.strategies)} strategies, {_about(one)}")
    designs = [(int(word), int(word)) for word in options.trials.split(",")]
    designs.append((designs[-1][0], options.most))
    counts = simulated(options.data, designs, options.sessions, options.seed, options.processes)
    figures: dict[str, Any] = {"sessions": [{"name": one.name, **one.about} for one in real]}
    figures["simulated"] = _print_simulated(console, counts)
    figures["real"] = _print_real(console, real)
    figures["apart"] = _print_apart(console, real)
    figures["memory"] = _print_memory(console, real)
    aims = _aims(figures["simulated"])
    for aim, met in aims.items():
        console.print(f"{'met' if met else 'NOT MET'}: {aim}", style="green" if met else "red")
    if options.json is not None:
        document = json.dumps(figures | {"aims": aims}, indent=1, ensure_ascii=False)
        options.json.write_text(document + "\n", encoding="utf-8")
    return 0 if all(aims.values()) else 1


def rate(hits: int, of: int) -> dict[str, Any]:
    """A share with its exact interval."""
    from scipy.stats import binomtest

    if not of:
        return {"hits": 0, "of": 0, "rate": None, "low": None, "high": None}
    interval = binomtest(hits, of).proportion_ci(0.95, method="exact")
    return {"hits": hits, "of": of, "rate": hits / of, "low": float(interval.low), "high": float(interval.high)}


def _words(found: Mapping[str, Any]) -> str:
    if found["rate"] is None:
        return "–"
    return f"{found['rate']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _about(one: Measured) -> str:
    loads = " to ".join(f"{value:.1f}" for value in one.about.get("load_average", ()))
    replicates = min(pairs.replicates for pairs in one.strategies.values())
    return (
        f"{replicates} trials a side at least, {one.about.get('backend')}, load {one.about.get('load')} ({loads}), "
        f"commit {one.about.get('commit')}, seed {one.about.get('seed')}"
    )


# -- simulated sessions ----------------------------------------------------------------------------------------------

_REAL: list[Measured] = []


def _load(folder: Path) -> None:
    _REAL[:] = read(folder)


def simulated(
    folder: Path, designs: Sequence[tuple[int, int]], sessions: int, seed: int, processes: int
) -> dict[tuple[int, int], dict[str, Counter[str]]]:
    """By design and slowdown, how many sessions had which ending."""
    found: dict[tuple[int, int], dict[str, Counter[str]]] = {design: {} for design in designs}
    work = [
        (design, kind, number, seed)
        for design in designs
        for kind in (NOTHING, *SLOWDOWNS)
        for number in range(sessions)
    ]
    with ProcessPoolExecutor(processes, initializer=_load, initargs=(folder,)) as pool:
        for (design, kind, *_), endings in zip(work, pool.map(_simulate, work, chunksize=8), strict=True):
            counter = found[design].setdefault(kind, Counter())
            counter.update(endings)
            counter["sessions"] += 1
    return found


def _simulate(work: tuple[tuple[int, int], str, int, int]) -> Counter[str]:
    """The endings of one session; strategies that are not slower are counted apart."""
    (first, most), kind, number, seed = work
    rng = np.random.default_rng([seed, number])  # the same sessions for every slowdown
    start = int(rng.integers(len(_REAL)))
    alike = [
        one for one in _REAL[start:] + _REAL[:start] if one.about.get("backend") == _REAL[start].about.get("backend")
    ]
    names = sorted(set.intersection(*(set(one.strategies) for one in alike)))
    slowed = str(rng.choice(names))
    sides: Sides = {}
    for name in names:
        pairs = joined(one.strategies[name] for one in alike)
        sides[name] = _exchanged(pairs, rng, kind if name == slowed else NOTHING)
    changes = _judged(sides, first, most)
    counter: Counter[str] = Counter()
    others = [change for name, change in changes.items() if kind == NOTHING or name != slowed]
    counter["alarms"] = sum(one.outcome == "regression" for one in others)
    counter["strategies"] = len(others)
    counter["alarmed"] = int(counter["alarms"] > 0)
    counter["undecided"] = int(any(one.outcome == "inconclusive" and one.slower for one in others))
    counter["trials"] = sum(sum(one.trials) for one in changes.values())
    if kind != NOTHING:
        counter["seen"] = int(changes[slowed].outcome == "regression")
        counter["not green"] = int(changes[slowed].outcome == "regression" or _fails(changes[slowed]))
    return counter


def _exchanged(pairs: Pairs, rng: np.random.Generator, kind: str) -> tuple[FloatArray, FloatArray]:
    places = np.arange(pairs.replicates)
    before = rng.integers(2, size=pairs.replicates)
    later_s, larger_s = pairs.latency_s[1 - before, places], pairs.larger_s[1 - before, places]
    if kind != NOTHING:
        later_s = SLOWDOWNS[kind](rng, later_s, larger_s)
    return pairs.latency_s[before, places][:, :, None], later_s[:, :, None]


def _judged(sides: Sides, first: int, most: int) -> dict[str, LatencyChange]:
    """As a session does it: a look, more trials of what is undecided, another look."""
    have = {name: min(first, len(before)) for name, (before, _) in sides.items()}
    limits = {name: min(most, len(before)) for name, (before, _) in sides.items()}
    levels: dict[str, float] = {}
    for look in itertools.count():
        last = all(have[name] >= limits[name] for name in sides if name not in levels)
        rule = replace(rule_of_look(Rule(), look, last=last), levels=dict(levels))
        made = {name: (before[: have[name]], after[: have[name]]) for name, (before, after) in sides.items()}
        changes = judge_changes(made, rule, together=True)
        wanted = {} if last else more_trials(changes, most)
        wanted = {
            name: min(more, limits[name] - have[name]) for name, more in wanted.items() if have[name] < limits[name]
        }
        if not wanted:
            return changes
        levels |= {name: rule.alpha for name in sides if name not in wanted and name not in levels}
        for name, more in wanted.items():
            have[name] += more
    raise AssertionError


def _fails(change: LatencyChange) -> bool:
    return change.outcome == "inconclusive" and change.slower


def _print_simulated(
    console: Console, counts: Mapping[tuple[int, int], Mapping[str, Counter[str]]]
) -> dict[str, dict[str, Any]]:
    table = Table(title="simulated sessions: share of sessions, with its 95 % interval")
    table.add_column("slower in one version")
    found: dict[str, dict[str, Any]] = {}
    for first, most in counts:
        table.add_column(f"{_design(first, most)}: seen", justify="right")
        table.add_column("not green", justify="right")
    for kind in (NOTHING, *SLOWDOWNS):
        cells = []
        for design, by_kind in counts.items():
            counter = by_kind[kind]
            sessions = counter["sessions"]
            figures: dict[str, Any] = {
                "false alarms": rate(counter["alarmed"], sessions),
                "false alarms by strategy": rate(counter["alarms"], counter["strategies"]),
                "others undecided": rate(counter["undecided"], sessions),
                "trials": counter["trials"] / sessions,
            }
            if kind != NOTHING:
                figures |= {name: rate(counter[name], sessions) for name in ("seen", "not green")}
            found.setdefault(_design(*design), {})[kind] = figures
            cells += [_words(figures[name]) if name in figures else "" for name in ("seen", "not green")]
        if kind != NOTHING:
            table.add_row(kind, *cells)
    console.print(table)
    for title, figures_of in found.items():
        nothing = figures_of[NOTHING]
        console.print(
            f"{title}, equal versions: false alarms in {_words(nothing['false alarms'])} of sessions and of "
            f"{_words(nothing['false alarms by strategy'])} of strategies; sessions that fail as inconclusive "
            f"{_words(nothing['others undecided'])}; {nothing['trials']:.0f} trials a session"
        )
    return found


def _design(first: int, most: int) -> str:
    return f"{first} a side" if first == most else f"{first} a side, up to {most}"


# -- real sessions ---------------------------------------------------------------------------------------------------


def _print_real(console: Console, real: Sequence[Measured]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for trials in (5, 10):
        alarms, strategies, undecided, sessions = 0, 0, 0, 0
        per_session = []
        for one in real:
            sides = {
                name: (pairs.latency_s[0, :trials, :, None], pairs.latency_s[1, :trials, :, None])
                for name, pairs in one.strategies.items()
                if pairs.replicates >= trials
            }
            if not sides:
                continue
            changes = judge_changes(sides, Rule(), together=True)
            slower = sorted(name for name, change in changes.items() if change.outcome == "regression")
            alarms += len(slower)
            strategies += len(changes)
            sessions += 1
            undecided += any(map(_fails, changes.values()))
            per_session.append({"session": one.name, "alarms": slower})
        hit = sum(bool(one["alarms"]) for one in per_session)
        figures: dict[str, Any] = {
            "false alarms": rate(hit, sessions),
            "false alarms by strategy": rate(alarms, strategies),
            "fail as inconclusive": rate(undecided, sessions),
            "sessions": per_session,
        }
        found[f"{trials} a side"] = figures
        console.print(
            f"real sessions as they were, {trials} a side: false alarms in {hit} of {sessions}: "
            f"{_words(figures['false alarms'])}; of strategies {alarms} of {strategies}: "
            f"{_words(figures['false alarms by strategy'])}; fail as inconclusive before further trials: "
            f"{_words(figures['fail as inconclusive'])}"
        )
    return found


def _print_apart(console: Console, real: Sequence[Measured]) -> dict[str, Any]:
    """Each session and the next on the same backend, as `--edgeai-compare` would compare them."""
    pairs = [
        (one, other)
        for one, other in itertools.pairwise(sorted(real, key=lambda it: str(it.about.get("backend"))))
        if one.about.get("backend") == other.about.get("backend")
    ]
    found: dict[str, Any] = {}
    for kind in (NOTHING, "all requests, larger part + 20 %", EVERYTHING):
        sessions, hits = len(pairs), 0
        undecided = strategies = alarms = 0
        for number, (one, other) in enumerate(pairs):
            rng = np.random.default_rng(number)
            shared = sorted(set(one.strategies) & set(other.strategies))
            slowed = str(rng.choice(shared))
            sides: Sides = {}
            for name in shared:
                before, after = one.strategies[name], other.strategies[name]
                later_s = after.latency_s[0]
                if kind == EVERYTHING:
                    later_s = 1.3 * later_s
                elif kind != NOTHING and name == slowed:
                    later_s = SLOWDOWNS[kind](rng, later_s, after.larger_s[0])
                sides[name] = before.latency_s[0, :, :, None], later_s[:, :, None]
            controls = control_shifts(*({n: _recorded(it.strategies[n]) for n in shared} for it in (one, other)))
            changes = judge_changes(sides, Rule(), together=False, controls=controls)
            slower = {name for name, change in changes.items() if change.outcome == "regression"}
            hits += bool(slower) if kind in (NOTHING, EVERYTHING) else slowed in slower
            undecided += any(map(_fails, changes.values()))
            alarms += len(slower)
            strategies += len(changes)
        found[kind] = {
            "red": rate(hits, sessions),
            "fail as inconclusive": rate(undecided, sessions),
            "by strategy": rate(alarms, strategies),
        }
        console.print(
            f"sessions apart, slower: {kind}: regression in {_words(found[kind]['red'])} of {sessions}, some strategy "
            f"fails as inconclusive in {_words(found[kind]['fail as inconclusive'])}"
        )
    return found


def _recorded(pairs: Pairs) -> RecordedStrategy:
    count = max((len(values) for values in pairs.reference_s.values()), default=0)
    trials = [
        {tier: values[number] for tier, values in pairs.reference_s.items() if number < len(values)}
        for number in range(count)
    ]
    return RecordedStrategy((), np.empty((0, 0, 0)), reference_s=tuple(trials))


def _print_memory(console: Console, real: Iterable[Measured]) -> dict[str, Any]:
    """The gate of peak memory: the medians of both versions, as the comparison has them."""
    limit = Limits().memory_growth
    growths: list[list[float]] = []
    for one in real:
        medians = [np.median(pairs.memory_bytes, axis=1) for pairs in one.strategies.values()]
        known = [float(after / before - 1) for before, after in medians if np.isfinite([before, after]).all()]
        if known:
            growths.append(known)
    every = list(itertools.chain.from_iterable(growths))
    found = {
        "sessions": rate(sum(any(value > limit for value in one) for one in growths), len(growths)),
        "strategies": rate(sum(value > limit for value in every), len(every)),
        "seen": {
            f"{growth:.0%}": rate(sum((1 + value) * (1 + growth) - 1 > limit for value in every), len(every))
            for growth in _MEMORY_GROWTHS
        },
    }
    console.print(
        f"peak memory, limit {limit:.0%}: false alarms in {_words(found['sessions'])} of sessions and "
        f"{_words(found['strategies'])} of strategies; seen: "
        + ", ".join(f"+ {growth} {_words(seen)}" for growth, seen in found["seen"].items())
    )
    return found


def _aims(found: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    aims = {}
    for design, by_kind in found.items():
        alarms = by_kind[NOTHING]["false alarms"]["rate"]
        aims[f"false alarms in at most {MOST_FALSE_ALARMS:.0%} of sessions, {design}"] = alarms <= MOST_FALSE_ALARMS
    last = list(found)[-1]
    for kind, least in LEAST_SEEN.items():
        aims[f"{kind}: seen in at least {least:.0%}, {last}"] = found[last][kind]["seen"]["rate"] >= least
    return aims


if __name__ == "__main__":
    sys.exit(main())
