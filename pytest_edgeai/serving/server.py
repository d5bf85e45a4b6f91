"""The server of a tier: connections, requests and replies; what is answered at which path is in `endpoints`.

One thread a connection, HTTP/1.1 with keep-alive, bodies read in place and answers written in one piece. Every
wrong request gets one sentence as JSON (`{"error": …}`); nothing that a client sends ends in a 500 or in waiting
without end.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import re
import socket
import socketserver
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from pytest_edgeai.serving.compression import check_coding
from pytest_edgeai.serving.endpoints import (
    LIMITS_PATH,
    MAX_PROBE_BYTES,
    PROBE_PATH,
    Endpoint,
    Endpoints,
    Refusal,
    Reply,
    Request,
    json_reply,
)
from pytest_edgeai.serving.forwarding import Upstream
from pytest_edgeai.serving.repository import Model
from pytest_edgeai.serving.settings import ServerSettings
from pytest_edgeai.wire import heads, http1
from pytest_edgeai.wire.heads import MessageError
from pytest_edgeai.wire.links import LATE_HEADER, LinkDirection, stamp
from pytest_edgeai.wire.polling import PollingSocket

__all__ = ["LIMITS_PATH", "MAX_PROBE_BYTES", "PROBE_PATH", "ServerSettings", "TierServer"]

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) (HTTP/[0-9]\.[0-9])")
_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus}
_WITH_BODY = ("POST", "PUT", "PATCH")
_REMEMBERED_BYTES = 2048  # of a longer head, or a few hundred of them, the memory would count
_POLLED_S = 0.02  # after an answer; sequential requests follow each other sooner
_DRAIN_S = 2.0  # how long to listen on to a client whose body was refused


class TierServer(socketserver.ThreadingTCPServer):
    """A server over a set of loaded models; `server_address` tells the port that was bound.

    Parameters
    ----------
    address
        Host and port to listen on; port 0 takes a free one.
    models
        By name.
    settings
        How the server behaves.
    inbound
        The direction of a link over which requests come to this address: each is held until the link would have
        delivered it. None where they come as they are.

    Raises
    ------
    OSError
        The address cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        models: Mapping[str, Model],
        settings: ServerSettings,
        inbound: LinkDirection | None = None,
    ) -> None:
        self.settings = settings
        self.inbound = inbound
        self.onward = None if settings.upstream_link is None else LinkDirection(settings.upstream_link)
        """The direction of the link over which the next tier's answers come."""
        self.endpoints = Endpoints(models, settings)
        self._slots = threading.BoundedSemaphore(settings.max_connections)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or refuse it where there are too many."""
        if self._slots.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no more threads
                self._slots.release()
                raise
            return
        with contextlib.suppress(OSError):
            request.settimeout(0)
            sentence = f"there are {self.settings.max_connections} connections already"
            reply = json_reply({"error": sentence}, HTTPStatus.SERVICE_UNAVAILABLE)
            http1.send_buffers(request, [_head(reply, keep=False), *reply.buffers])
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless it was the client that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()


class _Handler(socketserver.BaseRequestHandler):
    """A connection, from its first request to its last."""

    server: TierServer
    request: socket.socket

    def setup(self) -> None:
        settings = self.server.settings
        http1.prepare(self.request)
        self._stream: http1.Stream = PollingSocket(self.request, _POLLED_S) if settings.polls else self.request
        self._receiver = http1.Receiver(
            self._stream,
            timeout_s=settings.timeout_s,
            max_body_bytes=settings.max_body_bytes,
            reuse=True,
            link=self.server.inbound,
            polled_s=settings.polled_s,
        )
        upstream = settings.upstream
        self._upstream = None if upstream is None else Upstream(upstream, settings, self.server.onward)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client went away, or was silent for too long
            while self._serve_one():
                pass

    def finish(self) -> None:
        if self._upstream is not None:
            self._upstream.close()

    def _serve_one(self) -> bool:
        """Answer one request; whether there may be another one."""
        keep = whole = without_body = False
        late_s = 0.0
        try:
            raw = self._receiver.head(self.server.settings.idle_timeout_s)
            if raw is None:
                return False
            asked = _read_head(raw) if len(raw) < _REMEMBERED_BYTES else _read_head.__wrapped__(raw)
            without_body = asked.method == "HEAD"
            whole, keep = asked.length == 0, asked.keeps_alive
            self._authorize(asked)
            endpoint = self.server.endpoints.resolve(asked.method, asked.path, self._upstream)
            self._receiver.refuse_large(asked.length)
            if not whole and asked.waits:
                self._send([b"HTTP/1.1 100 Continue\r\n\r\n"])
            body = self._receiver.body(asked.length)
            whole = True
            late_s = self._receiver.arrive()
            reply = _answer(endpoint, asked, body, late_s)
        except MessageError as refused:
            headers = refused.headers if isinstance(refused, Refusal) else {}
            error = json_reply({"error": refused.sentence}, refused.status)
            reply = Reply(error.status, error.buffers, headers)
        keep = keep and whole
        if reply.late_s is not None:
            late_s = reply.late_s
            if self.server.inbound is None:
                reply = reply._replace(headers={**reply.headers, LATE_HEADER: f"{late_s:.7f}"})
        buffers = () if without_body else reply.buffers
        self._send([_head(reply, keep=keep), *buffers], late_s)
        if not whole:
            with contextlib.suppress(OSError):
                self.request.shutdown(socket.SHUT_WR)
            self._receiver.drain(_DRAIN_S)
        return keep

    def _send(self, buffers: Sequence[http1.Buffer], late_s: float = 0.0) -> None:
        """Send a message, which over a link has a stamp before it."""
        http1.send_buffers(self._stream, buffers if self.server.inbound is None else [stamp(late_s), *buffers])

    def _authorize(self, asked: _Asked) -> None:
        token = self.server.settings.token
        if token is None or asked.path[:2] == ("v2", "health"):
            return
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
            sentence = "the request needs the header Authorization: Bearer <token>"
            raise Refusal(HTTPStatus.UNAUTHORIZED, sentence, {"WWW-Authenticate": "Bearer"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the head of a request says."""

    method: str
    target: str
    path: tuple[str, ...]
    query: str
    headers: Mapping[str, str]
    length: int
    keeps_alive: bool
    waits: bool
    """For `100 Continue`, before it sends the body."""


