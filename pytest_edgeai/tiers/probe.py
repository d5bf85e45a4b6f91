"""The link probe: how far a link is from the one that was declared, in seconds for a message of any size.

A small and a large message cross the link, and the same two go to the same place without it: what the host itself costs
(headers, waking up, copying) is no error of the link. Both directions are probed apart. Whether an error matters
depends on the requests that cross the link and is for `pytest_edgeai.measure.link_errors` to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from pytest_edgeai.serving.server import MAX_PROBE_BYTES, PROBE_PATH
from pytest_edgeai.tiers.specs import Hop
from pytest_edgeai.wire.client import Transfer
from pytest_edgeai.wire.links import PACKET_BYTES, LinkShape

Direction: TypeAlias = Literal["up", "down"]

_SMALL_BYTES = 200
_LEAST_LARGE_BYTES = 2000
_TRIES = 4
"""A busy host makes a message slow, never fast; a link that is right is seen to be right in one of a few tries."""
_USUAL_TRIES = 2
_GOOD_SHARE, _GOOD_S = 0.005, 50e-6  # nearer than this needs no further try
_JITTER_SPREADS = 4  # an error within so many standard deviations of declared jitter is none
_LOST_IN_A_MESSAGE = 0.1  # packets of a probe, on average, where packets are lost
_TOGETHER_SHARE, _TOGETHER_S = 0.03, 2e-3  # what several threads that send at the same time cost by themselves


class ProbeConnection(AbstractContextManager["ProbeConnection"], Protocol):
    """A connection; `pytest_edgeai.wire.client.Client` is one."""

    def upload(self, path: str, size_bytes: int) -> Transfer:
        """Post so many bytes."""

    def download(self, path: str) -> Transfer:
        """Get a body."""


class ProbeConnections:
    """Two connections to the same end: one over a link alone, and a bare one. A context manager that closes both.

    Parameters
    ----------
    link
        Over the link alone.
    bare
        To the same kind of server without any link, where there is a way to it.
    """

    def __init__(self, link: ProbeConnection, bare: ProbeConnection | None) -> None:
        self.link = link
        self.bare = bare
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for line in (self.link, self.bare):
            if line is not None:
                self._stack.enter_context(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Point:
    """A message of one size.

    Parameters
    ----------
    size_bytes
        What crossed the link in the direction that is probed, heads included.
    took_s, ideal_s
        Seconds for the exchange, measured and as rate and delay give it.
    host_s
        Seconds for the same exchange without the link.
    spread_s
        How far declared jitter may have moved it.
    """

    size_bytes: int
    took_s: float
    ideal_s: float
    host_s: float
    spread_s: float = 0.0

    @property
    def error_s(self) -> float:
        """Seconds that are too many (or too few: negative), net of what the host itself costs."""
        return net_error_s(self.took_s - self.ideal_s, self.host_s, self.spread_s)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe of one direction of a link found.

    Parameters
    ----------
    link
        The hop's name.
    direction
        `up` leads away from the origin.
    rate_bps
        As declared: payload bits a second.
    small, large
        The two messages.
    tries
        How often they were sent.
    """

    link: str
    direction: Direction
    rate_bps: float
    small: Point
    large: Point
    tries: int

    def error_s(self, size_bytes: float) -> float:
        """By how many seconds the link changes a message of a size, on the line through the two points."""
        return _line(self.small.size_bytes, self.small.error_s, self.large.size_bytes, self.large.error_s, size_bytes)

    def host_s(self, size_bytes: float) -> float:
        """What the host itself takes for an exchange with a message of a size, in seconds."""
        return max(
            0.0, _line(self.small.size_bytes, self.small.host_s, self.large.size_bytes, self.large.host_s, size_bytes)
        )

    @property
    def rate_error(self) -> float:
        """Relative error of the rate; positive where the link is too slow.

        None, 0, where only the smaller message is off: that is no matter of the rate.
        """
        transfer_s = (self.large.size_bytes - self.small.size_bytes) * 8 / self.rate_bps
        error = (self.large.error_s - self.small.error_s) / transfer_s
        return error if error * self.large.error_s > 0 else 0.0

    def as_json(self) -> dict[str, object]:
        """A JSON object with the fields of this class and what follows from them."""
        return {**asdict(self), "rate_error": self.rate_error, "small_error_s": self.small.error_s}

    def sentence(self) -> str:
        """How far the link is from the one that was declared."""
        slow = "slow" if self.rate_error > 0 else "fast"
        return (
            f"link {self.link} {self.direction} is {abs(self.rate_error):.1%} too {slow} for its "
            f"{self.rate_bps / 1e6:g} Mbit/s, and {self.small.error_s * 1e3:+.2f} ms off for a message of "
            f"{self.small.size_bytes} bytes"
        )


def net_error_s(excess_s: float, host_s: float, spread_s: float = 0.0) -> float:
    """What of an excess over the ideal time is not the host's.

    A link that is held takes the host's time into its own, a relay adds to it: both are right. So what lies between
    nothing and the host's own time is no error.

    Parameters
    ----------
    excess_s
        Measured less ideal, in seconds.
    host_s
        What the host takes for the same without a link.
    spread_s
        How far declared jitter may have moved it, either way.

    Examples
    --------
    >>> net_error_s(0.003, host_s=0.001), net_error_s(0.0005, host_s=0.001), net_error_s(-0.001, host_s=0.001)
    (0.002, 0.0, -0.001)
    """
    if excess_s < 0:
        return min(0.0, excess_s + spread_s)
    return max(0.0, excess_s - host_s - spread_s)


