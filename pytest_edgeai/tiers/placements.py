"""Placements: which tier, chain of tiers or number of nodes runs an artifact."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Placement:
    """Which tiers run the parts of an artifact, the first part first; or how many nodes of a tier run it.

    Parameters
    ----------
    tiers
        One tier, or several for a chain.
    nodes
        How many nodes of the tier work on a request at the same time.
    """

    tiers: tuple[str, ...]
    nodes: int = 1

    def __str__(self) -> str:
        return "+".join(self.tiers) + (f"*{self.nodes}" if self.nodes > 1 else "")

    @classmethod
    def parse(cls, text: str) -> Placement:
        """The placement that `str` writes, for example `edge`, `mobile+edge` or `mobile*5`.

        Raises
        ------
        ValueError
            The number of nodes is not from 2 to 99, or a chain has one.
        """
        tiers, star, nodes = text.partition("*")
        if not star:
            return cls(tuple(text.split("+")))
        # No other way of writing a number is taken: a placement is found again by its name.
        if re.fullmatch(r"[2-9]|[1-9][0-9]", nodes) is None or "+" in tiers:
            raise ValueError(f"{text!r} is not a tier and a number of nodes from 2 to 99, for example mobile*5")
        return cls((tiers,), int(nodes))
