"""Several nodes of a tier that work on one request at the same time, on any backend.

Each node is a deployment of its own, of one node on one tier: its server, and a way to it whose links have the declared
rate for it alone. Here they are put together; what is done where a host has too few cores for them is in `sharing`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

from pytest_edgeai.parallel import node_folders
from pytest_edgeai.parallel.aggregation import Aggregation, AggregationError
from pytest_edgeai.parallel.fan_out import FanOutClient
from pytest_edgeai.tiers.backend import Backend, Deployment, DeploymentSpec, TierError, TierState
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.specs import Hop
from pytest_edgeai.wire.client import Client


def deploy(backend: Backend, order: DeploymentSpec) -> AbstractContextManager[Deployment]:
    """Start what an order is for: tiers, or several nodes of one.

    Raises
    ------
    TierError
        A tier or node did not start, or the artifact is not for that many nodes.
    """
    return backend.deploy(order) if order.placement.nodes == 1 else _deploy_nodes(backend, order)


@contextlib.contextmanager
def _deploy_nodes(backend: Backend, order: DeploymentSpec) -> Iterator[NodesDeployment]:
    """Start one node after the other, so that none is seen in how long another takes to load."""
    aggregation = _aggregation(order)
    folders = node_folders(order.folder.absolute())
    if aggregation.kind == "copies" and len(folders) == 1:
        folders *= aggregation.nodes
    if len(folders) != aggregation.nodes:
        raise TierError(
            f"{order.name} has folders for {len(folders)} nodes, and says that it is for {aggregation.nodes}"
        )
    single = Placement(order.placement.tiers)
    with ExitStack() as stack:
        nodes: dict[str, Deployment] = {}
        for number, folder in enumerate(folders):
            one = replace(order, folder=folder, placement=single, node=number)
            nodes[one.places[0]] = stack.enter_context(backend.deploy(one))
        yield NodesDeployment(nodes, aggregation)


def _aggregation(order: DeploymentSpec) -> Aggregation:
    try:
        aggregation = Aggregation.read(order.folder)
    except AggregationError as error:
        raise TierError(f"placement {order.placement}: {order.name} is not for several nodes: {error}") from None
    if aggregation.nodes != order.placement.nodes:
        raise TierError(f"placement {order.placement}: {order.name} is for {aggregation.nodes} nodes")
    return aggregation


class NodesDeployment:
    """Nodes that are running.

    Parameters
    ----------
    nodes
        The deployment of each, by its name.
    aggregation
        What is made of their answers.
    """

    def __init__(self, nodes: Mapping[str, Deployment], aggregation: Aggregation) -> None:
        self.nodes = nodes
        self.hops: tuple[Hop, ...] = tuple(hop for one in nodes.values() for hop in one.hops)
        self.cores = frozenset(itertools.chain.from_iterable(one.cores for one in nodes.values()))
        self._aggregation = aggregation

    def client(self) -> FanOutClient:
        """New connections to all nodes, from the origin over all links."""
        clients: dict[str, Client] = {}
        for name, one in self.nodes.items():
            client = one.client()
            if not isinstance(client, Client):
                raise TierError(f"node {name}: its backend has no client that can be one of several")
            clients[name] = client
        return FanOutClient(clients, self._aggregation)

    def probe(self, hop: Hop) -> ProbeConnections | None:
        """New connections over one link only and without it."""
        return next(one for one in self.nodes.values() if hop in one.hops).probe(hop)

    def states(self) -> tuple[TierState, ...]:
        """What the nodes, and tiers on the way to them, say of themselves, checked against what they were given."""
        return tuple(itertools.chain.from_iterable(one.states() for one in self.nodes.values()))

    def reference(self) -> dict[str, Mapping[str, Any]]:
        """What a fixed computation takes now on each node, one after the other."""
        return {place: said for one in self.nodes.values() for place, said in one.reference().items()}

    def diagnose(self) -> str | None:
        """A sentence about a node, or the way to it, that is gone or silent."""
        return next(filter(None, (one.diagnose() for one in self.nodes.values())), None)
