"""Waiting until a moment, to within a few microseconds also on hosts whose cores take a millisecond to wake up.

A thread that sleeps is woken late: by 0.1 ms on most hosts, by more than 1 ms on some that save power. So the last
stretch of a wait is spent polling the clock.
"""

from __future__ import annotations

import contextlib
import sys
import time

POLLED_S = 1.5e-3
"""How long before the moment the polling starts; slow hosts wake up within it."""
_TIMER_SLACK_NS = 1


def wait_until(moment: float, polled_s: float = POLLED_S) -> float:
    """Wait until a moment.

    Parameters
    ----------
    moment
        A time of `time.perf_counter`, in seconds.
    polled_s
        How many seconds of the wait, at its end, are spent polling the clock; 0 where the core is shared with others
        that compute at that time.

    Returns
    -------
    float
        By how many seconds this came too late; what the last poll takes where all went well.
    """
    remaining_s = moment - time.perf_counter()
    while remaining_s > 0:
        if remaining_s > polled_s:
            time.sleep(remaining_s - polled_s)
        remaining_s = moment - time.perf_counter()
    return -remaining_s


def sleep_precisely() -> None:
    """Ask Linux to end the sleeps of this thread, and of those that it starts, on time.

    By default the kernel may add 50 µs to each, to save power.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            pr_set_timerslack = 29
            ctypes.CDLL(None).prctl(pr_set_timerslack, _TIMER_SLACK_NS)
