"""The `process` backend, the embedded default: each tier a server process of its own, each link a relay process.

It needs neither root nor a container engine. CPU and memory are limited by control groups where those can be
written, else by affinity and thread counts, and it says which.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pytest_edgeai.measure.client import Client, RequestError
from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.backend import Order, Site, TierError, TierState, server_arguments, takes_turns
from pytest_edgeai.tiers.children import Child, family
from pytest_edgeai.tiers.proof import own_cpus, prove
from pytest_edgeai.tiers.sharing import cpus_of_node
from pytest_edgeai.tiers.specs import USUAL_ENGINE, Allotment, Hop, tier_of

_HOST = "127.0.0.1"
_LIVE_PATH = "/v2/health/live"
_SLOW_BPS = 1e6
_LONGEST_TIMEOUT_S = 1e6
_HEALTH_BYTES = 1000  # more than a question for the health of a tier and its answer take


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait before something counts as broken.

    Parameters
    ----------
    start_s
        For a process to be ready.
    answer_s
        For an answer to a request; a link below 1 Mbit/s makes it longer in proportion.
    check_s
        For a tier to say that it is alive, or its limits.
    end_s
        For a process to end by itself.
    """

    start_s: float = 60.0
    answer_s: float = 60.0
    check_s: float = 10.0
    end_s: float = 5.0


class ProcessBackend:
    """Tiers as processes of this host.

    Parameters
    ----------
    site
        What it is made for.
    timeouts
        How long to wait.

    Raises
    ------
    TierError
        A link has properties that a relay cannot give it.
    """

    name: ClassVar[str] = "process"

    def __init__(self, site: Site, timeouts: Timeouts = Timeouts()) -> None:
        for tier, spec in site.topology.tiers.items():
            if spec.engine != USUAL_ENGINE:
                raise TierError(f"tier {tier} names a container engine: that needs the backend docker")
        for link_name, link in site.topology.links.items():
            if link.loss or link.jitter_s:
                raise TierError(
                    f"link {link_name}: the process backend cannot lose packets or jitter; set loss and jitter to 0"
                )
        self._site = site
        self._timeouts = timeouts
        self._numbers = itertools.count(1)
        self._why_no_cgroups = cgroups.writable(f"{site.session_id}-check")
        if self._why_no_cgroups is None:
            cgroups.sweep()

    def describe(self) -> str:
        """How tiers are run and limited."""
        if self._why_no_cgroups is None:
            limits = "control groups"
        elif hasattr(os, "sched_setaffinity"):
            limits = f"affinity and thread counts, memory unlimited: {self._why_no_cgroups}"
        else:
            limits = f"thread counts only: {self._why_no_cgroups}"
        return f"server processes, links as relays in user space, limits by {limits}"

    @contextlib.contextmanager
    def deploy(self, order: Order) -> Iterator[ProcessDeployment]:
        """Start the servers and relays of a placement.

        Links start beside the server of the artifact; tiers on the way only after it, because they may share its
        cores and would be seen in how long it takes to load.
        """
        places = order.places
        hops = order.way(self._site.topology)
        folders = {place: order.folder_of(place) for place in places}
        number = next(self._numbers)
        folder = self._site.folder / f"deployment-{number}"
        repositories = {place: folder / f"models-{place}" for place in places}
        empty = folder / "no-models"
        for new in (*repositories.values(), empty):
            new.mkdir(parents=True)
        for place, repository in repositories.items():
            (repository / order.name).symlink_to(folders[place], target_is_directory=True)
        timeout_s = self._answer_timeout_s(hops)
        last = places[-1]
        # The near end of a link is a tier that runs a part, or hands requests on; the client is not among them.
        nears = [hop for hop in reversed(hops) if hop.near in places or hop.near != self._site.topology.origin]
        with ExitStack() as stack:
            groups = {one: self._limit(stack, one, order, number) for one in (last, *(hop.near for hop in nears))}
            children = stack.enter_context(family(self._timeouts.end_s))
            launch = _Launch(self._site, order, folder, groups, children, self._timeouts.start_s, timeout_s)
            servers = {last: launch.server(last, repositories[last])}
            relays = {hop.name: launch.relay(hop) for hop in hops}
            _check_loaded(order, last, servers[last])
            for hop in nears:
                repository = repositories.get(hop.near, empty)
                upstream = f"{_HOST}:{relays[hop.name].port}"
                servers[hop.near] = launch.server(hop.near, repository, "--link", hop.name, "--upstream", upstream)
                if hop.near in places:
                    _check_loaded(order, hop.near, servers[hop.near])
            for hop in hops:
                relays[hop.name].tell(f"{_HOST}:{servers[hop.far].port}")
            yield ProcessDeployment(self._site, order, hops, servers, relays, groups, self._timeouts.check_s, timeout_s)

    def _limit(self, stack: ExitStack, place: str, order: Order, number: int) -> tuple[Path, ...]:
        """Make the control group of a tier or node; nothing where there are none."""
        if self._why_no_cgroups is not None:
            return ()
        allotment = self._site.allotments[tier_of(place)]
        limit = cgroups.Limit(cpus_of_node(allotment, order.node_at(place), own_cpus()), allotment.memory_bytes)
        try:
            return stack.enter_context(cgroups.limited(f"{self._site.session_id}-{number}-{place}", limit))
        except cgroups.CgroupError as error:
            raise TierError(f"tier {place} cannot be limited: {error}") from None

    def _answer_timeout_s(self, hops: Sequence[Hop]) -> float:
        slowest_bps = min((hop.link.rate_bps for hop in hops), default=_SLOW_BPS)
        delays_s = 2 * sum(hop.link.delay_s for hop in hops)
        return min(_LONGEST_TIMEOUT_S, self._timeouts.answer_s * max(1.0, _SLOW_BPS / slowest_bps) + delays_s)


