"""How far predictions of `edgeai predict` are from what is then measured, and how often the best tier is predicted.

    python benchmarks/predict.py measure FOLDER --replicates 5
    python benchmarks/predict.py judge FOLDER/as-declared/latest FOLDER/*/latest

`measure` runs the suite once on the links as the settings have them and once on each of a few others, each session with
a folder of reports of its own. `judge` predicts from the first report every strategy of the others, with the links and
the cores that these were measured with, and compares medians of latency. The best tier is that of a model and an
operator with the least median. A report that is given twice is not compared with itself. Strategies that a change does
not concern are no pairs: they tell how far two sessions are apart by themselves.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pytest_edgeai.commands.reports import read_report
from pytest_edgeai.commands.what_if import Asked, predicted
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.settings_files import FILE_NAME

ROOT: Final = Path(__file__).resolve().parent.parent
OTHERS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "as-declared": {},
    "slow-near": {"mobile-edge": ("10 Mbit/s", "2 ms"), "edge-cloud": ("5 Mbit/s", "5 ms")},
    "middling": {"mobile-edge": ("50 Mbit/s", "1 ms"), "edge-cloud": ("20 Mbit/s", "10 ms")},
    "fast": {"mobile-edge": ("500 Mbit/s", "0 ms"), "edge-cloud": ("100 Mbit/s", "2 ms")},
    "far": {"mobile-edge": ("100 Mbit/s", "0 ms"), "edge-cloud": ("10 Mbit/s", "40 ms")},
}
"""Rate and delay of links, by name of the session."""
_MEDIAN_AIM, _TAIL_AIM, _TIER_AIM, _PAIRS_AIM = 0.05, 0.15, 0.95, 60


class Pair(NamedTuple):
    """A strategy on some links: its predicted and its measured median.

    It may be in the predicted interval, and the other links may concern it.
    """

    report: str
    strategy: str
    model: str
    operator: str
    predicted_s: float
    measured_s: float
    is_within: bool
    is_changed: bool

    @property
    def error(self) -> float:
        """Of the prediction, as a share of what was measured."""
        return self.predicted_s / self.measured_s - 1


def main(arguments: Sequence[str]) -> int:
    """Measure or judge; 1 where an aim is not met or a session failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    measure = actions.add_parser("measure")
    measure.add_argument("folder", type=Path)
    measure.add_argument("--replicates", type=int, default=5, metavar="N")
    measure.add_argument("--models", default="bert,resnet,resnext,roberta", metavar="A,B")
    measure.add_argument("--operators", default="identity,sptq,partition", metavar="A,B")
    measure.add_argument("--backend", default="process")
    judge = actions.add_parser("judge")
    judge.add_argument("source", type=Path, help="the report that is predicted from")
    judge.add_argument("others", type=Path, nargs="+", help="reports of sessions with other links or cores")
    options = parser.parse_args(arguments)
    return _measure(options) if options.action == "measure" else _judge(options)


def _measure(options: argparse.Namespace) -> int:
    for name, links in OTHERS.items():
        command = [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "-q", "-p", "no:cacheprovider"]
        command += [
            f"--edgeai-{key}={getattr(options, key)}" for key in ("models", "operators", "backend", "replicates")
        ]
        with _settings_of(links):
            code = subprocess.run(
                [*command, f"--edgeai-report={options.folder.absolute() / name}"], cwd=ROOT, check=False
            ).returncode
        if code not in (0, 1):
            print(f"the session {name} ended with exit code {code}", file=sys.stderr)
            return 1
    return 0


