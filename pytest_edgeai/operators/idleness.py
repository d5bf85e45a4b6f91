"""Whether a process that builds gives any sign of progress: a message, or use of the processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable


class Watch:
    """Tells when there has been no sign for too long; pure, the time and the signs are given.

    Parameters
    ----------
    idle_s
        How long there may be none.
    now_s
        The time on any clock.
    """

    def __init__(self, idle_s: float, now_s: float) -> None:
        self._idle_s = idle_s
        self._last_sign_s = now_s
        self._cpu_s: float | None = None

    def is_idle(self, now_s: float, *, spoke: bool, cpu_s: float | None) -> bool:
        """Whether the last sign was longer ago than it may be.

        Parameters
        ----------
        now_s
            The time.
        spoke
            Whether there was a message since the last call.
        cpu_s
            Processor time used so far, or None where it is not known.
        """
        if spoke or cpu_s != self._cpu_s:
            self._last_sign_s = now_s
        self._cpu_s = cpu_s
        return now_s - self._last_sign_s > self._idle_s


def cpu_time_s(pids: Iterable[int]) -> float | None:
    """Processor time that processes and those that they started have used, None where none of them is there."""
    import psutil

    total: float | None = None
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = one.cpu_times()
                    total = (total or 0.0) + times.user + times.system
    return total


def kill(pids: Iterable[int]) -> None:
    """End processes and those that they started at once, also where they are stopped."""
    import psutil

    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for one in (*process.children(recursive=True), process):
                with contextlib.suppress(psutil.Error):
                    one.kill()
