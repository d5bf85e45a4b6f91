"""Handing requests on to the next tier, with the hop as a span of its own."""

from __future__ import annotations

import time
from http import HTTPStatus

from pytest_edgeai.serving.endpoints import Refusal, Reply, Request
from pytest_edgeai.serving.settings import ServerSettings
from pytest_edgeai.wire import protocol, timing
from pytest_edgeai.wire.connection import Connection
from pytest_edgeai.wire.heads import MessageError
from pytest_edgeai.wire.links import LinkDirection

_HANDED_ON = (protocol.JSON_LENGTH_HEADER, "Authorization", "Content-Type", "Content-Encoding")


class Upstream:
    """A connection to the next tier, for one client's requests.

    Parameters
    ----------
    address
        (host, port) of the next tier, or of the near end of the link to it.
    settings
        The name of the hop and how long to wait.
    link
        The direction of the link over which answers come, or None where it is not for this end to hold them.
    """

    def __init__(self, address: tuple[str, int], settings: ServerSettings, link: LinkDirection | None = None) -> None:
        self._settings = settings
        self._connection = Connection(
            *address, timeout_s=settings.timeout_s, max_body_bytes=settings.max_body_bytes, link=link
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __call__(self, request: Request) -> Reply:
        """Answer with what the next tier answers; what it does not account for is this hop's `transmit`.

        Raises
        ------
        Refusal
            It does not answer (502), or not in time (504).
        """
        headers = {name: request.headers[name.lower()] for name in _HANDED_ON if name.lower() in request.headers}
        body = [request.body] if request.method == "POST" else None
        started = time.perf_counter()
        try:
            answer = self._connection.exchange(request.method, request.target, headers, body, request.late_s)
        except TimeoutError:
            raise Refusal(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"the next tier did not answer within {self._settings.timeout_s:g} s",
            ) from None
        except (OSError, MessageError) as error:
            raise Refusal(HTTPStatus.BAD_GATEWAY, f"the next tier failed: {error}") from None
        elapsed_s = time.perf_counter() - started
        spans = timing.parse_spans(answer.headers.get(timing.HEADER.lower()))
        known_s = sum(span.duration_s for span in spans)
        spans.append(
            timing.Span(
                "transmit",
                self._settings.link,
                elapsed_s - known_s,
                sent_bytes=answer.sent_bytes,
                received_bytes=answer.received_bytes,
            )
        )
        handed_back = {timing.HEADER: timing.format_spans(spans)}
        json_length = answer.headers.get(protocol.JSON_LENGTH_HEADER.lower())
        if json_length is not None:
            handed_back[protocol.JSON_LENGTH_HEADER] = json_length
        content_type = answer.headers.get("content-type", "application/octet-stream")
        return Reply(answer.status, [answer.content], handed_back, content_type, answer.late_s)
