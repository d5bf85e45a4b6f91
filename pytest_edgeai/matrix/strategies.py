"""Strategies: the matrix model × operator × placement, its ids, its selection and its schedule.

Pure functions on names; what the names stand for is looked up elsewhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pytest_edgeai.settings import SettingsError, unknown
from pytest_edgeai.tiers.specs import Topology

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True, order=True)
class Strategy:
    """One cell of the matrix."""

    model: str
    operator: str
    placement: Placement

    @property
    def id(self) -> str:
        """The name in reports and, with the replicate, in test ids."""
        return f"{self.model}-{self.operator}-{self.placement}"

    @property
    def artifact(self) -> tuple[str, str]:
        """The model and operator, whose artifact all placements share."""
        return self.model, self.operator


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One trial to be made.

    Parameters
    ----------
    strategy, replicate
        The cell of the matrix, and how often it was tried before.
    version
        Empty, or the git revision whose artifact it is.
    """

    strategy: Strategy
    replicate: int
    version: str = ""

    @property
    def id(self) -> str:
        """The test id."""
        return f"{self.strategy.id}-r{self.replicate}" + (f"@{self.version}" if self.version else "")

    @property
    def own(self) -> Cell:
        """The same of this version."""
        return replace(self, version="")


def parse_placements(setting: str, names: Iterable[str], topology: Topology) -> tuple[Placement, ...]:
    """Placements by their names, tiers first in the topology's order, then chains and several nodes as they come.

    Parameters
    ----------
    setting
        Where the names come from, for the message.
    names
        Tiers, chains of them such as `mobile+edge`, and several nodes of one such as `mobile*5`.
    topology
        The tiers that there are and the links between them.

    Raises
    ------
    SettingsError
        A tier is not known, there is no way along a chain, or a number of nodes is none.
    """
    distinct = tuple(dict.fromkeys(names))
    combined = [name for name in distinct if "+" in name or "*" in name]
    singles = [name for name in distinct if name not in combined]
    placements = []
    if singles or not combined:
        placements += [Placement((tier,)) for tier in select("tier", setting, singles, tuple(topology.tiers))]
    for name in combined:
        try:
            placement = Placement.parse(name)
        except ValueError as error:
            raise SettingsError(f"{setting}: {error}") from None
        select("tier", f"{setting}: {name}", placement.tiers, tuple(topology.tiers))
        try:
            topology.way(placement.tiers)
        except ValueError as error:
            raise SettingsError(f"{setting}: {error}") from None
        placements.append(placement)
    return tuple(dict.fromkeys(placements))


def select(kind: str, setting: str, wanted: Iterable[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """The names wanted, in the order in which they are known.

    Parameters
    ----------
    kind
        What the names are, for the message: `model`, `operator`, `tier`.
    setting
        Where they come from, for the message.
    wanted
        Names, or None for all.
    known
        Registered names.

    Raises
    ------
    SettingsError
        A name is not known, or none is left.
    """
    if wanted is None:
        wanted = known
    chosen = set(wanted)
    for name in sorted(chosen):
        if name not in known:
            raise SettingsError(f"{setting}: {unknown(kind, name, tuple(known))}")
    if not chosen:
        raise SettingsError(f"{setting}: names no {kind}; known: {', '.join(known) or 'none'}")
    return tuple(name for name in known if name in chosen)


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
