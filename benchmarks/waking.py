"""What makes a host wake up sooner: low-priority work that keeps its cores from halting, and a latency request.

A message of 4 kB goes to another process and back after 50 ms of rest, in turns under each condition: as the host is;
with `/dev/cpu_dma_latency` held at 0 (where it may be written, as root on most systems); with a busy loop of the
scheduling class IDLE on every core (`chrt --idle 0`); with both. Printed are the medians of the rounds and what each is
of the first. pytest-edgeai itself uses neither: the ends of its links poll, and what waking costs is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from pytest_edgeai.measure.host_checks import wake_up_s

REQUEST = Path("/dev/cpu_dma_latency")
Condition: TypeAlias = Callable[[], AbstractContextManager[None]]

# It ends by itself when whoever started it does, which closes its input.
_LOOP = """
import os, select, sys
while not select.select([sys.stdin], [], [], 0)[0]:
    sum(range(20000))
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each (default: %(default)s)")
    options = parser.parse_args()
    conditions: dict[str, Condition] = {"as it is": contextlib.nullcontext}
    if os.access(REQUEST, os.W_OK):
        conditions[f"{REQUEST} at 0"] = _requested
    else:
        print(f"{REQUEST} may not be written: left out")
    if shutil.which("chrt"):
        conditions["loops of class IDLE"] = _loops
    else:
        print("there is no chrt: left out")
    if len(conditions) > 2:
        conditions["both"] = _both
    found: dict[str, list[float]] = {name: [] for name in conditions}
    for _ in range(options.rounds):
        for name, condition in conditions.items():
            with condition():
                found[name].append(wake_up_s())
    usual = statistics.median(found["as it is"])
    print(f"load {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores, {options.rounds} rounds in turns")
    for name, rounds in found.items():
        median = statistics.median(rounds)
        each = ", ".join(f"{one * 1e3:.3f}" for one in rounds)
        print(f"{name:28} {median * 1e3:.3f} ms, {median / usual:.2f} of the first ({each})")
    return 0


@contextlib.contextmanager
def _requested() -> Iterator[None]:
    """The request holds as long as the file is open."""
    with REQUEST.open("wb", buffering=0) as file:
        file.write((0).to_bytes(4, sys.byteorder))
        yield


@contextlib.contextmanager
def _loops() -> Iterator[None]:
    loops = [
        subprocess.Popen(
            ["chrt", "--idle", "0", sys.executable, "-I", "-S", "-c", _LOOP], stdin=subprocess.PIPE, bufsize=0
        )
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            assert loop.stdin is not None
            loop.stdin.close()
        for loop in loops:
            loop.wait()


@contextlib.contextmanager
def _both() -> Iterator[None]:
    with _requested(), _loops():
        yield


if __name__ == "__main__":
    sys.exit(main())
