"""A client of the Open Inference Protocol v2 that sends one request at a time and says where its time went.

It works with any server of the protocol; the spans come from those that send `Server-Timing`. One connection is
kept open. What a trial is, and how many requests it has, is not known here.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from urllib.parse import quote

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.wire import protocol, timing
from pytest_edgeai.wire.closing import Closing
from pytest_edgeai.wire.connection import Connection, Response, UntrustedServerError
from pytest_edgeai.wire.heads import MessageError
from pytest_edgeai.wire.links import LinkDirection, LinkShape
from pytest_edgeai.wire.timing import Span

if TYPE_CHECKING:
    import ssl

Wire: TypeAlias = Literal["binary", "json", "base64"]


class RequestError(EdgeAIError, RuntimeError):
    """A request without an answer, or with an answer that cannot be read; says why in one sentence.

    Parameters
    ----------
    sentence
        Why.
    status
        The HTTP status that it was refused with, or that says the same; None where there was no answer, or no other.
    """

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class CertificateError(RequestError):
    """The server's certificate is not trusted, or is for another host."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a request.

    Parameters
    ----------
    outputs
        The model's outputs.
    latency_s
        From before the request is encoded until after the answer is decoded.
    spans
        The parts of the latency; they add up to it. What no tier accounts for is `transmit` on the client's link, or
        `exchange` where the server tells no spans at all.
    slowest
        Of several nodes that worked on the request, the one whose answer was waited for longest; spans are its.
    missing
        Those whose answer did not come, or not in time, and why.
    late_s
        By how many seconds the answer came later than the links would have delivered it, where they are held.
    """

    outputs: Mapping[str, Array]
    latency_s: float
    spans: tuple[Span, ...]
    slowest: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    late_s: float = 0.0


class Requests(AbstractContextManager["Requests"], Protocol):
    """Requests to a model, wherever it runs, one at a time."""

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send one request and wait for its answer.

        Raises
        ------
        RequestError
            There is no answer, or it is an error.
        """


@dataclass(frozen=True, slots=True)
class Received:
    """An answer and how it came to be, before the client's own work is added.

    Parameters
    ----------
    outputs
        The model's outputs.
    spans
        What the tiers account for, and `transmit` on the client's link for the rest of the exchange; of a server that
        accounts for nothing, `exchange`.
    exchange_s
        From before the request is sent until the answer is there; the spans add up to it.
    ended_at
        When the answer was decoded: a time of `time.perf_counter`.
    late_s
        By how many seconds the answer came later than the links would have delivered it, where they are held.
    """

    outputs: Mapping[str, Array]
    spans: tuple[Span, ...]
    exchange_s: float
    ended_at: float
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """An exchange whose content does not matter.

    Parameters
    ----------
    took_s
        Seconds from before the request is sent until the whole answer is there.
    sent_bytes, received_bytes
        The lengths of the request and of the answer, heads included.
    """

    took_s: float
    sent_bytes: int
    received_bytes: int


