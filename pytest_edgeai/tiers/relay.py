"""A link in user space: a TCP relay that lets bytes through at a rate, with a delay and a burst of a few packets.

It needs no root and works wherever Python does. `python -m pytest_edgeai.tiers.relay --target HOST:PORT --rate-bps R`
starts one and prints its port as a line of JSON. It shapes; whether the shape is right is for the probe to prove.

Each direction is one token bucket, shared by all connections, kept as a virtual clock: the time at which the link
has sent everything it accepted. The clock may lag behind the present by the burst where the link was idle. Where
bytes were already waiting the link was not idle, only this process late, so the clock then keeps running and the
lost time is caught up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

PACKET_BYTES = 1448
BURST_S = 500e-6
"""The burst in seconds of the link's rate; see `burst_bytes`."""
_LATE_S = 0.05  # as far as the clock is caught up when this process was late
_PIECE_S = 1e-3  # a piece is what the link sends in this time, so that bytes arrive as a stream
_LARGEST_PIECE_BYTES = 64 * 1024


def burst_bytes(rate_bps: float) -> float:
    """The bucket's depth: what the link sends in half a millisecond, 62 bytes at 1 Mbit/s and 8 packets at 200.

    It makes up for what the relay itself costs (waking up and copying), which takes about as long at any rate.
    """
    return rate_bps / 8 * BURST_S


class Direction:
    """One direction of a link: a token bucket for all connections that cross it.

    Parameters
    ----------
    rate_bps
        Bits a second.
    delay_s
        Added between the last bit of a piece leaving and its arrival.
    """

    def __init__(self, rate_bps: float, delay_s: float) -> None:
        self.delay_s = delay_s
        self.piece_bytes = int(min(_LARGEST_PIECE_BYTES, max(PACKET_BYTES, rate_bps / 8 * _PIECE_S)))
        self._seconds_a_byte = 8 / rate_bps
        self._sent_at = 0.0
        self._lock = threading.Lock()

    def accept(self, size_bytes: int, now: float, *, waited: bool) -> float:
        """Take bytes into the link.

        Parameters
        ----------
        size_bytes
            How many.
        now
            The time of `time.perf_counter`.
        waited
            Whether they had been waiting for the relay.

        Returns
        -------
        float
            When their last bit has left the link.
        """
        with self._lock:
            idle_until = now - (_LATE_S if waited else BURST_S)
            self._sent_at = max(self._sent_at, idle_until) + size_bytes * self._seconds_a_byte
            return self._sent_at


def pump(source: socket.socket, sink: socket.socket, direction: Direction) -> None:
    """Move bytes from one socket to the other through a direction until the source ends or either fails."""
    late: queue.SimpleQueue[tuple[float, bytes] | None] | None = None
    if direction.delay_s:
        late = queue.SimpleQueue()
        threading.Thread(target=_deliver_late, args=(late, sink), daemon=True).start()
    buffer = bytearray(direction.piece_bytes)
    view = memoryview(buffer)
    try:
        while True:
            try:
                count = source.recv_into(buffer, 0, socket.MSG_DONTWAIT)
                waited = True
            except BlockingIOError:
                count = source.recv_into(buffer)
                waited = False
            if not count:
                break
            sent_at = direction.accept(count, time.perf_counter(), waited=waited)
            _sleep_until(sent_at)
            if late is None:
                sink.sendall(view[:count])
            else:
                late.put((sent_at + direction.delay_s, bytes(view[:count])))
    except OSError:  # one side is gone: the other has to learn it
        _shut_down(source, socket.SHUT_RDWR)
        _shut_down(sink, socket.SHUT_RDWR)
    if late is None:
        _shut_down(sink, socket.SHUT_WR)
    else:
        late.put(None)


def _deliver_late(late: queue.SimpleQueue[tuple[float, bytes] | None], sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while (entry := late.get()) is not None:
            arrives_at, piece = entry
            _sleep_until(arrives_at)
            sink.sendall(piece)
    _shut_down(sink, socket.SHUT_WR)


def _shut_down(one: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(how)


def _sleep_until(moment: float) -> None:
    remaining_s = moment - time.perf_counter()
    if remaining_s > 0:
        time.sleep(remaining_s)


def serve(listener: socket.socket, target: tuple[str, int], up: Direction, down: Direction) -> NoReturn:
    """Relay every connection to the target, forever."""
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(target, timeout=10)
        except OSError:
            near.close()
            continue
        far.settimeout(None)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=(near, far, up), daemon=True).start()
        threading.Thread(target=pump, args=(far, near, down), daemon=True).start()


def _precise_sleep() -> None:
    """Ask Linux to end sleeps on time: by default it may add 50 µs to save power."""
    if sys.platform == "linux":
        import ctypes

        pr_set_timerslack = 29
        ctypes.CDLL(None).prctl(pr_set_timerslack, 1)


def _exit_at_end_of_input() -> NoReturn:
    """Whoever started this process holds the other end, also when it is killed."""
    sys.stdin.buffer.read()
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a relay until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m pytest_edgeai.tiers.relay", description=__doc__)
    parser.add_argument("--target", required=True, metavar="HOST:PORT", help="where connections go")
    parser.add_argument("--rate-bps", type=float, required=True, metavar="R", help="bits a second, each direction")
    parser.add_argument("--delay-s", type=float, default=0.0, metavar="S", help="one-way delay in seconds")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input is closed")
    options = parser.parse_args(arguments)
    if not options.rate_bps > 0 or options.delay_s < 0:
        parser.error("--rate-bps must be above 0 and --delay-s not below 0")
    host, _, port = options.target.rpartition(":")
    _precise_sleep()  # threads inherit it
    if options.exit_with_parent:
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    listener = socket.create_server((options.host, options.port), backlog=64)
    print(json.dumps({"ready": True, "port": listener.getsockname()[1]}), flush=True)
    directions = [Direction(options.rate_bps, options.delay_s) for _ in range(2)]
    serve(listener, (host, int(port)), *directions)


if __name__ == "__main__":
    main()
