"""A socket whose reads poll for a while before they sleep, so that no time passes until a core has woken up.

On a host that wakes up slowly a read that sleeps takes a millisecond longer. Polling is of use only where there is a
core to spare: it stops for a while where the polling thread itself is kept from running.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time

POLLED_S = 0.1
"""How long a read polls before it sleeps."""
_INTERRUPTED_S = 1e-3  # a thread that has a core of its own never comes back so late
_RESTING_S = 1.0
_CLOCK_EVERY = 16  # reads of the socket for each look at the clock


class PollingSocket:
    """The part of a socket's interface that messages need, over a socket that never blocks.

    Parameters
    ----------
    connection
        The socket; its timeout is set to that of these reads and writes.
    polled_s
        How long a read polls before it sleeps.
    """

    def __init__(self, connection: socket.socket, polled_s: float = POLLED_S) -> None:
        self._connection = connection
        self._polled_s = polled_s
        self._timeout_s = connection.gettimeout()
        self._rests_until = 0.0
        connection.setblocking(False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(connection, select.POLLIN)
        self._writable.register(connection, select.POLLOUT)

    def gettimeout(self) -> float | None:
        """How long a read or write may take, in seconds; None for ever."""
        return self._timeout_s

    def settimeout(self, seconds: float | None) -> None:
        """Set how long a read or write may take."""
        self._timeout_s = seconds

    def recv_into(self, into: memoryview) -> int:
        """Read what there is, or wait for it.

        Raises
        ------
        TimeoutError
            Nothing came in time.
        OSError
            The connection failed.
        """
        now = time.perf_counter()
        if now >= self._rests_until:
            end = now + min(self._polled_s, self._timeout_s or self._polled_s)
            while now < end:
                for _ in range(_CLOCK_EVERY):
                    try:  # contextlib.suppress would take as long as the read
                        return self._connection.recv_into(into)
                    except BlockingIOError:
                        pass
                os.sched_yield()  # to another thread of this process on the same core, which the reads never let in
                last, now = now, time.perf_counter()
                if now - last > _INTERRUPTED_S:  # others want this core: to sleep brings it back sooner
                    self._rests_until = now + _RESTING_S
                    break
        while True:
            self._wait(self._readable)
            with contextlib.suppress(BlockingIOError):
                return self._connection.recv_into(into)

    def sendmsg(self, buffers: list[memoryview]) -> int:
        """Write what the system takes.

        Raises
        ------
        TimeoutError
            Nothing was taken in time.
        OSError
            The connection failed.
        """
        while True:
            with contextlib.suppress(BlockingIOError):
                return self._connection.sendmsg(buffers)
            self._wait(self._writable)

    def shutdown(self, how: int) -> None:
        """End a direction of the connection, or both."""
        self._connection.shutdown(how)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _wait(self, poll: select.poll) -> None:
        if not poll.poll(None if self._timeout_s is None else max(1, round(self._timeout_s * 1e3))):
            raise TimeoutError("timed out")
