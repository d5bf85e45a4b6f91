"""Exchanging the two members of each pair: what a statistic would have been if only the order of a pair decided.

Where the order of the members of every pair was drawn at random, exchanging them changes nothing that does not depend
on which is which, so that the test is exact whatever the distribution of the values (Fisher's randomization test).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from pytest_edgeai.stats.samples import FloatArray

DRAWS: Final = 1024
_EXACT = 10  # pairs; 2 ** 10 = DRAWS


def exchanges(pairs: int, name: str) -> FloatArray:
    """Signs of differences for each draw, shape (DRAWS, pairs).

    All exchanges, each equally often, where there are at most `DRAWS` of them; else random ones, each with its
    opposite, so that both directions have the same distribution. The name starts the generator: draws for different
    names are independent, and the same name gives the same draws.
    """
    generator = np.random.default_rng([zlib.crc32(name.encode()), pairs])
    if pairs > _EXACT:
        half = generator.choice(np.array([-1.0, 1.0]), size=(DRAWS // 2, pairs))
        return np.concatenate([half, -half])
    bits = (np.arange(DRAWS)[:, None] >> np.arange(pairs)) & 1
    every: FloatArray = 2.0 * bits - 1.0
    generator.shuffle(every)
    return every


def fewest_pairs(family: int, alpha: float) -> int:
    """The fewest pairs with which one of a family of comparisons can be significant.

    That all differences have one sign happens in one of 2 ** pairs exchanges of each comparison.
    """
    pairs = 1
    while family / 2**pairs >= alpha:
        pairs += 1
    return pairs


def stepdown(observed: Mapping[str, FloatArray], drawn: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """P-values adjusted for all comparisons of a family, by the distribution of the largest statistic.

    Parameters
    ----------
    observed
        By comparison, its statistics; larger is more extreme.
    drawn
        By comparison, the largest of its statistics under each exchange, shape (DRAWS,).

    Returns
    -------
    dict
        By comparison, a p-value for each statistic. The probability that any comparison without a change has one
        below a level is that level at most.

    References
    ----------
    Westfall, Young (1993), Resampling-based multiple testing, algorithm 2.8 with the maximum of statistics.
    """
    names = sorted(observed, key=lambda name: float(observed[name].max()))
    largest: FloatArray | None = None
    suffixes = {}
    for name in names:  # from the least extreme on: each is compared with itself and what is less extreme
        largest = drawn[name] if largest is None else np.maximum(largest, drawn[name])
        suffixes[name] = np.sort(largest)
    found: dict[str, FloatArray] = {}
    least = 0.0
    for name in reversed(names):
        suffix = suffixes[name]
        # Sums of the same numbers in another order differ in the last digits.
        reached = suffix.size - np.searchsorted(suffix, observed[name] - 1e-9, side="left")
        found[name] = np.maximum(reached / suffix.size, least)
        found[name] = np.clip(found[name], 1 / suffix.size, 1.0)
        least = max(least, float(found[name].min()))
    return {name: found[name] for name in observed}
