"""Record sessions of one version at unequal moments, to judge by what the comparison of saved sessions tells apart.

Each is the suite's test of a small matrix, beside as many busy loops as chance wants. Tolerances of the host are
loosened, so that trials stay valid which a busy host would spoil: what is recorded is noisier than what a session would
save. A session ends as a compressed CSV file, a trial in a row, whose first line is a comment: JSON with commit, seed,
host and load.

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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from gate_sessions import commit_of, settings_of

from pytest_edgeai.measure.host import load_average, observe

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = Path(__file__).parent / "data" / "apart"
COLUMNS: Final = ("strategy", "replicate", "order", "reference_us", "load_us", "requests_us")
QUANTITIES: Final = ("latency", "compute", "stretch", "cpu", "transmit", "instructions")
"""Of each request; those that are not known are missing. Microseconds, but for instructions."""
_SETTINGS: Final = """[tolerances]
cpu_wait = 100.0
waiting_requests = 1.0
foreign_cores = 1000.0
slow_host = 1000.0
link_share = 0.9
link_floor_s = 1.0
"""


def main() -> int:
    """Record; the exit code is 1 where a session left nothing to keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=5, metavar="N", help="trials (default: %(default)s)")
    parser.add_argument("--models", default="bert,resnet", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--operators", default="identity,sptq", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--tiers", default="mobile,edge", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--loops", type=int, default=3, metavar="N", help="at most this many busy loops beside it")
    parser.add_argument("--pause", type=float, default=60, metavar="S", help="at most so long between two sessions")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project whose suite is run (default: this one)")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help="(default: %(default)s)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chance = random.SystemRandom()
    for number in range(options.sessions):
        if number:
            time.sleep(chance.uniform(0, options.pause))
        if not _session(options, chance.randrange(2**32), chance.randint(0, options.loops)):
            return 1
    return 0


def _session(options: argparse.Namespace, seed: int, loops: int) -> bool:
    before = observe().stolen_s, time.time()
    with tempfile.TemporaryDirectory(prefix="apart-session-") as scratch, ExitStack() as stack:
        stack.enter_context(settings_of(options.root, _SETTINGS))
        for _ in range(loops):
            stack.enter_context(_busy_loop())
        began = load_average()
        words = _command(options, Path(scratch), seed)
        code = subprocess.run(words, cwd=options.root, check=False).returncode
        found = sorted(Path(scratch).glob("*/results.json"))
        if not found:
            print(f"pytest ended with {code} and no report: nothing is kept", file=sys.stderr)
            return False
        results = json.loads(found[-1].read_text(encoding="utf-8"))
        stolen = observe().stolen_s
        about = {
            "commit": commit_of(options.root),
            "seed": seed,
            "backend": results["backend"]["name"],
            "loops": loops,
            "load_average": [round(load or 0.0, 2) for load in (began, load_average())],
            "stolen_s": None if before[0] is None or stolen is None else round(stolen - before[0], 2),
            "started_at": round(before[1]),
            "duration_s": round(time.time() - before[1]),
            "host": results["host"],
        }
    target = options.folder / f"{len(list(options.folder.glob('*.csv.gz'))) + 1:02}.csv.gz"
    kept = write(target, about, results)
    print(f"{target}: {kept} trials in {about['duration_s']} s, beside {loops} loops, load {about['load_average']}")
    return True


def _command(options: argparse.Namespace, report: Path, seed: int) -> list[str]:
    given = {
        "models": options.models,
        "operators": options.operators,
        "tiers": options.tiers,
        "backend": "process",
        "replicates": options.replicates,
        "seed": seed,
        "report": report,
    }
    words = [f"--edgeai-{name}={value}" for name, value in given.items()]
    return [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "-q", "-p", "no:cacheprovider", *words]


@contextmanager
def _busy_loop() -> Iterator[None]:
    child = multiprocessing.get_context("spawn").Process(target=_work, args=(os.getpid(),), daemon=True)
    child.start()
    try:
        yield
    finally:
        child.terminate()
        child.join()


def _work(parent: int) -> None:
    """Be busy in spells of a length of its own, so that sessions differ by more than a number of loops."""
    chance = random.Random()
    share = chance.uniform(0.3, 1.0)
    while os.getppid() == parent:
        end = time.monotonic() + 4 * share
        while time.monotonic() < end:
            sum(range(10_000))
        time.sleep(4 * (1 - share))


def write(target: Path, about: Mapping[str, Any], results: Mapping[str, Any]) -> int:
    """Write the valid trials; how many there are."""
    text = io.StringIO()
    text.write(f"# {json.dumps(about, sort_keys=True)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = sorted(_row(trial) for trial in results["trials"] if trial["status"] == "valid")
    writer.writerows(rows)
    target.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return len(rows)


def _row(trial: Mapping[str, Any]) -> tuple[Any, ...]:
    spans = trial["spans_s"]
    columns = {
        "latency": trial["latency_s"],
        "compute": spans.get("compute"),
        "stretch": spans.get("stretch"),
        "cpu": trial["cpu_s"],
        "transmit": _summed([values for name, values in spans.items() if name.startswith("transmit")]),
    }
    places = sorted(range(len(trial["run"])), key=lambda place: (trial["input"][place], trial["run"][place]))
    requests = {
        name: [round(1e6 * values[place]) for place in places]
        for name, values in columns.items()
        if values and None not in values
    }
    if trial.get("instructions") and None not in trial["instructions"]:
        requests["instructions"] = [trial["instructions"][place] for place in places]
    reference = {
        place: [round(1e6 * seconds[clock]) for clock in ("cpu_s", "wall_s", "median_cpu_s", "median_wall_s")]
        for place, seconds in trial["reference"].items()
    }
    return (
        "-".join((trial["model"], trial["operator"], trial["tier"])),
        trial["replicate"],
        trial["order"],
        json.dumps(reference),
        json.dumps({tier: round(1e6 * load_s) for tier, load_s in trial["load_s"].items()}),
        json.dumps(requests, separators=(",", ":")),
    )


def _summed(columns: list[list[float]]) -> list[float]:
    return [sum(values) for values in zip(*columns, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