@dataclass(frozen=True, slots=True)
class _Launch:
    """A deployment that is being started."""

    site: Site
    order: Order
    folder: Path
    groups: Mapping[str, Sequence[Path]]
    children: list[Child]
    start_timeout_s: float
    answer_timeout_s: float

    def server(self, place: str, repository: Path, *arguments: str) -> Child:
        """Start the server of a tier or node, limited before it has threads or memory worth the name."""
        allotment, groups = self.site.allotments[tier_of(place)], self.groups[place]
        command = ["pytest_edgeai.serving", "--repository", str(repository), *arguments]
        command += server_arguments(place, allotment, self.order, self.answer_timeout_s, str(self.site.folder))
        server = self._start(f"tier {place}", command, functools.partial(_memory_note, groups, allotment))
        try:
            if groups:
                cgroups.add(groups, server.pid)
            elif hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, cpus_of_node(allotment, self.order.node_at(place), own_cpus()))
        except OSError as error:
            raise TierError(server.obituary(wait_s=1) or f"tier {place} cannot be limited: {error}") from None
        return server

    def relay(self, hop: Hop) -> Child:
        """Start a link, whose far end has to be told."""
        command = ["pytest_edgeai.tiers.relay", "--rate-bps", repr(hop.link.rate_bps)]
        return self._start(f"link {hop.name}", [*command, "--delay-s", repr(hop.link.delay_s)])

    def _start(self, name: str, command: Sequence[str], explain: Callable[[], str] = str) -> Child:
        child = Child(name, command, self.folder, self.start_timeout_s, explain)
        self.children.append(child)
        return child


