"""References that are slow and plainly right: distances in a graph, and a bucket whose tokens are counted."""

from collections.abc import Iterable, Mapping
from fractions import Fraction


def distances(tiers: Iterable[str], links: Iterable[str], origin: str) -> Mapping[str, float]:
    """The least number of links from the origin to every tier, by relaxing all links again and again."""
    distance = dict.fromkeys(tiers, float("inf"))
    distance[origin] = 0
    for _ in list(distance):
        for link in links:
            one, other = link.split("-")
            distance[one] = min(distance[one], distance[other] + 1)
            distance[other] = min(distance[other], distance[one] + 1)
    return distance


class Bucket:
    """A token bucket as textbooks have it: tokens are bits, they trickle in, and who lacks tokens waits for them.

    Parameters
    ----------
    rate_bps
        Tokens a second.
    depth_s
        The depth in seconds of the rate; it is full at the beginning.
    """

    def __init__(self, rate_bps: Fraction, depth_s: Fraction) -> None:
        self._rate_bps = rate_bps
        self._depth = self._tokens = depth_s * rate_bps
        self._at = Fraction(0)

    def accept(self, size_bytes: int, now: Fraction) -> Fraction:
        """When the last bit has left; in the past where tokens were left over."""
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._rate_bps) - 8 * size_bytes
        self._at = now
        return now - self._tokens / self._rate_bps
