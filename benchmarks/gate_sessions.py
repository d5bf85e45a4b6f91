"""Record sessions of two equal versions, to judge the gate by: on them no rule of the gate may be chosen.

Each is the suite's main job against `HEAD` with everything measured in both versions, beside a load of the host that is
made on purpose: `idle` (none), `busy` (one core's worth of work all the time) or `bursts` (spells of it). It ends as a
compressed CSV file, a trial in a row, whose first line is a comment: JSON with commit, seed, host, backend and load.

How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.measure.host import load_average, observe
from pytest_edgeai.settings_files import FILE_NAME

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = Path(__file__).parent / "data" / "held_back"
COLUMNS: Final = (
    "strategy",
    "replicate",
    "side",
    "order",
    "peak_memory_bytes",
    "reference_us",
    "latency_us",
    "larger_us",
)
LOADS: Final = ("idle", "busy", "bursts")
# What is the same in both versions is measured twice.
_SETTINGS = "[gate]\nmeasure_same = true\nmax_replicates = 1\n"  # as many trials as are asked for, and no more


def main() -> int:
    """Record; the exit code is 1 where a session left nothing to keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=10, metavar="N", help="trials a side (default: %(default)s)")
    parser.add_argument("--load", choices=LOADS, default="idle", help="beside the session (default: %(default)s)")
    parser.add_argument("--backend", default="process", help="what runs the tiers (default: %(default)s)")
    parser.add_argument("--models", default="bert,resnet", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--operators", default="identity,sptq", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--tiers", metavar="A,B", help="(default: all)")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help="(default: %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for _ in range(options.sessions):
        with tempfile.TemporaryDirectory(prefix="gate-session-") as scratch:
            before = observe().stolen_s, time.time()
            seed = random.SystemRandom().randrange(2**32)
            with loaded(options.load), settings_of(ROOT):
                began = load_average()
                code = subprocess.run(_command(options, Path(scratch), seed), cwd=ROOT, check=False).returncode
            found = sorted(Path(scratch).glob("*/results.json"))
            if not found:
                print(f"pytest ended with {code} and no report: nothing is kept", file=sys.stderr)
                return 1
            results = json.loads(found[-1].read_text(encoding="utf-8"))
        stolen = observe().stolen_s
        about = {
            "commit": commit_of(ROOT),
            "seed": seed,
            "backend": results["backend"]["name"],
            "load": options.load,
            "replicates": options.replicates,
            "load_average": [began, load_average()],
            "stolen_s": None if before[0] is None or stolen is None else round(stolen - before[0], 2),
            "started_at": round(before[1]),
            "duration_s": round(time.time() - before[1]),
            "host": results["host"],
        }
        number = len(list(options.folder.glob("*.csv.gz"))) + 1
        target = options.folder / f"{number:02}-{about['backend']}-{options.load}.csv.gz"
        kept = write(target, about, results)
        print(f"{target}: {kept} trials in {about['duration_s']} s")
    return 0


def _command(options: argparse.Namespace, report: Path, seed: int) -> list[str]:
    given = {
        "models": options.models,
        "operators": options.operators,
        "tiers": options.tiers,
        "backend": options.backend,
        "replicates": options.replicates,
        "seed": seed,
        "report": report,
        "against": "HEAD",
    }
    words = [f"--edgeai-{name}={value}" for name, value in given.items() if value is not None]
    return [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "-q", "-p", "no:cacheprovider", *words]


@contextmanager
def settings_of(root: Path, content: str = _SETTINGS) -> Iterator[None]:
    """Give the project settings for a while; it must have no settings file of its own."""
    path = root / FILE_NAME
    with path.open("x", encoding="utf-8") as file:
        file.write(content)
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def loaded(load: str) -> Iterator[None]:
    """Keep the host as busy as a load says."""
    if load == "idle":
        yield
        return
    child = multiprocessing.get_context("spawn").Process(target=_work, args=(load, os.getpid()), daemon=True)
    child.start()
    try:
        yield
    finally:
        child.terminate()
        child.join()


def _work(load: str, parent: int) -> None:
    chance = random.Random()
    while os.getppid() == parent:
        end = time.monotonic() + (10 if load == "busy" else chance.uniform(0.2, 8))
        while time.monotonic() < end:
            sum(range(10_000))
        if load == "bursts":
            time.sleep(chance.uniform(0.5, 20))


def commit_of(root: Path) -> str:
    """The commit of a project, marked where something is not committed."""
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def write(target: Path, about: Mapping[str, Any], results: Mapping[str, Any]) -> int:
    """Write the valid trials of both versions; how many there are."""
    text = io.StringIO()
    text.write(f"# {json.dumps(about, sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = [
        row
        for side, trials in enumerate((results["against"]["trials"], results["trials"]))
        for row in _rows(side, trials)
    ]
    writer.writerows(sorted(rows))
    target.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return len(rows)


def _rows(side: int, trials: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for trial in trials:
        if trial["status"] != "valid":
            continue
        spans = trial["spans_s"]
        requests = sorted(zip(trial["input"], trial["run"], trial["latency_s"], range(len(trial["run"])), strict=True))
        transmit = [name for name in spans if name.startswith("transmit")]
        larger = [
            max(
                spans.get("compute", {})[place] + (spans["stretch"][place] if "stretch" in spans else 0.0),
                sum(spans[name][place] for name in transmit),
            )
            for *_, place in requests
        ]
        states = list(trial["tiers"].values())
        peak = states[0]["after"].get("peak_memory_bytes") if states else None
        reference = {place: round(1e6 * seconds["cpu_s"]) for place, seconds in trial.get("reference", {}).items()}
        yield (
            "-".join((trial["model"], trial["operator"], trial["tier"])),
            trial["replicate"],
            side,
            trial["order"],
            peak or "",
            json.dumps(reference) if reference else "",
            " ".join(str(round(1e6 * latency_s)) for _, _, latency_s, _ in requests),
            " ".join(str(round(1e6 * seconds)) for seconds in larger),
        )


if __name__ == "__main__":
    sys.exit(main())
