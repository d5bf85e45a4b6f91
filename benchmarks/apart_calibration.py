"""How often the comparison of saved sessions is wrong, on real sessions of one version at unequal moments.

Each session that `apart_sessions.py` has recorded is judged by a window of the others (leave one out), so that nothing
is learned from what is judged: once as it was, once with each artifact said to be another, and with compute of one
strategy slower: its wall time, its CPU time, and what that adds to the latency. The same without a window, each session
by the one before it.

Rates have exact intervals (Clopper and Pearson 1934) of 95 %, in which a session counts once: its strategies share what
the machine did. Where each of them is slowed down in turn, one drawn at random counts.

How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
from apart_sessions import FOLDER
from gate_calibration import rate
from rich.console import Console
from rich.table import Table

from pytest_edgeai.arrays import Array
from pytest_edgeai.verdicts.artifacts import Limits
from pytest_edgeai.verdicts.comparison import Comparison, compare
from pytest_edgeai.verdicts.regression import Rule
from pytest_edgeai.versions.recording import RecordedArtifact, RecordedStrategy, Recording

WINDOW: Final = "ten others, drawn at random"
NOTHING: Final = "nothing, no artifact changed"
OTHER: Final = "nothing, one artifact changed"
EVERYTHING: Final = "compute of everything + 20 %"
SLOWER: Final = {f"compute + {percent} %": percent / 100 for percent in (10, 20)}
MOST_FALSE_ALARMS: Final = 0.05
LEAST_SEEN: Final = {"compute + 10 %": 0.5, "compute + 20 %": 0.8}


@dataclass(frozen=True, slots=True)
class Session:
    """A recorded session, and what its file says about it."""

    recording: Recording
    about: Mapping[str, Any]
    stretch: Mapping[str, Array]
    """By strategy, by how many times its compute a request is stretched beyond it."""


def read(folder: Path) -> list[Session]:
    """The sessions of a folder in the order in which they were recorded."""
    return [_session(path) for path in sorted(folder.glob("*.csv.gz"))]


def _session(path: Path) -> Session:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        about = json.loads(file.readline().removeprefix("#"))
        rows: dict[str, list[dict[str, str]]] = {}
        for row in csv.DictReader(file):
            rows.setdefault(row["strategy"], []).append(row)
    strategies, stretches = {}, {}
    for name, trials in rows.items():
        strategies[name], stretches[name] = _strategy(trials)
    artifacts = {name: "-".join(name.split("-")[:2]) for name in strategies}
    contents = {one: RecordedArtifact(one, 1, {}, None) for one in artifacts.values()}
    label = path.name.removesuffix(".csv.gz")
    return Session(Recording(label, {}, strategies, contents, artifacts), about, stretches)


def _strategy(trials: Sequence[Mapping[str, str]]) -> tuple[RecordedStrategy, Array]:
    requests = [json.loads(row["requests_us"]) for row in trials]
    values = {name: np.array([one[name] for one in requests])[:, :, None] / 1e6 for name in requests[0]}
    stretch = values.get("stretch", np.zeros_like(values["compute"])) / values["compute"]
    # With one thread, what passes without CPU time is waiting; that is how the server tells it as well.
    waited = np.maximum(0.0, values["compute"] - values["cpu"]) * (1 + stretch)
    loads = [sum(json.loads(row["load_us"]).values()) / 1e6 for row in trials]
    components = {
        **{name: values[name] for name in ("compute", "cpu", "transmit") if (values[name] > 0).all()},
        "unhindered": values["latency"] - waited,
        "load": np.array(loads)[:, None, None],
    }
    if "instructions" in values:
        components["instructions"] = values["instructions"]
    told = [json.loads(row["reference_us"]) for row in trials]
    reference = {
        component: tuple({tier: seconds[place] / 1e6 for tier, seconds in one.items()} for one in told)
        for place, component in enumerate(("cpu", "compute"))
    }
    latency = values["latency"]
    return (
        RecordedStrategy(
            tuple(range(latency.shape[1])),
            latency,
            reference_s=reference["cpu"],
            components=components,
            reference_components=reference,
        ),
        stretch,
    )


def joined(sessions: Sequence[Session], size: int) -> list[Session]:
    """Neighbouring sessions as one with more trials; what is left over at the end is left out."""
    groups = [sessions[place : place + size] for place in range(0, len(sessions) - size + 1, size)]
    return [_joined(group) for group in groups]


def _joined(group: Sequence[Session]) -> Session:
    strategies = {}
    for name, first in group[0].recording.strategies.items():
        every = [one.recording.strategies[name] for one in group]
        strategies[name] = replace(
            first,
            latencies_s=np.concatenate([one.latencies_s for one in every]),
            components={key: np.concatenate([one.components[key] for one in every]) for key in first.components},
            reference_components={
                key: tuple(trial for one in every for trial in one.reference_components[key])
                for key in first.reference_components
            },
        )
    stretch = {name: np.concatenate([one.stretch[name] for one in group]) for name in strategies}
    loads = [load for one in group for load in one.about["load_average"]]
    return Session(replace(group[0].recording, strategies=strategies), {"load_average": loads}, stretch)


def slowed(session: Session, names: Sequence[str], more: float) -> Recording:
    """A session in which compute of some strategies takes longer."""
    strategies = dict(session.recording.strategies)
    for name in names:
        one, times = strategies[name], 1 + session.stretch[name]
        added = {
            "compute": more * one.components["compute"],
            "cpu": more * one.components["cpu"],
            "unhindered": more * one.components["cpu"] * times,
        }
        if "instructions" in one.components:
            added["instructions"] = more * one.components["instructions"]
        components = {component: values + added.get(component, 0.0) for component, values in one.components.items()}
        strategies[name] = replace(
            one, latencies_s=one.latencies_s + more * one.components["compute"] * times, components=components
        )
    return replace(session.recording, strategies=strategies)


def changed(recording: Recording, artifact: str) -> Recording:
    """The same session with another artifact under a name."""
    other = replace(recording.artifacts[artifact], content="other")
    return replace(recording, artifacts={**recording.artifacts, artifact: other})


def judged(window: Sequence[Recording], after: Recording) -> Comparison:
    """The comparison with the last session of a window."""
    before = replace(window[-1], earlier=tuple(window[:-1]))
    return compare(before, after, Rule(), Limits())


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a session in one way to judge it.

    Parameters
    ----------
    kind
        What was slower.
    target
        The strategy that was, or the artifact that changed; else empty.
    red, failed
        The strategies that got slower, and those that fail for being undecided.
    """

    kind: str
    target: str
    red: frozenset[str]
    failed: frozenset[str]

    @property
    def hit(self) -> bool:
        """Whether the slow strategy is red, or any where none was slow."""
        return self.target in self.red if self.kind in SLOWER else bool(self.red)


