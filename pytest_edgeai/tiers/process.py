"""The `process` backend, the embedded default: each tier a server process of its own, with links held by their ends.

It needs neither root nor a container engine. A message crosses a link at loopback's speed and is held at its receiving
end until the link would have delivered it (`pytest_edgeai.wire.links`). CPU and memory are limited by control groups
where those can be written, else by affinity and thread counts; the session's header names the one in use.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import secrets
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.tiers import cgroups, fork_server
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.backend import (
    BackendContext,
    DeploymentSpec,
    TierError,
    TierState,
    answer_timeout_s,
    server_arguments,
    takes_turns,
)
from pytest_edgeai.tiers.children import Child, environment, family
from pytest_edgeai.tiers.fork_server import ForkServer
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.proof import own_cpus, prove
from pytest_edgeai.tiers.sharing import cpus_of_node, leaves_a_core, servers_poll
from pytest_edgeai.tiers.specs import USUAL_ENGINE, Hop, tier_of
from pytest_edgeai.wire.client import Client, RequestError

_HOST = "127.0.0.1"
_LIVE_PATH = "/v2/health/live"
_TOKEN_FILE = "token"


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

    As a context manager it keeps a process that starts the servers (`pytest_edgeai.tiers.fork_server`), which takes a
    fraction of the time that each takes by itself.

    Parameters
    ----------
    site
        What it is made for.
    timeouts
        How long to wait.

    Raises
    ------
    TierError
        A tier is to run on a container engine, or the kernel is to shape links.
    """

    name: ClassVar[str] = "process"

    def __init__(self, site: BackendContext, timeouts: Timeouts = Timeouts()) -> None:
        for tier, spec in site.topology.tiers.items():
            if spec.engine != USUAL_ENGINE:
                raise TierError(f"tier {tier} names a container engine: that needs the backend docker")
        if site.topology.shaping != "held":
            raise TierError(
                f'topology.shaping is "{site.topology.shaping}", and links between processes are "held": that needs '
                "the backend docker"
            )
        self._site = site
        self._timeouts = timeouts
        self._numbers = itertools.count(1)
        self._token = secrets.token_urlsafe()
        self._forks: ForkServer | None = None
        self._why_no_cgroups = cgroups.writable(f"{site.session_id}-check")
        if self._why_no_cgroups is None:
            cgroups.sweep()

    def __enter__(self) -> Self:
        if fork_server.available():
            self._forks = ForkServer(environment(self._site.search_path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forks is not None:
            self._forks.close()
            self._forks = None

    def describe(self) -> str:
        """How tiers are run and limited."""
        if self._why_no_cgroups is None:
            limits = "control groups"
        elif hasattr(os, "sched_setaffinity"):
            limits = f"affinity and thread counts, memory unlimited: {self._why_no_cgroups}"
        else:
            limits = f"thread counts only: {self._why_no_cgroups}"
        return f"server processes, links held at their receiving ends, limits by {limits}"

    @contextlib.contextmanager
    def deploy(self, order: DeploymentSpec) -> Iterator[ProcessDeployment]:
        """Start the servers of a placement, one after the other: each has to know where the next one listens.

        So none is seen in how long another takes to load, either.
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
        token_file = folder / _TOKEN_FILE
        token_file.touch(mode=0o600)
        token_file.write_text(self._token, encoding="ascii")
        timeout_s = answer_timeout_s(hops, self._timeouts.answer_s)
        last = places[-1]
        # The near end of a link is a tier that runs a part, or hands requests on; the client is not among them.
        nears = [hop for hop in reversed(hops) if hop.near in places or hop.near != self._site.topology.origin]
        names = (last, *(hop.near for hop in nears))
        cores = self._cores(order, names)
        inbound = {hop.far: hop for hop in hops}
        with ExitStack() as stack:
            groups = {one: self._limit(stack, one, order, number) for one in names}
            children = stack.enter_context(family(self._timeouts.end_s))
            polls = servers_poll(order, cores, own_cpus())
            start_s, forks = self._timeouts.start_s, self._forks
            launch = _Launch(self._site, order, folder, groups, children, start_s, timeout_s, polls, forks)
            servers: dict[str, Child] = {}
            for name, onward in zip(names, (None, *nears), strict=True):
                server = launch.server(name, repositories.get(name, empty), inbound.get(name), onward, servers)
                servers[name] = server
                if name in places:
                    _check_loaded(order, name, server)
            yield ProcessDeployment(
                self._site, order, hops, servers, groups, cores, self._token, self._timeouts.check_s, timeout_s
            )

    def _cores(self, order: DeploymentSpec, places: Iterable[str]) -> dict[str, frozenset[int]]:
        """The cores of each server, where they can be set."""
        if not hasattr(os, "sched_getaffinity"):
            return dict.fromkeys(places, frozenset())
        return {
            place: frozenset(cpus_of_node(self._site.allotments[tier_of(place)], order.node_at(place), own_cpus()))
            for place in places
        }

    def _limit(self, stack: ExitStack, place: str, order: DeploymentSpec, number: int) -> tuple[Path, ...]:
        """Make the control group of a tier or node; nothing where there are none."""
        if self._why_no_cgroups is not None:
            return ()
        allotment = self._site.allotments[tier_of(place)]
        limit = cgroups.Limit(cpus_of_node(allotment, order.node_at(place), own_cpus()), allotment.memory_bytes)
        try:
            return stack.enter_context(cgroups.limited(f"{self._site.session_id}-{number}-{place}", limit))
        except cgroups.CgroupError as error:
            raise TierError(f"tier {place} cannot be limited: {error}") from None


@dataclass(frozen=True, slots=True)
class _Launch:
    """A deployment that is being started."""

    site: BackendContext
    order: DeploymentSpec
    folder: Path
    groups: Mapping[str, Sequence[Path]]
    children: list[Child]
    start_timeout_s: float
    answer_timeout_s: float
    polls: bool
    forks: ForkServer | None

    def server(
        self, place: str, repository: Path, inbound: Hop | None, onward: Hop | None, started: Mapping[str, Child]
    ) -> Child:
        """Start the server of a tier or node, limited before it has threads or memory worth the name.

        Parameters
        ----------
        place
            Its name.
        repository
            What it serves.
        inbound
            The link over which requests come to it, or None.
        onward
            The link over which it hands requests on, or None.
        started
            The servers that run already, the one at the far end of `onward` among them.
        """
        allotment, groups = self.site.allotments[tier_of(place)], self.groups[place]
        command = ["pytest_edgeai.serving", "--repository", str(repository)]
        command += ["--token-file", str(self.folder / _TOKEN_FILE)]
        if inbound is not None:
            command += ["--inbound-link", inbound.link.shape.as_argument()]
        if onward is not None:
            port = started[onward.far].said()["link_port"]
            command += ["--link", onward.name, "--upstream", f"{_HOST}:{port}"]
            command += ["--upstream-link", onward.link.shape.as_argument()]
        if self.polls:
            command.append("--poll")
        command += server_arguments(place, allotment, self.order, self.answer_timeout_s, str(self.site.folder))
        explain = functools.partial(_memory_note, groups, allotment)
        server = Child(
            f"tier {place}", command, self.folder, self.start_timeout_s, explain, self.forks, self.site.search_path
        )
        self.children.append(server)
        try:
            if groups:
                cgroups.add(groups, server.pid)
            elif hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, cpus_of_node(allotment, self.order.node_at(place), own_cpus()))
        except OSError as error:
            raise TierError(server.exit_reason(wait_s=1) or f"tier {place} cannot be limited: {error}") from None
        server.begin()
        return server


class ProcessDeployment:
    """Servers that are running.

    Parameters
    ----------
    site, order, hops
        What was deployed where, and the way to it.
    servers
        By tier or node.
    groups
        The control groups by tier or node, empty where there are none.
    cores
        The cores of this host by tier or node, empty where they cannot be set.
    token
        What requests must carry.
    check_timeout_s, answer_timeout_s
        How long to wait for a sign of life and for an answer.
    """

    def __init__(
        self,
        site: BackendContext,
        order: DeploymentSpec,
        hops: tuple[Hop, ...],
        servers: Mapping[str, Child],
        groups: Mapping[str, Sequence[Path]],
        cores: Mapping[str, frozenset[int]],
        token: str,
        check_timeout_s: float,
        answer_timeout_s: float,
    ) -> None:
        self.hops = hops
        self.cores = frozenset(itertools.chain.from_iterable(cores.values()))
        self._site = site
        self._order = order
        self._servers = servers
        self._groups = groups
        self._token = token
        self._check_timeout_s = check_timeout_s
        self._answer_timeout_s = answer_timeout_s

    def client(self) -> Client:
        """A new connection to the model, from the origin over all links."""
        first = self.hops[0].near if self.hops else self._order.places[0]
        hop = None if first in self._servers else self.hops[0]
        polls = self._order.node is None and leaves_a_core(self.cores, own_cpus())
        return self._connect(first if hop is None else hop.far, hop, self._answer_timeout_s, polls=polls)

    def kill(self, place: str) -> None:
        """End the server of a tier or node as a crash would; for experiments on availability."""
        os.kill(self._servers[place].pid, signal.SIGKILL)

    def probe(self, hop: Hop) -> ProbeConnections:
        """New connections over one link only, and to its far end without it."""
        timeout_s, polls = self._answer_timeout_s, leaves_a_core(self.cores, own_cpus())
        return ProbeConnections(
            self._connect(hop.far, hop, timeout_s, polls=polls), self._connect(hop.far, None, timeout_s, polls=polls)
        )

    def _connect(self, place: str, hop: Hop | None, timeout_s: float, *, polls: bool = False) -> Client:
        """A new connection to a server, over a link or without."""
        server = self._servers[place]
        return Client(
            _HOST,
            server.port if hop is None else server.said()["link_port"],
            place=self._site.topology.origin,
            link="" if hop is None else hop.name,
            token=self._token,
            timeout_s=timeout_s,
            wire=self._order.wire,
            held_link=None if hop is None else hop.link.shape,
            polls=polls,
        )

    def states(self) -> tuple[TierState, ...]:
        """What the tiers say of themselves, checked against what they were given."""
        return tuple(map(self._state, self._servers))

    def reference(self) -> dict[str, Mapping[str, Any]]:
        """What a fixed computation takes now on each tier that runs the model."""
        return {place: self._ask(place, REFERENCE_PATH, "does not compute") for place in self._order.places}

    def diagnose(self) -> str | None:
        """A sentence about a process that has ended or does not answer."""
        checks = itertools.chain(
            (server.exit_reason() for server in self._servers.values()),
            itertools.starmap(self._silence, self._servers.items()),
        )
        return next(filter(None, checks), None)

    def _silence(self, place: str, server: Child) -> str | None:
        try:
            with self._connect(place, None, self._check_timeout_s) as client:
                client.download(_LIVE_PATH)
        except RequestError as error:
            ended = server.exit_reason(wait_s=1)
            return ended or f"{server.name} is running but does not answer: {error}{server.last_words()}"
        return None

    def _ask(self, tier: str, path: str, otherwise: str) -> Mapping[str, Any]:
        """What a tier answers about itself; `otherwise` says in the error what it does not do."""
        server = self._servers[tier]
        try:
            with self._connect(tier, None, self._check_timeout_s) as client:
                said: dict[str, Any] = client.get(path)
        except RequestError as error:
            ended = server.exit_reason(wait_s=1)
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


def _check_loaded(order: DeploymentSpec, tier: str, server: Child) -> None:
    if order.name not in server.said().get("load_s", ()):
        raise TierError(f"tier {tier} has not loaded {order.name}{server.last_words()}")


def _memory_note(groups: Sequence[Path], allotment: Allotment) -> str:
    if not cgroups.memory_kills(groups):
        return ""
    return f", because it wanted more than its {allotment.memory_bytes} bytes of memory"
