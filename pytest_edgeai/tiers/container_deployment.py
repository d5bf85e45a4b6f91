"""A placement that runs in containers: where its requests come in, over which links, and what is asked of it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError, TierState, takes_turns
from pytest_edgeai.tiers.engine import first_line
from pytest_edgeai.tiers.engines import LOOPBACK, Engines
from pytest_edgeai.tiers.in_container_probe import InContainerProbe
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.proof import own_cpus, prove
from pytest_edgeai.tiers.sharing import cpus_of_node, leaves_a_core, servers_poll
from pytest_edgeai.tiers.specs import Hop, tier_of
from pytest_edgeai.tiers.tier_container import LINK_PORT, PORT, TierContainer, host_name
from pytest_edgeai.wire.client import Client, RequestError

if TYPE_CHECKING:
    from testcontainers.core.network import Network


@dataclass(frozen=True, slots=True)
class Run:
    """A deployment: what runs where, and what is known of it once it has been started.

    Parameters
    ----------
    site, engines, order
        What is deployed, on what.
    folders
        What each place serves that runs a part.
    hops
        The way from the origin.
    timeout_s
        How long an answer may take.
    token
        What requests must carry.
    is_in_reach
        Whether this process reaches the container that it sends to by its address (`Networks.is_in_reach`).
    """

    site: BackendContext
    engines: Engines
    order: DeploymentSpec
    folders: Mapping[str, Path]
    hops: tuple[Hop, ...]
    timeout_s: float
    token: str
    is_in_reach: bool
    containers: dict[str, TierContainer] = field(default_factory=dict)
    upstreams: dict[str, str] = field(default_factory=dict)
    listening: dict[str, str] = field(default_factory=dict)
    """Links that lead through SSH, by name, and the address of this host where their near end finds them."""
    forwarded: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def own_link(self) -> Hop | None:
        """The first link, where its near end is this process, which sits with an origin that computes nothing."""
        first = self.hops[0] if self.hops else None
        if first is None or first.near in self.folders or not self.is_in_reach or not self.holds(first):
            return None
        return first

    @property
    def entry(self) -> str:
        """The container to which the client sends."""
        if self.own_link is not None:
            return self.own_link.far
        return self.hops[0].near if self.hops else self.order.places[0]

    @property
    def places(self) -> tuple[str, ...]:
        """What is a container, in the order of requests."""
        return tuple(dict.fromkeys((self.entry, *(hop.far for hop in self.hops))))

    @property
    def links(self) -> tuple[Hop, ...]:
        """The links that lead from one container to another."""
        return tuple(hop for hop in self.hops if hop != self.own_link)

    def holds(self, hop: Hop) -> bool:
        """Whether the receiving ends hold what crosses a link, which takes two ends with the same clock."""
        return self.site.topology.shaping == "held" and not self.crosses(hop)

    def cpus(self, place: str) -> list[int]:
        """The cores of a container, as its engine counts them."""
        tier = tier_of(place)
        return cpus_of_node(self.site.allotments[tier], self.order.node_at(place), self.engines.of(tier).cpus)

    @property
    def has_quota(self) -> bool:
        """Whether containers have a CPU quota beside their cores.

        Polling would spend it, and the kernel stops a thread for that which has a core of its own.
        """
        return self.site.topology.shaping == "kernel"

    def polls(self) -> bool:
        """Whether servers poll for requests."""
        if self.has_quota or not self.is_in_reach or any(map(self.crosses, self.hops)):
            return False
        return servers_poll(self.order, {place: frozenset(self.cpus(place)) for place in self.places}, own_cpus())

    def crosses(self, hop: Hop) -> bool:
        """Whether a link leads from one engine to another."""
        return self.engines.of(tier_of(hop.near)).address != self.engines.of(tier_of(hop.far)).address

    def published_at(self, place: str) -> str | None:
        """The address of an engine's machine at which a place is reached from outside of the engine.

        None where it is not: the container of the client's requests is reached by its own address where that is in
        reach, since a published port would put the engine's proxy between.
        """
        comes_in = any(hop.far == place and self.crosses(hop) for hop in self.hops)
        if not comes_in and (place != self.entry or self.is_in_reach):
            return None
        if any(hop.far == place and hop.name in self.listening for hop in self.hops):
            return LOOPBACK
        return self.engines.published_at(tier_of(place), by_the_client=place == self.entry)

    def address_of(self, hop: Hop) -> str:
        """Where the far end of a link answers, as seen from its near end."""
        if not self.crosses(hop):
            return f"{host_name(hop.far)}:{LINK_PORT if self.holds(hop) else PORT}"
        host, port = self.published_at(hop.far), self.containers[hop.far].port()
        assert host is not None
        if hop.name in self.listening:
            host = self.listening[hop.name]
            port = self.forward(hop.far, host, port)
        return f"{host}:{port}"

    def forward(self, place: str, host: str, port: int) -> int:
        """A port here, for as long as the deployment lasts, that leads to one of an engine behind SSH."""
        way = self.engines.of(tier_of(place)).way
        assert way is not None
        return self.forwarded.enter_context(way.port(host, port))


class DockerDeployment:
    """Containers that are running.

    Parameters
    ----------
    run
        What was deployed where, and the way to it.
    entry_network
        By which the client's requests come in.
    """

    def __init__(self, run: Run, entry_network: Network) -> None:
        self.hops = run.hops
        self.containers: Mapping[str, TierContainer] = run.containers
        here = [place for place in run.places if run.is_in_reach and run.engines.of(tier_of(place)).is_here]
        self.cores = frozenset(itertools.chain.from_iterable(map(run.cpus, here)))
        self._run = run
        self._way_in = self._find_way_in(entry_network)
        self._questions: dict[str, InContainerProbe] = {}

    def _find_way_in(self, network: Network) -> tuple[str, int]:
        """Address and port at which the container of the client's requests answers what comes without a link."""
        run = self._run
        container = self.containers[run.entry]
        if run.is_in_reach:
            return container.address(network), PORT
        way_in = run.engines.published_at(tier_of(run.entry), by_the_client=True), container.port()
        if run.engines.of(tier_of(run.entry)).way is not None:
            return LOOPBACK, run.forward(run.entry, *way_in)
        return way_in

    def close(self) -> None:
        """End what asks inside the containers."""
        for questions in self._questions.values():
            questions.close()

    def client(self) -> Client:
        """A new connection to the model, from the origin over all links.

        Where the origin has a container, requests go into that and it hands on what is not for it.
        """
        return self._connect(self._run.own_link, polls=self._run.order.node is None and self._leaves_a_core)

    def probe(self, hop: Hop) -> ProbeConnections:
        """New connections over one link only, and to its far end without it.

        They start where the link does, in this process or inside a container. Where the kernel shapes whatever leads to
        the far end, the bare one goes to the near end's own server instead.
        """
        if hop == self._run.own_link:
            polls = self._leaves_a_core
            return ProbeConnections(self._connect(hop, polls=polls), self._connect(None, polls=polls))
        inside, over = self._ask_in(hop.near), self._run.upstreams[hop.name]
        if self._run.holds(hop):
            return ProbeConnections(inside.line(over, hop.link.shape), inside.line(f"{host_name(hop.far)}:{PORT}"))
        return ProbeConnections(inside.line(over), inside.line(f"localhost:{PORT}"))

    @property
    def _leaves_a_core(self) -> bool:
        return leaves_a_core(self.cores, own_cpus())

    def _connect(self, link: Hop | None, *, polls: bool) -> Client:
        """A new connection to the container that requests come to, over the link to it or without."""
        run, (host, port) = self._run, self._way_in
        return Client(
            host,
            port if link is None else LINK_PORT,
            place=run.site.topology.origin,
            link="" if link is None else link.name,
            token=run.token,
            timeout_s=run.timeout_s,
            wire=run.order.wire,
            held_link=None if link is None else link.link.shape,
            polls=polls,
        )

    def states(self) -> tuple[TierState, ...]:
        """What the tiers say of themselves, checked against what they were given."""
        places = self._run.order.places
        passed = [hop.near for hop in self._run.hops if hop.near not in places]  # those that run the model come first
        names = [*places, *(name for name in self.containers if name in passed)]
        return tuple(self._state(name) for name in names)

    def reference(self) -> dict[str, Mapping[str, Any]]:
        """What a fixed computation takes now on each tier that runs the model."""
        return {place: self._ask(place, REFERENCE_PATH, "does not compute") for place in self._run.order.places}

    def diagnose(self) -> str | None:
        """A sentence about a container that has ended or does not answer."""
        for container in self.containers.values():
            ended = container.exit_reason()
            if ended is not None:
                return ended
        return None

    def kill(self, place: str) -> None:
        """End the container of a tier or node as a crash would; for experiments on availability."""
        self.containers[place].inner.kill()

    def _ask(self, tier: str, path: str, otherwise: str) -> Mapping[str, Any]:
        """What a tier answers about itself; `otherwise` says in the error what it does not do."""
        try:
            said: dict[str, Any] = self._ask_in(tier).ask(f"localhost:{PORT}", "GET", path)["document"]
        except (RequestError, KeyError) as error:
            ended = self.containers[tier].exit_reason()
            raise TierError(ended or f"tier {tier} {otherwise}: {error}") from None
        return said

    def _state(self, tier: str) -> TierState:
        limits = self._ask(tier, LIMITS_PATH, "does not say its limits")
        order, allotment = self._run.order, self._run.site.allotments[tier_of(tier)]
        turns = takes_turns(tier, allotment, order)
        quota = float(allotment.cores) if self._run.has_quota else None
        return prove(tier, allotment, limits, cpus=self._run.cpus(tier), memory=True, turns=turns, quota_cores=quota)

    def _ask_in(self, tier: str) -> InContainerProbe:
        from docker.errors import DockerException
        from requests import RequestException

        if tier not in self._questions:
            container, run = self.containers[tier], self._run
            try:
                interface = run.engines.of(tier_of(tier)).client.api
                self._questions[tier] = InContainerProbe(interface, container.inner, run.timeout_s, run.token)
            except (DockerException, RequestException, OSError) as error:
                raise TierError(
                    container.exit_reason() or f"nothing can be asked in tier {tier}: {first_line(error)}"
                ) from None
        return self._questions[tier]