def trials_of(number: int, sessions: Sequence[Session], window: Sequence[Recording]) -> list[Trial]:
    """Judge one session by a window in every way."""
    session = sessions[number]
    artifacts = sorted(session.recording.artifacts)
    ways: list[tuple[str, str, Recording]] = [(NOTHING, "", session.recording)]
    ways += [(OTHER, one, changed(session.recording, one)) for one in artifacts]
    ways.append((EVERYTHING, "", slowed(session, list(session.recording.strategies), 0.20)))
    for kind, more in SLOWER.items():
        for name in session.recording.strategies:
            later = changed(slowed(session, [name], more), session.recording.artifact_of[name])
            ways.append((kind, name, later))
    found = []
    for kind, target, later in ways:
        rows = judged(window, later).rows
        red = frozenset(row.strategy for row in rows if row.outcome == "regression")
        failed = frozenset(row.strategy for row in rows if row.outcome == "inconclusive" and row.verdict.fails)
        found.append(Trial(kind, target, red, failed))
    return found


def windows(number: int, sessions: Sequence[Session]) -> Iterator[tuple[str, list[Recording]]]:
    """The windows by which a session is judged; none of them has the session itself."""
    others = [one.recording for place, one in enumerate(sessions) if place != number]
    chance = np.random.default_rng(number)
    yield WINDOW, [others[place] for place in sorted(chance.permutation(len(others))[:10])]
    if number >= 1:
        yield "the session before alone", [sessions[number - 1].recording]


def _judge(folder: Path, size: int, number: int) -> dict[str, list[Trial]]:
    sessions = joined(read(folder), size)
    return {design: trials_of(number, sessions, window) for design, window in windows(number, sessions)}