class ProcessDeployment:
    """Servers and relays that are running.

    Parameters
    ----------
    site, order, hops
        What was deployed where, and the way to it.
    servers
        By tier or node.
    relays
        By the name of the hop.
    groups
        The control groups by tier or node, empty where there are none.
    check_timeout_s, answer_timeout_s
        How long to wait for a sign of life and for an answer.
    """

    def __init__(
        self,
        site: Site,
        order: Order,
        hops: tuple[Hop, ...],
        servers: Mapping[str, Child],
        relays: Mapping[str, Child],
        groups: Mapping[str, Sequence[Path]],
        check_timeout_s: float,
        answer_timeout_s: float,
    ) -> None:
        self.hops = hops
        self._site = site
        self._order = order
        self._servers = servers
        self._relays = relays
        self._groups = groups
        self._check_timeout_s = check_timeout_s
        self._answer_timeout_s = answer_timeout_s

    def client(self) -> Client:
        """A new connection to the model, from the origin over all links."""
        first = self.hops[0].near if self.hops else self._order.places[0]
        starts_here = first in self._servers
        entry = self._servers[first] if starts_here else self._relays[self.hops[0].name]
        link = "" if starts_here else self.hops[0].name
        place, timeout_s = self._site.topology.origin, self._answer_timeout_s
        return Client(_HOST, entry.port, place=place, link=link, timeout_s=timeout_s, wire=self._order.wire)

    def kill(self, place: str) -> None:
        """End the server of a tier or node as a crash would; for experiments on availability."""
        os.kill(self._servers[place].pid, signal.SIGKILL)

    def probe(self, hop: Hop) -> Client:
        """A new connection over one link only."""
        return Client(_HOST, self._relays[hop.name].port, timeout_s=self._answer_timeout_s)

    def states(self) -> tuple[TierState, ...]:
        """What the tiers say of themselves, checked against what they were given."""
        return tuple(map(self._state, self._servers))

    def reference(self) -> dict[str, Mapping[str, Any]]:
        """What a fixed computation takes now on each tier that runs the model."""
        return {place: self._ask(place, REFERENCE_PATH, "does not compute") for place in self._order.places}

    def diagnose(self) -> str | None:
        """A sentence about a process that has ended or does not answer."""
        checks = itertools.chain(
            (child.obituary() for child in (*self._servers.values(), *self._relays.values())),
            (self._silence(server) for server in self._servers.values()),
            (self._interruption(hop) for hop in self.hops),
        )
        return next(filter(None, checks), None)

    def _silence(self, server: Child) -> str | None:
        try:
            with Client(_HOST, server.port, timeout_s=self._check_timeout_s) as client:
                client.download(_LIVE_PATH)
        except RequestError as error:
            ended = server.obituary(wait_s=1)
            return ended or f"{server.name} is running but does not answer: {error}{server.last_words()}"
        return None

    def _interruption(self, hop: Hop) -> str | None:
        """What is wrong with a link whose ends are both well."""
        relay = self._relays[hop.name]
        timeout_s = self._check_timeout_s + 2 * hop.link.delay_s + _HEALTH_BYTES * 8 / hop.link.rate_bps
        try:
            with Client(_HOST, relay.port, timeout_s=timeout_s) as client:
                client.download(_LIVE_PATH)
        except RequestError as error:
            ended = relay.obituary(wait_s=1)
            return ended or f"{relay.name} is running but lets nothing through: {error}{relay.last_words()}"
        return None

    def _ask(self, tier: str, path: str, otherwise: str) -> Mapping[str, Any]:
        """What a tier answers about itself; `otherwise` says in the error what it does not do."""
        server = self._servers[tier]
        try:
            with Client(_HOST, server.port, timeout_s=self._check_timeout_s) as client:
                said: dict[str, Any] = client.get(path)
        except RequestError as error:
            ended = server.obituary(wait_s=1)
            raise TierError(ended or f"tier {tier} {otherwise}: {error}{server.last_words()}") from None
        return said

    def _state(self, tier: str) -> TierState:
        limits = self._ask(tier, LIMITS_PATH, "does not say its limits")
        allotment = self._site.allotments[tier_of(tier)]
        cpus = (
            cpus_of_node(allotment, self._order.node_at(tier), own_cpus()) if hasattr(os, "sched_getaffinity") else None
        )
        turns = takes_turns(tier, allotment, self._order)
        return prove(tier, allotment, limits, cpus=cpus, memory=bool(self._groups[tier]), turns=turns)


def _check_loaded(order: Order, tier: str, server: Child) -> None:
    if order.name not in server.said().get("load_s", ()):
        raise TierError(f"tier {tier} has not loaded {order.name}{server.last_words()}")


def _memory_note(groups: Sequence[Path], allotment: Allotment) -> str:
    if not cgroups.memory_kills(groups):
        return ""
    return f", because it wanted more than its {allotment.memory_bytes} bytes of memory"
