"""The `docker` backend: each tier a container of its own, links between them shaped by the kernel.

A request goes from the client into the container of the origin tier and from there on, tier by tier: networks exist
only where the topology has links, so mobile reaches cloud through edge alone, and no tier reaches anything else.
Between tiers on different engines (see `engines`) a link leads through a port that the far one publishes, or through
SSH. What a container is and how it is started is in `tier_container`, how bytes leave it in `traffic` and where they
can go in `routes`; what is asked from inside it goes through `questions`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from pytest_edgeai.measure.client import Client, RequestError
from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.tiers import engine, routes, traffic
from pytest_edgeai.tiers.backend import Order, Site, TierError, TierState, server_arguments, takes_turns
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.engines import LOOPBACK, Engine, Engines
from pytest_edgeai.tiers.networks import ENTRY, Networks
from pytest_edgeai.tiers.probe import ProbeLines
from pytest_edgeai.tiers.proof import prove
from pytest_edgeai.tiers.questions import Questions
from pytest_edgeai.tiers.sharing import cpus_of_node
from pytest_edgeai.tiers.specs import Allotment, Hop, tier_of
from pytest_edgeai.tiers.tier_container import MODELS, NO_MODELS, PORT, TURNS, ContainerPlan, TierContainer, host_name

PERIOD_US: Final = 10_000
_PIDS = 256  # processes and threads of a server beside those that compute
_PIDS_A_THREAD = 4
_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 60.0
_SLOW_BPS = 1e6


class DockerBackend:
    """Tiers as containers. A context manager: its networks are gone when it is left, and with this process.

    Parameters
    ----------
    site
        What it is made for.
    start_timeout_s
        How long a container may take to be ready.

    Raises
    ------
    TierError
        No engine answers, or the tier image cannot be had.
    """

    name: ClassVar[str] = "docker"

    def __init__(
        self,
        site: Site,
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        self._site = site
        self._engines = Engines(site)
        self._token = secrets.token_urlsafe()
        self._start_timeout_s = start_timeout_s
        self._numbers = itertools.count(1)
        self._networks = Networks(site, self._engines)
        self._watchdog: subprocess.Popen[bytes] | None = None

    def describe(self) -> str:
        """How tiers are run and limited."""
        versions = []
        for one in self._engines.all:
            version = one.client.version()
            where = "" if one.is_usual else f" at {one.address}"
            versions.append(f"engine {version.get('Version')}{where}, kernel {version.get('KernelVersion')}")
        images = dict.fromkeys(one.image for one in self._engines.all)
        return (
            f"containers of {' and '.join(images)}, {'; '.join(versions)}, links shaped by the kernel, "
            "limits by cpuset, quota and memory without swap"
        )

    def __enter__(self) -> Self:
        addresses = [one.address for one in self._engines.all]
        for one in self._engines.all:
            if one.is_usual:
                engine.leave_cleaning_to_ryuk_if_there(one.client)
        command = [sys.executable, "-P", "-m", "pytest_edgeai.tiers.watchdog", self._site.session_id]
        command.append(json.dumps([asdict(address) for address in addresses]))
        self._watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        try:
            self._engines.hold_images()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._engines.all:
            with contextlib.suppress(EngineError):
                engine.remove(one.client, self._site.session_id)
        self._engines.close()
        self._networks.forget()
        if self._watchdog is not None:
            self._watchdog.kill()  # there is nothing left for it to do
            self._watchdog.communicate()

    @contextlib.contextmanager
    def deploy(self, order: Order) -> Iterator[DockerDeployment]:
        """Start the containers of a placement, all at once, and shape the links between them."""
        hops = order.way(self._site.topology)
        folders = {place: order.folder_of(place) for place in order.places}
        timeout_s = _answer_timeout_s(hops)
        number = next(self._numbers)
        run = _Run(self._site, self._engines, order, folders, hops, timeout_s, self._token)
        places = tuple(dict.fromkeys((run.entry, *(hop.far for hop in hops))))
        self._find_tunnels(run)
        with run.forwarded, ThreadPoolExecutor(len(places)) as pool:
            try:
                # The far end of a link to another engine is reached by a port that is known once it runs.
                starting: dict[str, Future[None]] = {}
                for name in reversed(places):
                    starting[name] = pool.submit(self._start, run, name, number, starting)
                for future in starting.values():
                    future.result()
                list(pool.map(lambda name: self._confine(run, name), places))
                for place in folders:
                    if order.name not in run.containers[place].ready.get("load_s", ()):
                        raise TierError(f"tier {place} has not loaded {order.name}{run.containers[place].last_words()}")
                deployment = DockerDeployment(run)
                try:
                    yield deployment
                finally:
                    deployment.close()
            finally:
                wait(starting.values())
                list(pool.map(TierContainer.stop, run.containers.values()))

    def _find_tunnels(self, run: _Run) -> None:
        """Which links lead through SSH: from containers on this host to an engine that is reached so."""
        for hop in run.hops:
            near, far = (self._engines.of(tier_of(place)) for place in (hop.near, hop.far))
            if far.way is not None and near.is_here and run.crosses(hop):
                here = self._networks.gateway(near, hop.tiers)
                if routes.is_own_address(here):  # an engine in a virtual machine has its bridges there
                    run.listening[hop.name] = here

    def _start(self, run: _Run, place: str, number: int, starting: Mapping[str, Future[None]]) -> None:
        for hop in run.hops:
            if hop.near == place:
                if run.crosses(hop):
                    starting[hop.far].result()
                run.upstreams[hop.name] = run.address_of(hop)
        plan = self._plan(run, place, number)
        run.containers[place] = TierContainer(plan)
        run.containers[place].start()

    def _plan(self, run: _Run, place: str, number: int) -> ContainerPlan:
        site, order, tier = self._site, run.order, tier_of(place)
        allotment, is_entry = site.allotments[tier], place == run.entry
        found = self._engines.of(tier)
        repository = MODELS if place in run.folders else NO_MODELS
        arguments = ["--repository", repository, *server_arguments(place, allotment, order, run.timeout_s, TURNS)]
        for hop in run.hops:
            if hop.near == place:
                arguments += ["--link", hop.name, "--upstream", run.upstreams[hop.name]]
        ends = [hop for hop in run.hops if place in (hop.near, hop.far)]
        comes_in = is_entry or any(hop.far == place and run.crosses(hop) for hop in ends)
        cpus = cpus_of_node(allotment, order.node_at(place), found.cpus)
        return ContainerPlan(
            tier=place,
            name=f"edgeai-{site.session_id}-{number}-{host_name(place)}",
            image=found.image,
            arguments=arguments,
            engine=found.options,
            options=_options(allotment, engine.labels(site.session_id), cpus),
            networks=[
                *([self._networks.of(found, ENTRY)] if is_entry else []),
                *(self._networks.of(found, hop.tiers) for hop in ends),
            ],
            published_at=run.published_at(place) if comes_in else None,
            token=self._token,
            model=(order.name, run.folders[place]) if place in run.folders else None,
            start_timeout_s=self._start_timeout_s,
            falls_back=allotment.gpu == "prefer",
            turns=self._turns(found) if takes_turns(place, allotment, order) else None,
        )

    def _turns(self, found: Engine) -> str:
        """The volume on which nodes take turns, made when it is first needed."""
        from docker.errors import DockerException
        from requests import RequestException

        name = f"edgeai-{self._site.session_id}-turns"
        try:
            found.client.volumes.create(name, labels=engine.labels(self._site.session_id))
        except (DockerException, RequestException) as error:
            raise TierError(f"volume {name} cannot be made: {first_line(error)}") from None
        return name

    def _confine(self, run: _Run, place: str) -> None:
        """Leave a container only the ways that its links are, and shape these."""
        container, found = run.containers[place], self._engines.of(tier_of(place))
        ways = {}
        for hop in run.hops:
            if hop.near == place and run.crosses(hop) and hop.name not in run.listening:
                ways[run.published_at(hop.far)] = self._networks.gateway(found, hop.tiers)
        # Who comes in from another machine is answered over the default route; nothing else has to leave.
        others_come_in = container.plan.published_at not in (None, LOOPBACK)
        container.as_root(routes.confining_script(ways, answers_anybody=others_come_in))
        for hop in run.hops:
            if place in (hop.near, hop.far):
                address = container.address(self._networks.of(found, hop.tiers))
                find = f"interface=$(ip -o -4 address | awk '$4 ~ \"^{address}/\" {{print $2}}')"
                commands = [" ".join(words) for words in traffic.shaping_commands("$interface", hop.link)]
                container.as_root("\n".join([find, *commands]))


@dataclass(frozen=True, slots=True)
class _Run:
    """A deployment: what runs where, and what is known of it once it has been started."""

    site: Site
    engines: Engines
    order: Order
    folders: Mapping[str, Path]
    hops: tuple[Hop, ...]
    timeout_s: float
    token: str
    containers: dict[str, TierContainer] = field(default_factory=dict)
    upstreams: dict[str, str] = field(default_factory=dict)
    listening: dict[str, str] = field(default_factory=dict)
    """Links that lead through SSH, by name, and the address of this host where their near end finds them."""
    forwarded: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def entry(self) -> str:
        """Where the client's requests come in: the origin, or one of its nodes that runs the model itself."""
        return self.hops[0].near if self.hops else self.order.places[0]

    def crosses(self, hop: Hop) -> bool:
        """Whether a link leads from one engine to another."""
        return self.engines.of(tier_of(hop.near)).address != self.engines.of(tier_of(hop.far)).address

    def published_at(self, place: str) -> str:
        """The address of an engine's machine at which a place is reached from outside of the engine."""
        if any(hop.far == place and hop.name in self.listening for hop in self.hops):
            return LOOPBACK
        return self.engines.published_at(tier_of(place), by_the_client=place == self.entry)

    def address_of(self, hop: Hop) -> str:
        """Where the far end of a link answers, as seen from its near end."""
        if not self.crosses(hop):
            return f"{host_name(hop.far)}:{PORT}"
        host, port = self.published_at(hop.far), self.containers[hop.far].port()
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
    """

    def __init__(self, run: _Run) -> None:
        self.hops = run.hops
        self.cores: frozenset[int] = frozenset()
        self.containers: Mapping[str, TierContainer] = run.containers
        self._run = run
        self._way_in = (
            run.engines.published_at(tier_of(run.entry), by_the_client=True),
            self.containers[run.entry].port(),
        )
        if run.engines.of(tier_of(run.entry)).way is not None:
            self._way_in = LOOPBACK, run.forward(run.entry, *self._way_in)
        self._questions: dict[str, Questions] = {}

    def close(self) -> None:
        """End what asks inside the containers."""
        for questions in self._questions.values():
            questions.close()

    def client(self) -> Client:
        """A new connection to the model: into the origin's container, which hands on what is not for it."""
        run, (host, port) = self._run, self._way_in
        origin = run.site.topology.origin
        return Client(host, port, place=origin, token=run.token, timeout_s=run.timeout_s, wire=run.order.wire)

    def probe(self, hop: Hop) -> ProbeLines:
        """New connections from inside the near end of a link: over it only, and to that end's own server."""
        inside = self._ask_in(hop.near)
        return ProbeLines(inside.line(self._run.upstreams[hop.name]), inside.line(f"localhost:{PORT}"))

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
            ended = container.obituary()
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
            ended = self.containers[tier].obituary()
            raise TierError(ended or f"tier {tier} {otherwise}: {error}") from None
        return said

    def _state(self, tier: str) -> TierState:
        limits = self._ask(tier, LIMITS_PATH, "does not say its limits")
        order, allotment = self._run.order, self._run.site.allotments[tier_of(tier)]
        cpus = cpus_of_node(allotment, order.node_at(tier), self._run.engines.of(tier_of(tier)).cpus)
        turns = takes_turns(tier, allotment, order)
        return prove(tier, allotment, limits, cpus=cpus, memory=True, turns=turns, quota_cores=float(allotment.cores))

    def _ask_in(self, tier: str) -> Questions:
        from docker.errors import DockerException
        from requests import RequestException

        if tier not in self._questions:
            container, run = self.containers[tier], self._run
            try:
                interface = run.engines.of(tier_of(tier)).client.api
                self._questions[tier] = Questions(interface, container.inner, run.timeout_s, run.token)
            except (DockerException, RequestException, OSError) as error:
                raise TierError(
                    container.obituary() or f"nothing can be asked in tier {tier}: {first_line(error)}"
                ) from None
        return self._questions[tier]


