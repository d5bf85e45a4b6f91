"""How a tier's server behaves: one value, checked by the command line and passed down."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_edgeai.serving.repository import Execution


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
    max_body_bytes: int = 256 * 2**20
    timeout_s: float = 60.0
    idle_timeout_s: float = 600.0
    max_connections: int = 256
