"""How large saved sessions are, and how long it takes to read and show thousands of them.

Generated are sessions of 24 strategies: some with as many trials and requests as the suite's main job, which are opened
once, and thousands with one trial of each strategy, since what is read from the index does not depend on the trials.
A real file can be named as well. Times are of this process's CPU. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pytest_edgeai.reporting.page.history import render_history
from pytest_edgeai.versions.history import make_history
from pytest_edgeai.versions.storage import INDEX, read_session, read_storage
from pytest_edgeai.versions.summaries import summarize
from tests.saved_sessions import save, session

AIM_S = 5.0
"""Of reading all sessions that the index knows, and finding their changes."""
STRATEGIES = tuple(
    f"{model}-{operator}-{tier}"
    for model in ("resnet", "resnext", "bert", "roberta")
    for operator in ("identity", "sptq")
    for tier in ("mobile", "edge", "cloud")
)
Result = TypeVar("Result")


def main() -> int:
    """Generate, read and print; 1 where the aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=2000, metavar="N", help="in the index (default: %(default)s)")
    parser.add_argument("--whole", type=int, default=20, metavar="N", help="of 120 trials (default: %(default)s)")
    parser.add_argument("--file", type=Path, metavar="PATH", help="a real saved session")
    options = parser.parse_args()
    if options.file is not None:
        document = json.loads(options.file.read_text(encoding="utf-8"))
        trials = sum("edgeai" in one["extra_info"] for one in document["benchmarks"])
        kilobytes = len(json.dumps(summarize(document, options.file.name).as_json())) / 1e3
        size_mb = options.file.stat().st_size / 1e6
        print(f"{options.file.name}: {size_mb:.2f} MB for {trials} trials, {size_mb / trials * 120:.1f} MB for 120")
        _, took_s = _timed(lambda: read_session(options.file, options.file.name))
        print(f"  opened in {took_s * 1e3:.0f} ms, {took_s / trials * 120e3:.0f} ms for 120 trials")
        print(f"  its summary in the index: {kilobytes:.1f} kB")
    with tempfile.TemporaryDirectory(prefix="edgeai-history-") as scratch:
        whole = _generated(Path(scratch, "whole"), options.whole, trials=5, requests=10)
        size_mb = sum(path.stat().st_size for path in whole.glob("*/*.json")) / options.whole / 1e6
        _, took_s = _timed(lambda: read_storage(whole))
        print(f"opening a generated session of 120 trials ({size_mb:.2f} MB): {took_s / options.whole * 1e3:.0f} ms")
        many = _generated(Path(scratch, "many"), options.sessions, trials=1, requests=10)
        _, first_s = _timed(lambda: read_storage(many))
        print(f"opening {options.sessions} sessions of 24 trials, for the first time: {first_s:.1f} s")
        stored, index_s = _timed(lambda: read_storage(many))
        size_mb = (many / INDEX).stat().st_size / 1e6
        print(f"reading {options.sessions} sessions from the index ({size_mb:.1f} MB): {index_s:.2f} s")
        history, steps_s = _timed(lambda: make_history(stored.sessions))
        print(f"finding changes in {len(history.series)} series: {steps_s:.2f} s, {len(history.changes)} changes")
        page, page_s = _timed(lambda: render_history(history))
        print(f"the page of all: {page_s:.2f} s, {len(page) / 1e6:.1f} MB")
        newest = make_history(stored.sessions, last=200)
        page, page_s = _timed(lambda: render_history(newest))
        print(f"the page of the newest 200: {page_s:.2f} s, {len(page) / 1e6:.1f} MB")
    met = index_s + steps_s <= AIM_S
    print(f"at most {AIM_S:g} s from the index to the changes: {'met' if met else 'not met'}")
    return 0 if met else 1


def _generated(folder: Path, sessions: int, *, trials: int, requests: int) -> Path:
    for number in range(sessions):
        slower = 1.2 if number > sessions // 2 else 1.0
        latencies_s = {name: 0.02 * slower * (1 + place / 10) for place, name in enumerate(STRATEGIES)}
        save(folder, session(number, latencies_s, trials=trials, requests=requests), number + 1)
    return folder


def _timed(function: Callable[[], Result]) -> tuple[Result, float]:
    began = time.process_time()
    found = function()
    return found, time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