def _options(allotment: Allotment, labels: Mapping[str, str], cpus: Sequence[int]) -> dict[str, Any]:
    """Limits of a container as the engine's interface names them."""
    from docker.types import DeviceRequest

    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if allotment.gpu != "no" else None
    return {
        "device_requests": gpus,
        "labels": dict(labels),
        "cpuset_cpus": ",".join(map(str, cpus)),
        "cpu_period": PERIOD_US,
        "cpu_quota": allotment.cores * PERIOD_US,
        "mem_limit": allotment.memory_bytes,
        "memswap_limit": allotment.memory_bytes,  # as much as memory alone: no swap
        # Whoever shapes links comes in as root and has this right. The server is not root, and the image has no program
        # that would make it so; no-new-privileges would take the right from root as well.
        "cap_drop": ["ALL"],
        "cap_add": ["NET_ADMIN"],
        "pids_limit": _PIDS + _PIDS_A_THREAD * allotment.threads,
    }


def _answer_timeout_s(hops: Sequence[Hop]) -> float:
    """A link below 1 Mbit/s makes it longer in proportion."""
    slowest_bps = min((hop.link.rate_bps for hop in hops), default=_SLOW_BPS)
    return _ANSWER_TIMEOUT_S * max(1.0, _SLOW_BPS / slowest_bps) + 2 * sum(hop.link.delay_s for hop in hops)
