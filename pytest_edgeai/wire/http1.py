"""HTTP/1.1 messages on sockets, as much of it as tiers and their clients need: sent, and received in place.

Both ends use it. What a message means (paths, statuses, tensors) is not known here; what its head says is the business
of `heads`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol, TypeAlias

import numpy as np

from pytest_edgeai.wire.heads import (
    CHUNKED,
    MAX_FIRST_LINE_BYTES,
    MAX_HEADERS,
    EndedError,
    MessageError,
    long_first_line,
)
from pytest_edgeai.wire.links import STAMP_BYTES, LinkDirection, read_stamp
from pytest_edgeai.wire.waiting import POLLED_S, wait_until

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_HEAD_BYTES = 64 * 2**10

_SLOWEST_BYTES_A_SECOND = 256  # whoever sends more slowly than this holds a connection, not a conversation
_LOCAL_SEND_BYTES = 128 * 2**10
_KEPT_BODY_BYTES = 4 * 2**20  # a larger buffer is given back to the system after its message
_FIRST_BYTES = frozenset(b"!#$%&'*+.^_`|~-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Stream(Protocol):
    """What messages need of a socket; `socket.socket` and `pytest_edgeai.wire.polling.PollingSocket` are streams."""

    def gettimeout(self) -> float | None:
        """How long a read or write may take, in seconds; None for ever."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Set how long a read or write may take."""

    def recv_into(self, into: memoryview, /) -> int:
        """Read what there is, or wait for it; 0 at the end."""

    def sendmsg(self, buffers: list[memoryview], /) -> int:
        """Write what the system takes, or wait until it takes something."""

    def shutdown(self, how: int, /) -> None:
        """End a direction of the connection, or both."""

    def close(self) -> None:
        """Close the connection."""


