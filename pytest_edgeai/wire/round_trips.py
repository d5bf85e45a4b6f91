"""How long a request and its answer are on links: what rates, delays and the host give, for predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire.links import LinkShape


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer on one link.

    Parameters
    ----------
    shape
        The link.
    sent_bytes, received_bytes
        Of the request and of the answer, heads included; arrays for several of them.
    host_up_s, host_down_s
        What the host itself takes to deliver each of them, which a held link hides in its own time.
    """

    shape: LinkShape
    sent_bytes: float | Array
    received_bytes: float | Array
    host_up_s: float | Array = 0.0
    host_down_s: float | Array = 0.0


def round_trip_s(exchanges: Sequence[Exchange]) -> Array:
    """Seconds that a request and its answer are on links, without what computes at their ends.

    A message is delivered when its last bit would be, or as soon as the host can where that is later; what is late
    makes up for it where a later link has time to spare. With no time of the host it is the sum of rates and delays.

    Parameters
    ----------
    exchanges
        The links in the order in which the request crosses them, each with the message that it carries.

    Examples
    --------
    >>> slow, fast = LinkShape(rate_bps=1e6), LinkShape(rate_bps=1e9)
    >>> float(round_trip_s([Exchange(slow, 125_000, 0)]))
    1.0
    >>> float(round_trip_s([Exchange(fast, 0, 0, host_up_s=0.25), Exchange(slow, 125_000, 0)]))
    1.0
    """
    ideal_s: Array = np.zeros(())
    real_s: Array = np.zeros(())
    for one in exchanges:
        ideal_s = ideal_s + one.shape.ideal_s(one.sent_bytes)
        real_s = np.maximum(ideal_s, real_s + one.host_up_s)
    for one in reversed(exchanges):
        ideal_s = ideal_s + one.shape.ideal_s(one.received_bytes)
        real_s = np.maximum(ideal_s, real_s + one.host_down_s)
    return real_s