def probe_link(lines: ProbeConnections, hop: Hop, seconds: float) -> tuple[Probe, Probe]:
    """Probe both directions of a link.

    Parameters
    ----------
    lines
        Connections over this link alone and without it.
    hop
        The link and how it is crossed.
    seconds
        How long the larger message should take.

    Raises
    ------
    RequestError
        The other end does not answer.
    """
    return _probe(lines, hop, "up", seconds), _probe(lines, hop, "down", seconds)


def check_concurrent_rate(lines: Sequence[ProbeConnection], link: str, size_bytes: int) -> str | None:
    """A sentence if links that are right one by one are slower at the same time, as those to several nodes are used.

    Parameters
    ----------
    lines
        A connection over each of the links, which are alike.
    link
        What to call them.
    size_bytes
        How much a request sends over each.

    Raises
    ------
    RequestError
        The other end of a link does not answer.
    """
    for line in lines:
        line.upload(PROBE_PATH, 1)  # opens the connection
    alone_s = min(lines[0].upload(PROBE_PATH, size_bytes).took_s for _ in range(_TRIES))
    allowed_s = alone_s * (1 + _TOGETHER_SHARE) + _TOGETHER_S
    together_s = math.inf
    with ThreadPoolExecutor(len(lines)) as pool:
        for _ in range(_TRIES):
            slowest_s = max(pool.map(lambda line: line.upload(PROBE_PATH, size_bytes).took_s, lines))
            together_s = min(together_s, slowest_s)
            if together_s <= allowed_s:
                return None
    return (
        f"{len(lines)} links {link} slow each other down on this host: {size_bytes} bytes over each at the same time "
        f"take {together_s * 1e3:.3g} ms, and over one alone {alone_s * 1e3:.3g} ms"
    )


def _probe(lines: ProbeConnections, hop: Hop, direction: Direction, seconds: float) -> Probe:
    shape = hop.link.shape
    large_bytes = _large_bytes(shape, seconds)
    for line in (lines.link, lines.bare):
        if line is not None:
            _transfer(line, direction, 1)  # opens the connection
    small = _point(lines, direction, _SMALL_BYTES, shape)
    large = _point(lines, direction, large_bytes, shape)
    tries = 1
    while tries < _TRIES and not (_is_good(small) and _is_good(large)):
        small = min(small, _point(lines, direction, _SMALL_BYTES, shape), key=_distance_s)
        large = min(large, _point(lines, direction, large_bytes, shape), key=_distance_s)
        tries += 1
    return Probe(hop.name, direction, shape.rate_bps, small, large, tries)


def _large_bytes(shape: LinkShape, seconds: float) -> int:
    large_bytes = int(min(MAX_PROBE_BYTES, max(_LEAST_LARGE_BYTES, shape.rate_bps / 8 * seconds)))
    if shape.loss:  # of more packets one is lost in nearly every try
        large_bytes = min(large_bytes, round(PACKET_BYTES * max(2.0, _LOST_IN_A_MESSAGE / shape.loss)))
    return large_bytes


def probing_s(shape: LinkShape, seconds: float) -> float:
    """How long it takes to probe both directions of a link, where it is right at the second try.

    Parameters
    ----------
    shape
        The link.
    seconds
        How long the larger message should take.
    """
    exchanges_s = [shape.ideal_s(size) + shape.ideal_s(_SMALL_BYTES) for size in (1, _SMALL_BYTES)]
    large_s = shape.ideal_s(_large_bytes(shape, seconds)) + shape.ideal_s(_SMALL_BYTES)
    return 2 * (exchanges_s[0] + _USUAL_TRIES * (exchanges_s[1] + large_s))


def _point(lines: ProbeConnections, direction: Direction, size_bytes: int, shape: LinkShape) -> Point:
    over = _transfer(lines.link, direction, size_bytes)
    host_s = 0.0 if lines.bare is None else _transfer(lines.bare, direction, size_bytes).took_s
    crossed = over.sent_bytes if direction == "up" else over.received_bytes
    ideal_s = shape.ideal_s(over.sent_bytes) + shape.ideal_s(over.received_bytes)
    return Point(crossed, over.took_s, ideal_s, host_s, _JITTER_SPREADS * shape.jitter_s)


def _transfer(line: ProbeConnection, direction: Direction, size_bytes: int) -> Transfer:
    if direction == "up":
        return line.upload(PROBE_PATH, size_bytes)
    return line.download(f"{PROBE_PATH}?bytes={size_bytes}")


def _distance_s(point: Point) -> float:
    """How far a try is from the link that was declared."""
    return abs(point.error_s)


def _is_good(point: Point) -> bool:
    return _distance_s(point) <= _GOOD_S + _GOOD_SHARE * point.ideal_s


def _line(x0: float, y0: float, x1: float, y1: float, x: float) -> float:
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