@functools.lru_cache(maxsize=512)
def _read_head(raw: bytes) -> _Asked:
    """Read a head. Remembered, because the requests of a trial have the same few heads again and again."""
    head = heads.parse_head(raw)
    match = _REQUEST_LINE.fullmatch(head.first_line)
    if match is None:
        sentence = f"{head.first_line[:80]!r} is not the first line of an HTTP/1.1 request"
        raise Refusal(HTTPStatus.BAD_REQUEST, sentence)
    method, target, version = match.groups()
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"{version} is not spoken here, but HTTP/1.1")
    path, query = _split_target(target)
    return _Asked(
        method,
        target,
        path,
        query,
        head.headers,
        _body_length(method, head.headers),
        heads.keeps_alive(version, head.headers),
        _waits(version, head.headers),
    )


def _answer(endpoint: Endpoint, asked: _Asked, body: memoryview, late_s: float) -> Reply:
    try:
        return endpoint(Request(asked.method, asked.target, asked.query, asked.headers, body, late_s))
    except MessageError:
        raise
    except Exception as error:  # noqa: BLE001  # a mistake of ours must not leave the client without an answer
        traceback.print_exc()
        raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error: {error!r}") from None


def _body_length(method: str, headers: Mapping[str, str]) -> int:
    length = heads.body_length(headers)
    if length is None and method in _WITH_BODY:
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, f"a {method} needs the header Content-Length")
    check_coding(headers)
    return length or 0


def _split_target(target: str) -> tuple[tuple[str, ...], str]:
    """Split `/v2/models?x=y` or `http://host/v2/models?x=y` into the parts of the path and the query."""
    if target.startswith("http://"):
        target = "/" + target.removeprefix("http://").partition("/")[2]
    if not target.startswith("/"):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the path {target[:80]!r} does not begin with a slash")
    path, _, query = target.partition("#")[0].partition("?")
    return tuple(unquote(part) for part in path.strip("/").split("/")), query


def _waits(version: str, headers: Mapping[str, str]) -> bool:
    expected = headers.get("expect", "").lower()
    if expected not in ("", "100-continue"):
        raise Refusal(HTTPStatus.EXPECTATION_FAILED, f"the expectation {expected[:80]!r} is not understood")
    return expected != "" and version == "HTTP/1.1"


def _head(reply: Reply, *, keep: bool) -> bytes:
    # Without Date and Server: on a link of 1 Mbit/s, 100 bytes of head take 0.8 ms.
    lines = [
        f"HTTP/1.1 {int(reply.status)} {_PHRASES.get(reply.status, 'Unknown')}",  # the next tier's may be any
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {sum(map(len, reply.buffers))}",
        *[f"{name}: {value}" for name, value in reply.headers.items()],
    ]
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