class Client(Closing):
    """A connection to a tier.

    Parameters
    ----------
    host, port
        Where the tier listens, or the near end of the link to it.
    place
        The tier the client sits with; its own encoding and decoding are spans of this place.
    link
        Name of the hop that the client's requests cross, for their `transmit` span.
    token
        Bearer token of printable ASCII, or None.
    timeout_s
        How long to wait for anything to arrive.
    wire
        `binary`, `json`, or `base64` for JSON bodies as the paper's servers have them.
    held_link
        What the link does to answers, where the port is for what comes over a link: this end holds them.
    polls
        Whether to poll for answers instead of sleeping; only where a core is to spare.
    tls
        Whom to trust, where the server speaks TLS; None where it does not.
    version
        The version of models that requests are for; None leaves it to the server.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        place: str = "",
        link: str = "",
        token: str | None = None,
        timeout_s: float = 60.0,
        wire: Wire = "binary",
        held_link: LinkShape | None = None,
        polls: bool = False,
        tls: ssl.SSLContext | None = None,
        version: str | None = None,
    ) -> None:
        self.place = place
        self._version = version
        self._link = link
        self._wire = wire
        self._timeout_s = timeout_s
        down = None if held_link is None else LinkDirection(held_link)
        self._connection = Connection(host, port, timeout_s=timeout_s, link=down, polls=polls, tls=tls)
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise ValueError("the token is not printable ASCII, which is all that a header can carry")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send one request and wait for its answer.

        Raises
        ------
        RequestError
            There is no answer, or it is an error.
        """
        started = time.perf_counter()
        received = self.send(model, self.encode(inputs))
        transmit = received.spans[-1]
        own_s = received.ended_at - started - received.exchange_s
        latency_s = received.ended_at - started
        spans = (*received.spans[:-1], Span("serialize", self.place, own_s), transmit)
        return Answer(received.outputs, latency_s, spans, late_s=received.late_s)

    def encode(self, inputs: Mapping[str, Array]) -> protocol.Body:
        """The body of a request.

        Raises
        ------
        RequestError
            The encoding cannot carry an input.
        """
        request = protocol.InferRequest(inputs=inputs, binary_outputs=self._wire == "binary")
        try:
            return protocol.encode_request(request, encoding=self._wire)
        except protocol.ProtocolError as error:
            raise RequestError(f"a request cannot be sent as {self._wire}: {error}") from None

    def send(self, model: str, body: protocol.Body) -> Received:
        """Send a request that is encoded and wait for its answer.

        Raises
        ------
        RequestError
            There is no answer, it is an error, or the spans in it cannot be true.
        """
        headers = {"Content-Type": body.content_type}
        if body.json_length is not None:
            headers[protocol.JSON_LENGTH_HEADER] = str(body.json_length)
        sent_at = time.perf_counter()
        response = self._exchange("POST", model_path(model, self._version, "/infer"), headers, body.buffers)
        exchange_s = time.perf_counter() - sent_at
        json_length = response.headers.get(protocol.JSON_LENGTH_HEADER.lower())
        try:
            outputs = protocol.decode_response(response.content, None if json_length is None else int(json_length))
        except ValueError as error:
            raise RequestError(f"{self._connection.address} sent no inference response: {error}") from None
        spans = timing.parse_spans(response.headers.get(timing.HEADER.lower()))
        try:
            timing.check_spans(spans, exchange_s)
        except timing.SpanError as error:
            raise RequestError(f"{self._connection.address} tells a duration that cannot be: {error}") from None
        spans.append(
            Span(
                "transmit" if spans else "exchange",
                self._link,
                max(0.0, exchange_s - sum(span.duration_s for span in spans)),
                sent_bytes=response.sent_bytes,
                received_bytes=response.received_bytes,
            )
        )
        return Received(outputs, tuple(spans), exchange_s, time.perf_counter(), response.late_s)

    def abandon(self) -> None:
        """Break off a request that another thread is waiting for; it fails there, and the next opens a connection."""
        self._connection.abandon()

    def get(self, path: str) -> Any:
        """Get a JSON document.

        Raises
        ------
        RequestError
            There is no answer, or it is an error or not JSON.
        """
        response = self._exchange("GET", path)
        try:
            return json.loads(bytes(response.content))
        except ValueError:
            raise RequestError(f"{self._connection.address}{path} did not send JSON") from None

    def upload(self, path: str, size_bytes: int) -> Transfer:
        """Post `size_bytes` zeros."""
        body = [bytes(size_bytes)]
        started = time.perf_counter()
        response = self._exchange("POST", path, {"Content-Type": "application/octet-stream"}, body)
        return Transfer(time.perf_counter() - started, response.sent_bytes, response.received_bytes)

    def download(self, path: str) -> Transfer:
        """Get a body and drop it."""
        started = time.perf_counter()
        response = self._exchange("GET", path)
        return Transfer(time.perf_counter() - started, response.sent_bytes, response.received_bytes)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Sequence[protocol.Buffer] | None = None,
    ) -> Response:
        connection = self._connection
        try:
            response = connection.exchange(method, path, {**self._headers, **(headers or {})}, body)
        except TimeoutError:
            raise RequestError(f"{connection.address} did not answer within {self._timeout_s:g} s") from None
        except UntrustedServerError as error:
            raise CertificateError(f"the connection to {connection.address} failed: {error}") from None
        except (OSError, MessageError) as error:
            raise RequestError(f"the connection to {connection.address} failed: {error}") from None
        if response.status != 200:
            sentence = _sentence(bytes(response.content[:10_000]))
            raise RequestError(f"{connection.address} answered {response.status}: {sentence}", response.status)
        return response


@functools.lru_cache(maxsize=64)
def model_path(model: str, version: str | None = None, endpoint: str = "") -> str:
    """The path of a model, or of an endpoint of it.

    Parameters
    ----------
    model
        Its name.
    version
        Of the model; None leaves it to the server.
    endpoint
        For example `/infer`; empty for the model's metadata.

    Examples
    --------
    >>> model_path("bert-sptq", "2", "/infer")
    '/v2/models/bert-sptq/versions/2/infer'
    """
    versioned = "" if version is None else f"/versions/{quote(version, safe='')}"
    return f"/v2/models/{quote(model, safe='')}{versioned}{endpoint}"


def _sentence(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace") or "nothing"
