"""CPU time of the threads that compute a request, and how long of it they waited for a core.

A tier's compute never sleeps by itself on one thread, so what passes without CPU time is waiting: for other threads,
for the end of a quota's period, for a hypervisor. With several threads some are idle where a graph has nothing for
them; there the kernel's count of waiting (`schedstat`) decides, where it keeps one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from pytest_edgeai.serving.instructions import InstructionCounter, why_not_counted

_TASKS = Path("/proc/self/task")
_OWN_THREAD = "/proc/thread-self/schedstat"
_LINE_BYTES = 128


class CpuUse(NamedTuple):
    """What a computation took of the processor."""

    cpu_s: float
    waited_s: float | None
    instructions: int | None = None


class _Begun(NamedTuple):
    wall_s: float
    cpu_s: float
    run_delay_s: float | None
    instructions: int | None


class ComputeMeter:
    """Measures the computations of one ONNX Runtime session, one at a time.

    Parameters
    ----------
    threads
        Intra-op threads of the session. One is the thread that asks; more are counted by the whole process.
    workers
        Numbers of the session's own threads, as `thread_numbers` has them; empty where they are not known.
    alone
        Whether the processor alone computes: a thread that waits for a GPU waits for no core.
    """

    def __init__(self, threads: int, workers: Collection[int] = (), *, alone: bool = True) -> None:
        self._threads = threads
        self._alone = alone
        self._clock = time.thread_time if threads == 1 else time.process_time
        self._least_idle_share = 1.0
        self._schedstats: list[int] | None = None
        if threads > 1 and alone and workers and counts_waiting():
            with contextlib.suppress(OSError):
                self._schedstats = [os.open(_TASKS / str(one) / "schedstat", os.O_RDONLY) for one in workers]
        self._counter: InstructionCounter | None = None
        if (threads == 1 or workers) and alone and not why_not_counted():
            with contextlib.suppress(OSError):
                self._counter = InstructionCounter(workers if threads > 1 else ())

    def begin(self) -> _Begun:
        """Begin a computation, in the thread that asks for it."""
        run_delay_s = self._run_delay_s()
        instructions = self._instructions()
        return _Begun(time.perf_counter(), self._clock(), run_delay_s, instructions)

    def end(self, begun: _Begun) -> CpuUse:
        """End it; what it took."""
        cpu_s = self._clock() - begun.cpu_s
        wall_s = time.perf_counter() - begun.wall_s
        if not self._alone:
            return CpuUse(cpu_s, None)
        counted = self._instructions()
        instructions = None if counted is None or begun.instructions is None else counted - begun.instructions
        run_delay_s = self._run_delay_s()
        self._least_idle_share = min(self._least_idle_share, _lost_s(wall_s, cpu_s, self._threads) / wall_s)
        delay_s = None if run_delay_s is None or begun.run_delay_s is None else run_delay_s - begun.run_delay_s
        waited = waited_s(wall_s, cpu_s, self._threads, run_delay_s=delay_s, idle_share=self._least_idle_share)
        return CpuUse(cpu_s, waited, instructions)

    def _instructions(self) -> int | None:
        """How many the computing threads have retired so far, all together."""
        try:
            return None if self._counter is None else self._counter.read()
        except OSError:
            return None

    def _run_delay_s(self) -> float | None:
        """How long the computing threads have waited for a core so far, all together."""
        if self._schedstats is None:
            return None
        try:
            lines = [os.pread(descriptor, _LINE_BYTES, 0) for descriptor in self._schedstats]
            with open(_OWN_THREAD, "rb", buffering=0) as own:  # noqa: PTH123  # in the middle of a request
                lines.append(own.read(_LINE_BYTES))
            return sum(int(line.split()[1]) for line in lines) / 1e9
        except (OSError, ValueError, IndexError):
            return None


def waited_s(
    wall_s: float, cpu_s: float, threads: int, *, run_delay_s: float | None = None, idle_share: float = 0.0
) -> float:
    """How much of a computation passed while its threads waited for a core.

    Parameters
    ----------
    wall_s, cpu_s
        How long it took, and the CPU time of all its threads.
    threads
        How many compute.
    run_delay_s
        What the kernel says that they have waited, all together, or None. It counts with several threads: those that
        wait at the same time delay the computation once, so what is lost of the wall time is the upper limit.
    idle_share
        With several threads and without the kernel's count: the share of the wall time that the graph itself leaves
        threads idle.

    Examples
    --------
    >>> round(waited_s(0.010, 0.006, 1), 6)
    0.004
    >>> round(waited_s(0.010, 0.030, 4, run_delay_s=0.001), 6)
    0.001
    """
    lost_s = _lost_s(wall_s, cpu_s, threads)
    if threads == 1:
        return lost_s
    if run_delay_s is not None:
        return min(lost_s, max(0.0, run_delay_s))
    return max(0.0, lost_s - idle_share * wall_s)


def thread_numbers() -> frozenset[int]:
    """The numbers of this process's threads; empty where the system does not tell them."""
    with contextlib.suppress(OSError):
        return frozenset(int(task.name) for task in _TASKS.iterdir())
    return frozenset()


def counts_waiting() -> bool:
    """Whether the kernel counts how long threads wait for a core: one that does not shows zeros for all."""
    return any(_spent(line) for line in _own_schedstat())


def _own_schedstat() -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield Path(_OWN_THREAD).read_text(encoding="ascii")


def _spent(schedstat: str) -> bool:
    """Whether a thread has spent CPU time: this one has, so 0 is no figure."""
    return schedstat.split()[:1] not in ([], ["0"])


def _lost_s(wall_s: float, cpu_s: float, threads: int) -> float:
    return max(0.0, wall_s - cpu_s / threads)
