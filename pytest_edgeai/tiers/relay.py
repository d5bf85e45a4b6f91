"""A link in user space: a TCP relay that lets bytes through at a rate, with a delay and a burst of a few packets.

It needs no root and works wherever Python does. `python -m pytest_edgeai.tiers.relay --target HOST:PORT --rate-bps R`
starts one and prints its port as a line of JSON. It shapes; whether the shape is right is for the probe to prove.

Each direction is one token bucket, shared by all connections, kept as a virtual clock: the time at which the link
has sent everything it accepted. The clock may lag behind the present by the burst where the link was idle. Bytes are
taken into the link a little before it is free for them, so that the clock knows that the link was not idle, and the
time that is lost where this process is late to hand them on is made up for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

from pytest_edgeai.wire.waiting import sleep_precisely

PACKET_BYTES = 1448
BURST_S = 500e-6
"""The burst in seconds of the link's rate; see `burst_bytes`."""
_AHEAD_S = 0.05  # bytes are taken so long before the link is free: as much lost time is made up for
_PIECE_S = 1e-3  # a piece is what the link sends in this time, so that bytes arrive as a stream
_LARGEST_PIECE_BYTES = 64 * 1024
_LEAST_WINDOW_BYTES = 2**20
_CONNECT_TIMEOUT_S = 10.0


def burst_bytes(rate_bps: float, burst_s: float = BURST_S) -> float:
    """The bucket's depth: what the link sends in half a millisecond, 62 bytes at 1 Mbit/s and 8 packets at 200.

    It makes up for what the relay itself costs (waking up and copying), which takes about as long at any rate.
    """
    return rate_bps / 8 * burst_s


class Direction:
    """One direction of a link: a token bucket for all connections that cross it.

    Parameters
    ----------
    rate_bps
        Bits a second.
    delay_s
        Added between the last bit of a piece leaving and its arrival.
    burst_s
        The bucket's depth in seconds of the rate. The study's links had one second.
    """

    def __init__(self, rate_bps: float, delay_s: float = 0.0, burst_s: float = BURST_S) -> None:
        self.delay_s = delay_s
        self.piece_bytes = int(min(_LARGEST_PIECE_BYTES, max(PACKET_BYTES, rate_bps / 8 * _PIECE_S)))
        self.window_bytes = max(_LEAST_WINDOW_BYTES, 2 * rate_bps / 8 * (delay_s + _AHEAD_S))
        """How much may be under way at a time: what the link holds, and as much again for a slow receiver."""
        self._burst_s = burst_s
        self._seconds_a_byte = 8 / rate_bps
        self._sent_at = -math.inf
        self._lock = threading.Lock()

    def accept(self, size_bytes: int, now: float) -> float:
        """Take bytes into the link.

        Parameters
        ----------
        size_bytes
            How many.
        now
            The time of `time.perf_counter`.

        Returns
        -------
        float
            When their last bit has left the link; in the past where the bucket was full enough.
        """
        with self._lock:
            self._sent_at = max(self._sent_at, now - self._burst_s) + size_bytes * self._seconds_a_byte
            return self._sent_at


class Target:
    """Where connections go; it may be told after the relay has started.

    Parameters
    ----------
    address
        Host and port, or None where they are not known yet.
    """

    def __init__(self, address: tuple[str, int] | None = None) -> None:
        self._known = threading.Event()
        self._address = ("", 0)
        if address is not None:
            self.tell(address)

    def tell(self, address: tuple[str, int]) -> None:
        """Say where connections go."""
        self._address = address
        self._known.set()

    def connect(self) -> socket.socket:
        """Open a connection.

        Raises
        ------
        OSError
            The target refuses it, does not answer or is not known in time.
        """
        if not self._known.wait(_CONNECT_TIMEOUT_S):
            raise TimeoutError("nobody has said where connections go")
        connection = socket.create_connection(self._address, timeout=_CONNECT_TIMEOUT_S)
        connection.settimeout(None)
        return connection


def pump(source: socket.socket, sink: socket.socket, direction: Direction) -> None:
    """Move bytes from one socket to the other through a direction until the source ends or either fails.

    The end of the source is passed on when everything before it has arrived. Where one side fails, both are ended.
    """
    under_way = _UnderWay(source, sink, direction.window_bytes)
    buffer = bytearray(direction.piece_bytes)
    view = memoryview(buffer)
    try:
        while count := source.recv_into(buffer):
            sent_at = direction.accept(count, time.perf_counter())
            under_way.put(sent_at + direction.delay_s, bytes(view[:count]))
            _sleep_until(sent_at - _AHEAD_S)
    except OSError:
        _end_both(source, sink)
    under_way.finish()
    _shut_down(sink, socket.SHUT_WR)


