"""The order of trials: blocks of one replicate of everything, each in random order. Pure functions."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def schedule(cells: Sequence[tuple[int, Hashable, T]], seed: int) -> list[T]:
    """Order trials in blocks: a block is one replicate of everything, in random order of its own.

    Drift of the machine then hits all strategies alike, and neighbours differ from block to block. What is to be
    compared most closely, the versions of one strategy, stays together, each as often first as last.

    Parameters
    ----------
    cells
        (replicate, what stays together, anything) in any order.
    seed
        The same seed gives the same order.
    """
    generator = random.Random(seed)
    blocks: dict[int, dict[Hashable, list[T]]] = {}
    for replicate, together, cell in cells:
        blocks.setdefault(replicate, {}).setdefault(together, []).append(cell)
    ordered: list[T] = []
    for _, block in sorted(blocks.items()):
        groups = list(block.values())
        generator.shuffle(groups)
        for group in groups:
            generator.shuffle(group)
            ordered += group
    return ordered


def place_again(remaining: Sequence[Hashable], generator: random.Random) -> int:
    """Where among the remaining trials one is put that is to be measured again: anywhere, but not next.

    The host gets time to recover, and what a retry meets is left to chance, as for any trial.

    Parameters
    ----------
    remaining
        For each remaining trial in order, what stays together: trials in a row that are equal are not parted.
    generator
        Chooses.

    Returns
    -------
    int
        Before which of the remaining trials; their number, for behind them all.
    """
    places = [n for n in range(1, len(remaining)) if remaining[n] != remaining[n - 1]]
    return generator.choice([*places, len(remaining)])
