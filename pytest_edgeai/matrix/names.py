"""Names in settings and markers: checked against the registered ones, and returned in their order.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.specs import Topology


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
        A tier is not known, there is no way along a chain, or a number of nodes is not a positive integer.
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
