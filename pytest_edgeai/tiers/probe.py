"""The link probe: whether a link has the rate and the delay that it should have.

A small and a large payload cross the link; the rate is the slope between the two, so whatever every request costs
(headers, waking up, a burst) cancels out. Both directions are probed apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeAlias

from pytest_edgeai.serving.server import MAX_PROBE_BYTES, PROBE_PATH
from pytest_edgeai.settings import Tolerances
from pytest_edgeai.tiers.specs import Hop

Direction: TypeAlias = Literal["up", "down"]

SMALL_BYTES = 4000
"""More than the packet that a bucket always has room for."""

_PACKET_BYTES = 1600
_LEAST_LARGE_BYTES = 10_000
_SMALL_TRIES = 3
_TOGETHER_S = 2e-3  # what several threads that send at the same time cost by themselves
_TRIES = 4
"""A busy host makes a probe slow, never fast; a link that is right is seen to be right in one of a few tries."""


class Line(AbstractContextManager["Line"], Protocol):
    """A connection over one link; `pytest_edgeai.measure.client.Client` is one."""

    def upload(self, path: str, size_bytes: int) -> float:
        """Post so many bytes; the seconds until the answer."""

    def download(self, path: str) -> float:
        """Get a body; the seconds until its last byte."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe of one direction of a link found.

    Parameters
    ----------
    link
        The hop's name.
    direction
        `up` leads away from the origin.
    rate_bps, expected_rate_bps
        Payload bits a second, measured and declared.
    round_trip_s, expected_round_trip_s
        Of the small payload, measured and as rate and delay predict it without what a request costs.
    large_bytes, large_s
        The larger payload and how long it took.
    tries
        How often it was tried.
    ok
        Whether rate and round trip are within tolerance.
    """

    link: str
    direction: Direction
    rate_bps: float
    expected_rate_bps: float
    round_trip_s: float
    expected_round_trip_s: float
    large_bytes: int
    large_s: float
    tries: int
    ok: bool

    def as_json(self) -> dict[str, object]:
        """A JSON object with the fields of this class."""
        return asdict(self)

    def sentence(self) -> str:
        """What is wrong, or that nothing is."""
        if self.ok:
            return f"link {self.link} {self.direction} is as declared"
        return (
            f"link {self.link} {self.direction} lets {self.rate_bps / 1e6:.3g} Mbit/s through "
            f"({self.rate_bps / self.expected_rate_bps - 1:+.1%} against {self.expected_rate_bps / 1e6:g}), "
            f"with a round trip of {self.round_trip_s * 1e3:.3g} ms ({self.expected_round_trip_s * 1e3:.3g} expected)"
        )


def probe_link(line: Line, hop: Hop, seconds: float, tolerances: Tolerances) -> tuple[Probe, Probe]:
    """Probe both directions of a link.

    Parameters
    ----------
    line
        A connection over this link alone.
    hop
        The link and how it is crossed.
    seconds
        How long the larger payload should take.
    tolerances
        What is within tolerance.

    Raises
    ------
    RequestError
        The other end does not answer.
    """
    up = _probe(lambda size: line.upload(PROBE_PATH, size), hop, "up", seconds, tolerances)
    down = _probe(lambda size: line.download(f"{PROBE_PATH}?bytes={size}"), hop, "down", seconds, tolerances)
    return up, down


def hinder_each_other(lines: Sequence[Line], link: str, size_bytes: int, tolerances: Tolerances) -> str | None:
    """A sentence if links that are right one by one are slower at the same time, as those to several nodes are used.

    Parameters
    ----------
    lines
        A connection over each of the links, which are alike.
    link
        What to call them.
    size_bytes
        How much a request sends over each.
    tolerances
        What is within tolerance.

    Raises
    ------
    RequestError
        The other end of a link does not answer.
    """
    for line in lines:
        line.upload(PROBE_PATH, 1)  # opens the connection
    alone_s = min(lines[0].upload(PROBE_PATH, size_bytes) for _ in range(_SMALL_TRIES))
    allowed_s = alone_s * (1 + tolerances.link_rate) + _TOGETHER_S
    together_s = math.inf
    with ThreadPoolExecutor(len(lines)) as pool:
        for _ in range(_TRIES):
            slowest_s = max(pool.map(lambda line: line.upload(PROBE_PATH, size_bytes), lines))
            together_s = min(together_s, slowest_s)
            if together_s <= allowed_s:
                return None
    return (
        f"{len(lines)} links {link} hinder each other on this host: {size_bytes} bytes over each at the same time take "
        f"{together_s * 1e3:.3g} ms, and over one alone {alone_s * 1e3:.3g} ms"
    )


def _probe(
    transfer: Callable[[int], float], hop: Hop, direction: Direction, seconds: float, tolerances: Tolerances
) -> Probe:
    link = hop.link
    large_bytes = int(min(MAX_PROBE_BYTES, max(_LEAST_LARGE_BYTES, link.rate_bps / 8 * seconds)))
    expected_round_trip_s = SMALL_BYTES * 8 / link.rate_bps + 2 * link.delay_s
    credit_s = _PACKET_BYTES * 8 / link.rate_bps  # a packet may leave before its time
    transfer(1)  # opens the connection
    found = None
    for tries in range(1, _TRIES + 1):
        small_s = min(transfer(SMALL_BYTES) for _ in range(_SMALL_TRIES))
        large_s = transfer(large_bytes)
        rate_bps = (large_bytes - SMALL_BYTES) * 8 / max(large_s - small_s, 1e-9)
        ok = (
            abs(rate_bps / link.rate_bps - 1) <= tolerances.link_rate
            and -tolerances.link_delay_s - credit_s <= small_s - expected_round_trip_s <= tolerances.link_delay_s
        )
        found = Probe(
            hop.name,
            direction,
            rate_bps,
            link.rate_bps,
            small_s,
            expected_round_trip_s,
            large_bytes,
            large_s,
            tries,
            ok,
        )
        if ok:
            break
    assert found is not None
    return found
