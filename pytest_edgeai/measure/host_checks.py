"""Measures a host for `edgeai doctor` in about ten seconds: waking up, loopback, held links, sleeping, computing.

What the figures mean is said in `pytest_edgeai.measure.host_advice`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pytest_edgeai.measure.contention import ForeignUse, foreign_use
from pytest_edgeai.measure.host import family_of, load_average, observe, usable_cpus
from pytest_edgeai.serving.reference import Reference
from pytest_edgeai.serving.repository import Execution
from pytest_edgeai.wire.waiting import wait_until

REST_S = 0.05
MESSAGE_BYTES = 4096
SIZES_BYTES = (1_000, 25_000, 100_000, 600_000, 2_500_000)
LINKS = ((1_000, 1e6), (10_000, 1e6), (1_000, 200e6), (25_000, 200e6), (100_000, 200e6), (600_000, 200e6))
"""Messages in bytes, and the rates in bit/s at which they are to cross."""

_IDLE_S = 1.0
_COMPUTED_S = 1.5
_WAKE_UPS, _REPEATS, _SLEEPS = 20, 5, 200
_SLEEP_S = 1e-3
_PARTNER_TIMEOUT_S = 30.0
_CPU = Path("/sys/devices/system/cpu")

Wait: TypeAlias = Callable[[float], float]

# It answers as many bytes as it is asked for, once it has got what it was told to expect.
_PARTNER = """
import socket, sys

def read(line, size):
    while size > 0:
        got = len(line.recv(min(size, 1 << 20)))
        if not got:
            sys.exit()
        size -= got

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line:
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while head := line.recv(16, socket.MSG_WAITALL):
        read(line, int.from_bytes(head[:8], "big"))
        line.sendall(bytes(int.from_bytes(head[8:], "big")))