class _UnderWay:
    """Pieces that are under way: each is handed to the sink when its time has come, by a thread of its own."""

    def __init__(self, source: socket.socket, sink: socket.socket, window_bytes: float) -> None:
        self._source, self._sink = source, sink
        self._window_bytes = window_bytes
        self._pieces: queue.SimpleQueue[tuple[float, bytes] | None] = queue.SimpleQueue()
        self._put_bytes = self._delivered_bytes = 0  # each is written by one thread only
        self._failed = False
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self._thread.start()

    def put(self, arrives_at: float, piece: bytes) -> None:
        """Take a piece, when there is room for it.

        Raises
        ------
        OSError
            The sink has failed.
        """
        while self._put_bytes - self._delivered_bytes > self._window_bytes and not self._failed:
            time.sleep(_PIECE_S)  # the receiver is slow: so does a link hold back its sender
        if self._failed:
            raise BrokenPipeError
        if self._put_bytes == self._delivered_bytes and arrives_at <= time.perf_counter():
            self._sink.sendall(piece)  # nothing is before it: to wake up the other thread would only take longer
            return
        self._put_bytes += len(piece)
        self._pieces.put((arrives_at, piece))

    def finish(self) -> None:
        """Wait until everything has arrived."""
        self._pieces.put(None)
        self._thread.join()

    def _deliver(self) -> None:
        try:
            while (entry := self._pieces.get()) is not None:
                arrives_at, piece = entry
                _sleep_until(arrives_at)
                self._sink.sendall(piece)
                self._delivered_bytes += len(piece)
        except OSError:
            self._failed = True
            _end_both(self._source, self._sink)


def _end_both(one: socket.socket, other: socket.socket) -> None:
    """Wake up whoever waits for either, so that both sides learn that the other is gone."""
    _shut_down(one, socket.SHUT_RDWR)
    _shut_down(other, socket.SHUT_RDWR)


def _shut_down(one: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(how)


def _sleep_until(moment: float) -> None:
    remaining_s = moment - time.perf_counter()
    if remaining_s > 0:
        time.sleep(remaining_s)


def serve(listener: socket.socket, target: Target, up: Direction, down: Direction) -> None:
    """Relay every connection to the target, until the listener is closed."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:  # the client has gone already, or this process has too many files open
            if listener.fileno() < 0:
                return
            time.sleep(0.01)
            continue
        try:
            threading.Thread(target=_carry, args=(near, target, up, down), daemon=True).start()
        except RuntimeError:  # too many threads
            near.close()


def _carry(near: socket.socket, target: Target, up: Direction, down: Direction) -> None:
    """Carry one connection to its end."""
    with near:
        try:
            far = target.connect()
        except OSError as error:
            print(f"a connection could not be handed on: {error}", file=sys.stderr, flush=True)
            return
        with far:
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=pump, args=(far, near, down), daemon=True)
            back.start()
            pump(near, far, up)
            back.join()


def _follow_input(target: Target | None) -> NoReturn:
    """Take the target from standard input, where it is to come from there, and end this process with the input.

    Whoever started this process holds the other end, also when it is killed.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed from the start, or no input at all
        if target is not None:
            line = sys.stdin.buffer.readline().decode("ascii", "replace").strip()
            try:
                target.tell(_address(line))
            except argparse.ArgumentTypeError as error:
                print(f"error: the target on standard input: {error}", file=sys.stderr, flush=True)
                os._exit(1)
        while sys.stdin.buffer.read(2**16):
            pass
    os._exit(0)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _rate(text: str) -> float:
    rate_bps = _seconds(text)
    if not rate_bps:
        raise argparse.ArgumentTypeError("a link lets something through: the rate is above 0")
    return rate_bps


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a relay until it is ended; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pytest_edgeai.tiers.relay", description=__doc__)
    add = parser.add_argument
    add("--target", type=_address, metavar="HOST:PORT", help="where connections go; else a line of input says it")
    add("--rate-bps", type=_rate, required=True, metavar="R", help="bits a second, each direction")
    add("--delay-s", type=_seconds, default=0.0, metavar="S", help="one-way delay in seconds")
    add("--burst-s", type=_seconds, default=BURST_S, metavar="S", help="the bucket's depth in seconds of the rate")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    add("--exit-with-parent", action="store_true", help="end when standard input is closed")
    options = parser.parse_args(arguments)
    sleep_precisely()  # threads inherit it
    target = Target(options.target)
    try:
        listener = socket.create_server((options.host, options.port), backlog=64)
    except (OSError, OverflowError) as error:
        print(f"error: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    if options.exit_with_parent or options.target is None:
        waiting = target if options.target is None else None
        threading.Thread(target=_follow_input, args=(waiting,), daemon=True).start()
    print(json.dumps({"ready": True, "port": listener.getsockname()[1]}), flush=True)
    serve(listener, target, *(Direction(options.rate_bps, options.delay_s, options.burst_s) for _ in range(2)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
