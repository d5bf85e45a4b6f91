"""How a tier's server behaves: one value, checked by the command line and passed down."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_edgeai.serving.repository import Execution
from pytest_edgeai.wire.links import LinkShape
from pytest_edgeai.wire.waiting import POLLED_S


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server behaves towards its clients.

    Parameters
    ----------
    execution
        How graphs are run; also reported by the limits endpoint.
    token
        Bearer token that every request but health must carry, or None.
    upstream
        (host, port) of the next tier, or None.
    link
        The name of the hop to the next tier, for its `transmit` span.
    upstream_link
        What the link to the next tier does to answers that come over it, where its address is for what comes over a
        link.
    polls
        Whether a connection polls for the next request after an answer instead of sleeping; only where no other
        tier computes on the same cores meanwhile.
    polled_s
        How many seconds of holding a message are spent polling the clock.
    max_body_bytes
        Larger bodies are refused with 413.
    timeout_s
        How long one read of a request or one wait for the next tier may take.
    idle_timeout_s
        How long a connection may stay open between requests.
    max_connections
        More connections than these at a time are refused with 503.
    """

    execution: Execution = field(default_factory=Execution)
    token: str | None = None
    upstream: tuple[str, int] | None = None
    link: str = ""
    upstream_link: LinkShape | None = None
    polls: bool = False
    polled_s: float = POLLED_S
    max_body_bytes: int = 256 * 2**20
    timeout_s: float = 60.0
    idle_timeout_s: float = 600.0
    max_connections: int = 256