def main() -> int:
    """Judge, print and write; 1 where an aim is not met with ten sessions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, metavar="DIR", help="sessions (default: %(default)s)")
    parser.add_argument(
        "--chosen", type=int, default=0, metavar="N", help="the first N were looked at when rules were chosen"
    )
    parser.add_argument(
        "--join", type=int, default=1, metavar="N", help="take N neighbouring sessions as one with more trials"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console(highlight=False, width=150)
    sessions = joined(read(options.data), options.join)
    if len(sessions) < 12:
        parser.error(f"there are {len(sessions)} sessions in {options.data}, and it takes 12")
    loads = [load for one in sessions for load in one.about["load_average"]]
    console.print(f"{len(sessions)} sessions, load {min(loads):.1f} to {max(loads):.1f}")
    spreads = _print_spreads(console, sessions)
    with ProcessPoolExecutor(options.processes) as pool:
        every = list(pool.map(_judge, repeat(options.data), repeat(options.join), range(len(sessions))))
    figures = {"all sessions": _print_rates(console, "all sessions", every)}
    if options.chosen:
        figures["held back"] = _print_rates(console, "held back", every[options.chosen :])
    aims = _aims(list(figures.values())[-1][WINDOW])
    for aim, met in aims.items():
        console.print(f"{'met' if met else 'NOT MET'}: {aim}", style="green" if met else "red")
    if options.json is not None:
        document = {
            "spreads": spreads,
            "rates": figures,
            "aims": aims,
            "sessions": [dict(one.about) for one in sessions],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if all(aims.values()) else 1


def _print_rates(console: Console, which: str, every: Sequence[Mapping[str, list[Trial]]]) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    for design in dict.fromkeys(key for one in every for key in one):
        table = Table("slower", "sessions", "of all cases", "fail as undecided", title=f"{which}, judged by {design}")
        figures[design] = {}
        for kind in (NOTHING, OTHER, EVERYTHING, *SLOWER):
            cases = [[one for one in found[design] if one.kind == kind] for found in every if design in found]
            chance = np.random.default_rng(0)
            drawn = [ones[int(chance.integers(len(ones)))] for ones in cases]
            figures[design][kind] = {
                "sessions": rate(sum(one.hit for one in drawn), len(drawn)),
                "cases": rate(sum(one.hit for ones in cases for one in ones), sum(map(len, cases))),
                "undecided": rate(sum(bool(one.failed) for one in drawn), len(drawn)),
            }
            found_rates = figures[design][kind]
            table.add_row(kind, *(_words(found_rates[key]) for key in ("sessions", "cases", "undecided")))
        console.print(table)
    return figures


def _words(found: Mapping[str, Any]) -> str:
    return f"{found['hits']} of {found['of']}: {found['rate']:.0%} ({found['low']:.0%} to {found['high']:.0%})"


def _print_spreads(console: Console, sessions: Sequence[Session]) -> dict[str, dict[str, float]]:
    """Standard deviations between sessions of the mean log of all requests, by strategy and measure.

    As they are, and against the other strategies of the tier and the reference, all taken as unchanged.
    """
    recordings = [one.recording for one in sessions]
    found: dict[str, dict[str, float]] = {}
    controlled = {row.strategy: row.spread for row in judged(recordings[:-1], recordings[-1]).rows}
    table = Table("strategy", "wall time", "CPU time", "wall, controlled", "CPU, controlled")
    for name in recordings[0].strategies:
        raw = {
            component: float(
                np.std([np.log(one.strategies[name].components[component]).mean() for one in recordings], ddof=1)
            )
            for component in ("compute", "cpu")
        }
        found[name] = {"wall time": raw["compute"], "CPU time": raw["cpu"]}
        found[name] |= {f"{measure}, controlled": sd for measure, sd in controlled[name].items()}
        table.add_row(
            name,
            *(f"{value:.1%}" for value in raw.values()),
            *(f"{controlled[name][measure]:.1%}" for measure in ("wall time", "CPU time")),
        )
    console.print(table)
    return found


def _aims(found: Mapping[str, Any]) -> dict[str, bool]:
    aims = {
        f"false alarms in at most {MOST_FALSE_ALARMS:.0%} of sessions, {kind}": found[kind]["cases"]["rate"]
        <= MOST_FALSE_ALARMS
        for kind in (NOTHING, OTHER)
    }
    for kind, least in LEAST_SEEN.items():
        aims[f"{kind}: seen in at least {least:.0%}"] = found[kind]["cases"]["rate"] >= least
    return aims


if __name__ == "__main__":
    sys.exit(main())
