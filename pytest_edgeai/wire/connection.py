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
from typing import TYPE_CHECKING, NamedTuple

from pytest_edgeai.wire.heads import MessageError, body_length, keeps_alive, parse_head
from pytest_edgeai.wire.http1 import Buffer, Receiver, Stream, prepare, send_buffers
from pytest_edgeai.wire.links import LATE_HEADER, LinkDirection, stamp
from pytest_edgeai.wire.polling import PollingSocket

if TYPE_CHECKING:
    import ssl

_STATUS_LINE = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: .*)?")
_MAX_INTERIM = 8  # answers such as `100 Continue` before the real one


class UntrustedServerError(ConnectionError):
    """A server whose certificate is not trusted, or is for another host."""


class Response(NamedTuple):
    """A whole answer.

    Parameters
    ----------
    status, headers, content
        Headers by their names in lower case.
    late_s
        By how many seconds it came later than the links between would have delivered it, as far as is known.
    sent_bytes, received_bytes
        The lengths of the request and of the answer, heads included.
    """

    status: int
    headers: Mapping[str, str]
    content: memoryview
    late_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0


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
    link
        The direction of a link over which answers come, where the port is for what comes over a link: requests get a
        stamp, and answers are held until the link would have delivered them.
    polls
        Whether to poll for answers instead of sleeping; only where a core is to spare.
    tls
        Whom to trust, where the server speaks TLS; None where it does not.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_s: float,
        max_body_bytes: int = 2**30,
        link: LinkDirection | None = None,
        polls: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port = host, port
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._link = link
        self._polls = polls
        self._tls = tls
        self._open: tuple[Stream, Receiver, select.poll] | None = None

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
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Sequence[Buffer] | None = None,
        late_s: float = 0.0,
    ) -> Response:
        """Send a request and wait for the whole answer. After an error the connection is closed.

        Parameters
        ----------
        method, target, headers
            The head but for Host and Content-Length.
        body
            The buffers of the body, or None for a request without.
        late_s
            By how many seconds it is late already, which a link makes up for where it has time to spare.

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
        message = [("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), *(body or ())]
        reusable = False
        try:
            connection, receiver = self._connect()
            sent = False
            # Whoever refuses a body answers before all of it is sent: the answer counts, not the broken pipe.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                send_buffers(connection, message if self._link is None else [stamp(late_s), *message])
                sent = True
            response, stays_open = self._receive(receiver, method)
            arrived_late_s = receiver.arrive() + _late_s(response.headers)
            reusable = sent and stays_open
        except MessageError as error:
            if error.status is HTTPStatus.REQUEST_TIMEOUT:
                raise TimeoutError(error.sentence) from None
            raise
        finally:
            if not reusable:
                self.close()
        return response._replace(
            late_s=arrived_late_s, sent_bytes=sum(map(len, message)), received_bytes=receiver.message_bytes
        )

    def _connect(self) -> tuple[Stream, Receiver]:
        if self._open is not None:
            connection, receiver, poll = self._open
            # Between requests nothing should come. What does come is the end of the connection or belongs to no
            # request of ours: either way it is of no more use.
            if not receiver.pending and not poll.poll(0):
                return connection, receiver
            self.close()
        opened = socket.create_connection((self._host, self._port), self._timeout_s)
        prepare(opened)
        poll = select.poll()
        poll.register(opened, select.POLLIN)
        connection = self._stream(opened)
        receiver = Receiver(connection, timeout_s=self._timeout_s, max_body_bytes=self._max_body_bytes, link=self._link)
        self._open = connection, receiver, poll
        return connection, receiver

    def _stream(self, opened: socket.socket) -> Stream:
        if self._tls is None:
            return PollingSocket(opened) if self._polls else opened
        from pytest_edgeai.wire.tls import TlsStream

        return TlsStream(opened, self._tls, self._host)

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


def _late_s(headers: Mapping[str, str]) -> float:
    """How late the answer was before it was sent; only tiers of ours say so."""
    try:
        return max(0.0, float(headers.get(LATE_HEADER.lower(), 0.0)))
    except ValueError:
        raise MessageError(HTTPStatus.BAD_GATEWAY, f"the header {LATE_HEADER} is not a number") from None
