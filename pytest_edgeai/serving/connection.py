"""The client's end of HTTP/1.1: one connection, kept open, one request at a time.

A client of a tier and a tier that forwards to the next one use it. Nothing is sent twice: a request that fails has
failed, and only a connection that was already dead before the request is replaced.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

from pytest_edgeai.serving.http1 import (
    Buffer,
    MessageError,
    Receiver,
    body_length,
    keeps_alive,
    parse_head,
    prepare,
    send_buffers,
)

_STATUS_LINE = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: .*)?")
_MAX_INTERIM = 8  # answers such as `100 Continue` before the real one


class Response(NamedTuple):
    """A whole answer; headers by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: memoryview


class Connection:
    """A connection that is opened when it is needed, and again after it was closed.

    Parameters
    ----------
    host, port
        Where the server listens.
    timeout_s
        How long to wait for the connection, for anything to arrive and for anything to be taken.
    max_body_bytes
        Larger answers are refused.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, max_body_bytes: int = 2**30) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port = host, port
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._open: tuple[socket.socket, Receiver, select.poll] | None = None

    def close(self) -> None:
        """Close the connection; the next exchange opens a new one."""
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def abandon(self) -> None:
        """Break off an exchange that another thread is waiting for; it fails there."""
        held = self._open
        if held is not None:
            with contextlib.suppress(OSError):
                held[0].shutdown(socket.SHUT_RDWR)

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Sequence[Buffer] | None = None
    ) -> Response:
        """Send a request and wait for the whole answer. After an error the connection is closed.

        Parameters
        ----------
        method, target, headers
            The head but for Host and Content-Length.
        body
            The buffers of the body, or None for a request without.

        Raises
        ------
        TimeoutError
            Nothing came, or nothing could be sent, for `timeout_s`.
        OSError
            The connection failed.
        MessageError
            What came is not an HTTP answer.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.address}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {sum(len(buffer) for buffer in body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        reusable = False
        try:
            connection, receiver = self._connect()
            sent = False
            # Whoever refuses a body answers before all of it is sent: the answer counts, not the broken pipe.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                send_buffers(connection, [head, *(body or ())])
                sent = True
            response, stays_open = self._receive(receiver, method)
            reusable = sent and stays_open
        except MessageError as error:
            if error.status is HTTPStatus.REQUEST_TIMEOUT:
                raise TimeoutError(error.sentence) from None
            raise
        finally:
            if not reusable:
                self.close()
        return response

    def _connect(self) -> tuple[socket.socket, Receiver]:
        if self._open is not None:
            connection, receiver, poll = self._open
            # Between requests nothing should come. What does come is the end of the connection or belongs to no
            # request of ours: either way it is of no more use.
            if not receiver.pending and not poll.poll(0):
                return connection, receiver
            self.close()
        connection = socket.create_connection((self._host, self._port), self._timeout_s)
        prepare(connection)
        receiver = Receiver(connection, timeout_s=self._timeout_s, max_body_bytes=self._max_body_bytes)
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        self._open = connection, receiver, poll
        return connection, receiver

    def _receive(self, receiver: Receiver, method: str) -> tuple[Response, bool]:
        """The answer, and whether the connection can be used again."""
        for _ in range(_MAX_INTERIM):
            raw = receiver.head(self._timeout_s)
            if raw is None:
                raise ConnectionResetError("the connection was closed without an answer")
            head = parse_head(raw)
            match = _STATUS_LINE.fullmatch(head.first_line)
            if match is None:
                raise MessageError(HTTPStatus.BAD_GATEWAY, f"{head.first_line[:80]!r} is no HTTP/1.1 status line")
            status = int(match[2])
            if status >= 200:
                break
        else:
            raise MessageError(HTTPStatus.BAD_GATEWAY, "the real answer does not come")
        length = 0 if method == "HEAD" or status in (204, 304) else body_length(head.headers)
        if length is None:
            return Response(status, head.headers, receiver.rest()), False
        content = receiver.body(length)
        return Response(status, head.headers, content), keeps_alive(match[1], head.headers)