@contextmanager
def _settings_of(links: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Links of the suite's sessions; the project must have no settings file of its own."""
    path = ROOT / FILE_NAME
    with path.open("x", encoding="utf-8") as file:
        for name, (rate, delay) in links.items():
            file.write(f'[topology.links.{name}]\nrate = "{rate}"\ndelay = "{delay}"\n')
    try:
        yield
    finally:
        path.unlink()


def _judge(options: argparse.Namespace) -> int:
    source, document = read_report(options.source, ROOT)
    pairs: list[Pair] = []
    for path in options.others:
        folder, other = read_report(path, ROOT)
        if folder.resolve() != source.resolve():
            pairs += _pairs(folder.parent.name or str(folder), document, other)
    if not any(pair.is_changed for pair in pairs):
        print("there is no other report with a strategy of the first on other links", file=sys.stderr)
        return 1
    print("| session | strategy | predicted ms | measured ms | error | within the interval |\n|" + " --- |" * 6)
    for pair in pairs:
        print(
            f"| {pair.report} | {pair.strategy} | {pair.predicted_s * 1e3:.2f} | {pair.measured_s * 1e3:.2f} "
            f"| {pair.error:+.1%} | {'yes' if pair.is_within else 'no'} |"
        )
    tiers = _best_tiers(pairs)
    unchanged = [abs(pair.error) for pair in pairs if not pair.is_changed]
    pairs = [pair for pair in pairs if pair.is_changed]
    errors = np.abs([pair.error for pair in pairs])
    right = float(np.mean(tiers)) if tiers else float("nan")
    middle, tail = float(np.median(errors)), float(np.percentile(errors, 95))
    within = float(np.mean([pair.is_within for pair in pairs]))
    aims = [
        (len(pairs) >= _PAIRS_AIM, f"{len(pairs)} pairs of a strategy and links, of at least {_PAIRS_AIM}"),
        (middle <= _MEDIAN_AIM, f"median error {middle:.1%}, of at most {_MEDIAN_AIM:.0%}"),
        (tail <= _TAIL_AIM, f"95th percentile of errors {tail:.1%}, of at most {_TAIL_AIM:.0%}"),
        (right >= _TIER_AIM, f"best tier right in {right:.0%} of {len(tiers)}, of at least {_TIER_AIM:.0%}"),
    ]
    if unchanged:
        print(f"\nmedian difference of the sessions where nothing was changed: {np.median(unchanged):.1%}")
    print(f"measured medians within the predicted intervals: {within:.0%}")
    for is_met, sentence in aims:
        print(f"{'met' if is_met else 'NOT MET'}: {sentence}")
    return 0 if all(is_met for is_met, _ in aims) else 1


def _pairs(name: str, document: Mapping[str, Any], other: Mapping[str, Any]) -> list[Pair]:
    ours, theirs = (one["settings"]["topology"] for one in (document, other))
    links = {link: (to["rate_bps"], to["delay_s"]) for link, to in theirs["links"].items() if link in ours["links"]}
    cores = {
        tier: to["cores"]
        for tier, to in theirs["tiers"].items()
        if tier in ours["tiers"] and to["cores"] != ours["tiers"][tier]["cores"]
    }
    found = predicted(name, document, Asked(links, cores, None, 50.0, None, None, None))
    measured = {one["id"]: one for one in other["strategies"] if one["median_s"] is not None}
    return [
        Pair(
            name,
            row.strategy,
            measured[row.strategy]["model"],
            measured[row.strategy]["operator"],
            row.latency.estimate,
            measured[row.strategy]["median_s"],
            row.latency.low <= measured[row.strategy]["median_s"] <= row.latency.high,
            row.latency.estimate != row.measured_s,
        )
        for row in found.strategies
        if row.strategy in measured
    ]


def _best_tiers(pairs: Sequence[Pair]) -> list[bool]:
    """Whether the predicted best tier is the measured one, for each session, model and operator on several tiers."""
    groups: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.report, pair.model, pair.operator), []).append(pair)
    return [
        min(ours, key=lambda pair: pair.predicted_s) is min(ours, key=lambda pair: pair.measured_s)
        for ours in groups.values()
        if len(ours) > 1
    ]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except EdgeAIError as error:
        sys.exit(f"error: {error}")