def prepare(connection: socket.socket) -> None:
    """Set the options of a new connection.

    Raises
    ------
    OSError
        The other side is gone already.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host = connection.getpeername()[0]
    if host.startswith("127.") or host == "::1":
        # Within one machine there is no distance to fill with bytes in flight. What the system's megabytes of
        # buffer would hold only falls out of the processor's cache before it is read: 2 MB take twice as long.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LOCAL_SEND_BYTES)


def send_buffers(connection: Stream, buffers: Iterable[Buffer]) -> None:
    """Write buffers one after the other without joining them first.

    Raises
    ------
    OSError
        The other side went away, or takes nothing any more.
    """
    views = [memoryview(buffer) for buffer in buffers if len(buffer)]
    while views:
        sent = connection.sendmsg(views[:64])  # systems have a limit here, of 1024 and less
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]


class Receiver:
    """What arrives on a socket, message by message; bytes that come early are kept for the next message.

    Parameters
    ----------
    connection
        The socket; its timeout is set here.
    timeout_s
        How long one read may take once a message has begun. The message as a whole may take longer while it comes
        at 256 bytes a second or more.
    max_body_bytes
        Larger bodies are refused before they are read.
    reuse
        Read every body into the same memory, so that a body is gone when the next one is read. It saves the page
        faults of new memory, which for 2 MB take as long as the transfer.
    link
        The direction of a link over which messages come; each has a stamp before it and is held by `arrive`.
    polled_s
        How many seconds of holding a message are spent polling the clock (`waiting.wait_until`).
    """

    def __init__(
        self,
        connection: Stream,
        *,
        timeout_s: float,
        max_body_bytes: int,
        reuse: bool = False,
        link: LinkDirection | None = None,
        polled_s: float = POLLED_S,
    ) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._reuse = reuse
        self._link = link
        self._polled_s = polled_s
        self._sent_at = 0.0
        self.message_bytes = 0
        """The length of the last message, head included."""
        self._kept = memoryview(bytearray())
        self._buffer = bytearray(MAX_HEAD_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # what of the buffer is received and not yet given out
        self._since = 0.0
        self._received = 0

    @property
    def pending(self) -> bool:
        """Whether bytes came after the last message that was read."""
        return self._start < self._end

    def head(self, first_timeout_s: float) -> bytes | None:
        """Read the next message's head, for `parse_head`; None where the connection ended before one began.

        Raises
        ------
        MessageError
            What arrives is not a head, or its end does not come in time.
        TimeoutError
            Nothing came within `first_timeout_s`.
        """
        if not self.pending:
            self._start = self._end = 0
            self._set_timeout(first_timeout_s)
            self._end = self._connection.recv_into(self._view)
            if not self._end:
                return None
            self._set_timeout(self._timeout_s)
        self._begin()
        if self._link is not None:
            self._take_stamp()
        if self._buffer.startswith(b"\r\n", self._start, self._end):
            self._start += 2  # some clients send a line end too many after a body; RFC 9112 wants it passed over
        while (end := self._buffer.find(b"\r\n\r\n", self._start, self._end)) < 0:
            self._refuse_garbage()
            self._read_more()
        raw = bytes(self._view[self._start : end])
        self._start = end + 4
        self.message_bytes = len(raw) + 4
        self._begin()
        return raw

    def body(self, length: int) -> memoryview:
        """The body of the message whose head was read; `length` in bytes or `CHUNKED`.

        Raises
        ------
        MessageError
            It is too large, ends early or does not come in time.
        """
        if length == CHUNKED:
            return self._chunks()
        self.refuse_large(length)
        memory = self._memory(length)
        at = self._take(memory)
        while at < length:
            try:
                at += self._read(memory[at:])
            except EndedError:
                raise MessageError(
                    HTTPStatus.BAD_REQUEST,
                    f"the body ends after {at} of the {length} bytes that Content-Length says",
                ) from None
        self.message_bytes += length
        return memory

    def arrive(self) -> float:
        """Hold the message that was read until its link would have delivered it.

        Returns
        -------
        float
            By how many seconds it is late; 0 where there is no link.
        """
        if self._link is None:
            return 0.0
        return wait_until(self._link.arrives_at(self._sent_at, self.message_bytes), self._polled_s)

    def rest(self) -> memoryview:
        """All that comes until the sender closes the connection.

        Raises
        ------
        MessageError
            It is too large or does not come in time.
        """
        content = bytearray()
        with contextlib.suppress(EndedError):
            while True:
                content += self._view[self._start : self._end]
                self._start = self._end
                self.refuse_large(len(content))
                self._read_more()
        self.message_bytes += len(content)
        return memoryview(content)

    def drain(self, seconds: float) -> None:
        """Drop what still comes, until the sender closes or the time is over.

        Closing a socket with unread bytes resets the connection, which can destroy an answer that is on its way.
        """
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                self._connection.settimeout(left)
                if not self._connection.recv_into(self._view):
                    return

    def _set_timeout(self, seconds: float) -> None:
        if self._connection.gettimeout() != seconds:  # to set it is a system call
            self._connection.settimeout(seconds)

    def _begin(self) -> None:
        self._since = time.monotonic()
        self._received = 0

    def _take_stamp(self) -> None:
        """Read when the message was sent."""
        arrived_at = time.perf_counter()
        while self._end - self._start < STAMP_BYTES:
            self._read_more()
        try:
            self._sent_at = read_stamp(self._view[self._start : self._start + STAMP_BYTES], arrived_at)
        except ValueError as error:
            raise MessageError(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._start += STAMP_BYTES

    def _read(self, into: memoryview) -> int:
        """One read, of at least one byte and in time."""
        try:
            count = self._connection.recv_into(into)
        except TimeoutError:
            raise MessageError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"nothing came for {self._timeout_s:g} s in the middle of a message",
            ) from None
        if not count:
            raise EndedError
        self._received += count
        if time.monotonic() - self._since > self._timeout_s + self._received / _SLOWEST_BYTES_A_SECOND:
            raise MessageError(HTTPStatus.REQUEST_TIMEOUT, "the message comes too slowly")
        return count

    def _read_more(self) -> None:
        """Read into the buffer, behind what it holds."""
        if self._start:
            left = bytes(self._view[self._start : self._end])
            self._view[: len(left)] = left
            self._start, self._end = 0, len(left)
        if self._end == len(self._buffer):
            raise MessageError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the head or a line has more than {len(self._buffer)} bytes",
            )
        self._end += self._read(self._view[self._end :])

    def _take(self, into: memoryview) -> int:
        """Move what the buffer holds; the number of bytes."""
        count = min(self._end - self._start, len(into))
        into[:count] = self._view[self._start : self._start + count]
        self._start += count
        return count

    def _refuse_garbage(self) -> None:
        """Refuse at once what will never become a head, rather than wait for its end."""
        if self.pending and self._buffer[self._start] not in _FIRST_BYTES:
            raise MessageError(HTTPStatus.BAD_REQUEST, "this is not HTTP")
        line_end = self._buffer.find(b"\n", self._start, self._end)
        if line_end < 0 and self._end - self._start > MAX_FIRST_LINE_BYTES:
            raise long_first_line()
        if line_end >= 0 and self._buffer[line_end - 1 : line_end] != b"\r":
            raise MessageError(HTTPStatus.BAD_REQUEST, "a line of the head does not end with CR LF")

    def refuse_large(self, length: int) -> None:
        """Refuse a body by its length.

        Raises
        ------
        MessageError
            It is too large.
        """
        if length > self._max_body_bytes:
            raise MessageError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has {length} bytes; {self._max_body_bytes} are taken at most",
            )

    def _memory(self, length: int) -> memoryview:
        if not self._reuse or length > _KEPT_BODY_BYTES:
            return np.empty(length, np.uint8).data  # unlike a bytearray, it is not filled with zeros first
        if length > len(self._kept):
            self._kept = np.empty(length, np.uint8).data
        return self._kept[:length]

    def _chunks(self) -> memoryview:
        content = bytearray()
        while size := self._chunk_size():
            self.refuse_large(len(content) + size)
            chunk = np.empty(size, np.uint8).data
            at = self._take(chunk)
            while at < size:
                at += self._read(chunk[at:])
            content += chunk
            if self._line():
                raise MessageError(HTTPStatus.BAD_REQUEST, "a chunk of the body is longer than it says")
        for _ in range(MAX_HEADERS):
            if not self._line():  # the end of the trailers, of which none matters
                self.message_bytes += len(content)
                return memoryview(content)
        raise MessageError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the body has too many trailers")

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].strip(b" \t")
        if not _CHUNK_SIZE.fullmatch(digits):
            raise MessageError(HTTPStatus.BAD_REQUEST, f"the body has a chunk of size {digits[:20]!r}")
        return int(digits, 16)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._start, self._end)) < 0:
            self._read_more()
        line = bytes(self._view[self._start : end])
        self._start = end + 2
        return line
