"""Several nodes of a tier on one host: which cores each gets, and what is done where there are too few. Pure functions.

Nodes that compute at the same time on the same core would measure how they get in each other's way. So where the host
cannot give each node its cores, they compute one after the other (`pytest_edgeai.serving.core_lock`), and compute is
stretched so far that waiting for the core disappears in the stretch. The compute scale of every tier is multiplied by
the same factor, so that the ratios of tiers and of strategies stay as they were.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.backend import DeploymentSpec, TierError
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.specs import Topology

ROOM = 2
"""Per node, how many times its compute the stretch has to last: its own turn, and what else a turn takes."""


def share_among_nodes(
    allotments: Mapping[str, Allotment], placements: Iterable[Placement], topology: Topology, host_cores: int
) -> dict[str, Allotment]:
    """What tiers get in a session in which some placements have several nodes.

    Where every node can have cores of its own, with one left for the client and the links, that is what they had.
    Else the tiers whose nodes lack cores take turns, and all compute scales are multiplied by a whole number, the
    least with which the scale of each of these tiers is `ROOM` times its number of nodes.

    Parameters
    ----------
    allotments
        What each tier gets of the host where it has one node.
    placements
        The placements of the session.
    topology
        Its tiers.
    host_cores
        How many cores may be used.

    Raises
    ------
    SettingsError
        Nodes of a remote tier are asked for, or such a tier cannot be slowed down together with the others.
    """
    nodes: dict[str, int] = {}
    for placement in placements:
        if placement.nodes > 1:
            tier = placement.tiers[0]
            if topology.tiers[tier].is_remote:
                raise SettingsError(
                    f"tiers (--edgeai-tiers): {placement}: tier {tier} is remote (topology.tiers.{tier}), and "
                    "several nodes of a tier are started on this host only"
                )
            nodes[tier] = max(placement.nodes, nodes.get(tier, 1))
    short = [tier for tier, number in nodes.items() if number * allotments[tier].cores >= host_cores]
    if not short:
        return dict(allotments)
    servers = [name for name, tier in topology.tiers.items() if tier.url is not None]
    if servers:
        raise SettingsError(
            f"tiers (--edgeai-tiers): this host has {host_cores} cores, too few for {nodes[short[0]]} nodes of "
            f"{short[0]}, so all tiers would be slowed down alike; tier {servers[0]} is a remote server "
            f"(topology.tiers.{servers[0]}.url) and cannot be: measure these strategies in a session without it"
        )
    factor = max(math.ceil(ROOM * nodes[tier] / allotments[tier].compute_scale) for tier in short)
    return {
        tier: replace(one, compute_scale=one.compute_scale * max(1, factor), takes_turns=tier in short)
        for tier, one in allotments.items()
    }


def cpus_of_node(allotment: Allotment, node: int | None, available: Sequence[int]) -> list[int]:
    """The cores of a node, from those available: its own, or those that nodes share in turn.

    They are counted from the last, because the client and the links are likelier to be on the first.

    Raises
    ------
    TierError
        There are no cores left for it, and it is not to take turns.
    """
    end = len(available) - (0 if node is None or allotment.takes_turns else node * allotment.cores)
    if end <= 0:
        raise TierError(
            f"of {len(available)} cores none is left for node {node}, counted from 0, and it takes no turns"
        )
    return list(available[max(0, end - allotment.cores) : end])


def leaves_a_core(cores: frozenset[int], available: Iterable[int]) -> bool:
    """Whether this process may run on a core on which none of its tiers computes.

    Parameters
    ----------
    cores
        Those of the tiers.
    available
        Those that may be used.
    """
    return bool(cores) and not cores.issuperset(available)


def servers_poll(order: DeploymentSpec, cores: Mapping[str, frozenset[int]], available: Iterable[int]) -> bool:
    """Whether servers poll for requests: where the client has a core of its own, and no two servers share one.

    Parameters
    ----------
    order
        What is deployed.
    cores
        Those of each server.
    available
        Those that may be used.
    """
    every = list(itertools.chain.from_iterable(cores.values()))
    return order.node is None and len(every) == len(set(every)) and leaves_a_core(frozenset(every), available)