"""
_SIDE_BY_SIDE = """
import json, os, sys
from pytest_edgeai.measure.host_checks import computed_s
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [int(sys.argv[1])])
computed_s(0.1)
print(flush=True)
sys.stdin.readline()
print(json.dumps(computed_s(float(sys.argv[2]))))
"""


@dataclass(frozen=True, slots=True)
class HeldLink:
    """How well a rate is held for messages of one size.

    Parameters
    ----------
    size_bytes, rate_bps
        The message and the rate.
    error_s
        Median of what it took beyond the ideal time.
    """

    size_bytes: int
    rate_bps: float
    error_s: float

    @property
    def ideal_s(self) -> float:
        """How long the message takes at this rate."""
        return self.size_bytes * 8 / self.rate_bps


@dataclass(frozen=True, slots=True)
class HostChecks:
    """What was measured.

    Parameters
    ----------
    rested_s, awake_s
        Median round trip of 4 kB to another process, after a rest of 50 ms and without.
    loopback_s
        Median time until a message has arrived at another process, by its size in bytes.
    links
        How well rates are held.
    overslept_s
        By how much each of many sleeps of one millisecond was too long.
    computed_s
        What the fixed computation took, again and again.
    side_by_side_s
        Its median on each core, when all cores compute it.
    foreign
        What other processes took while this one did nothing, or None where that is not known.
    load_average
        Of the host.
    stolen_share
        Share of the cores' time that a hypervisor gave to others, or None where it is not known.
    governor, idle_driver
        What decides clock rates and what idle cores do; empty where the system does not tell.
    """

    rested_s: float
    awake_s: float
    loopback_s: Mapping[int, float]
    links: tuple[HeldLink, ...]
    overslept_s: tuple[float, ...]
    computed_s: tuple[float, ...]
    side_by_side_s: tuple[float, ...]
    foreign: ForeignUse | None
    load_average: float
    stolen_share: float | None
    governor: str
    idle_driver: str


def check_host(wait: Wait = wait_until) -> HostChecks:
    """Measure this host.

    Parameters
    ----------
    wait
        Waits until a time of `time.perf_counter`, as links do that hold messages.
    """
    foreign, stolen_share = _others()
    with _Partner() as partner:
        rested_s = statistics.median(_after_rest(partner, MESSAGE_BYTES) for _ in range(_WAKE_UPS))
        awake_s = statistics.median(partner.exchange(MESSAGE_BYTES, MESSAGE_BYTES) for _ in range(_WAKE_UPS))
        loopback_s = {
            size: statistics.median(partner.exchange(size, 1) for _ in range(_REPEATS)) for size in SIZES_BYTES
        }
        links = tuple(_held(partner, size, rate_bps, wait) for size, rate_bps in LINKS)
    return HostChecks(
        rested_s=rested_s,
        awake_s=awake_s,
        loopback_s=loopback_s,
        links=links,
        overslept_s=tuple(_overslept_s() for _ in range(_SLEEPS)),
        computed_s=tuple(computed_s(_COMPUTED_S)),
        side_by_side_s=_side_by_side_s(usable_cpus()),
        foreign=foreign,
        load_average=load_average(),
        stolen_share=stolen_share,
        governor=_read(_CPU / "cpu0" / "cpufreq" / "scaling_governor"),
        idle_driver=_read(_CPU / "cpuidle" / "current_driver"),
    )


def wake_up_s(times: int = _REPEATS) -> float:
    """Median round trip of 4 kB to another process after a rest of 50 ms, in seconds."""
    with _Partner() as partner:
        return statistics.median(_after_rest(partner, MESSAGE_BYTES) for _ in range(times))


def computed_s(duration_s: float) -> list[float]:
    """What the fixed computation takes on one thread, for so many seconds again and again."""
    reference = Reference(Execution())
    reference(runs=1)
    timings: list[float] = []
    end = time.perf_counter() + duration_s
    while time.perf_counter() < end:
        timings += [one.wall_s for one in reference.timings(10)]
    return timings


class _Partner:
    """Another process at the other end of a plain socket."""

    def __enter__(self) -> _Partner:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_PARTNER_TIMEOUT_S)
            command = [sys.executable, "-I", "-S", "-c", _PARTNER, str(server.getsockname()[1])]
            self._process = subprocess.Popen(command)
            try:
                self._line, _ = server.accept()
            except BaseException:
                self._process.kill()
                self._process.wait()
                raise
        self._line.settimeout(_PARTNER_TIMEOUT_S)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.exchange(SIZES_BYTES[-1], 1)  # buffers grow with the first large message
        return self

    def __exit__(self, *exception: object) -> None:
        self._line.close()
        self._process.wait()

    def exchange(self, sent_bytes: int, answer_bytes: int) -> float:
        """Send so many bytes and wait for the answer; the seconds it took."""
        message = sent_bytes.to_bytes(8, "big") + answer_bytes.to_bytes(8, "big") + bytes(sent_bytes)
        began = time.perf_counter()
        self._line.sendall(message)
        while answer_bytes > 0:
            got = len(self._line.recv(answer_bytes))
            if not got:
                raise ConnectionError("the process at the other end has ended")
            answer_bytes -= got
        return time.perf_counter() - began


def _after_rest(partner: _Partner, size_bytes: int) -> float:
    time.sleep(REST_S)
    return partner.exchange(size_bytes, size_bytes)


def _held(partner: _Partner, size_bytes: int, rate_bps: float, wait: Wait) -> HeldLink:
    """Send at loopback's speed and hold the message until the link would have delivered it."""
    ideal_s, errors_s = size_bytes * 8 / rate_bps, []
    for _ in range(_REPEATS):
        time.sleep(REST_S)
        began = time.perf_counter()
        partner.exchange(size_bytes, 1)
        wait(began + ideal_s)
        errors_s.append(time.perf_counter() - began - ideal_s)
    return HeldLink(size_bytes, rate_bps, statistics.median(errors_s))


def _overslept_s() -> float:
    began = time.perf_counter()
    time.sleep(_SLEEP_S)
    return time.perf_counter() - began - _SLEEP_S


def _others() -> tuple[ForeignUse | None, float | None]:
    """What others take while this process does nothing, and what share of the cores a hypervisor takes."""
    before = observe()
    time.sleep(_IDLE_S)
    after = observe()
    foreign = foreign_use(before, after, usable_cpus(), family_of(os.getpid(), after.processes))
    if before.stolen_s is None or after.stolen_s is None:
        return foreign, None
    return foreign, (after.stolen_s - before.stolen_s) / (after.at_s - before.at_s) / (os.cpu_count() or 1)


def _side_by_side_s(cpus: Sequence[int]) -> tuple[float, ...]:
    """The median of the fixed computation on each core, while all others compute it, too."""
    with _computing(cpus) as processes:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=_PARTNER_TIMEOUT_S)[0] for process in processes]
    return tuple(statistics.median(json.loads(answer)) for answer in answers)


@contextlib.contextmanager
def _computing(cpus: Sequence[int]) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for cpu in cpus:
            command = [sys.executable, "-P", "-c", _SIDE_BY_SIDE, str(cpu), repr(_COMPUTED_S / 2)]
            processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii").strip()
    return ""
