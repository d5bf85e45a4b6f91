"""The `docker` backend: each tier a container of its own, links between them shaped by the kernel.

A request goes from the client into the container of the origin tier and from there on, tier by tier: networks exist
only where the topology has links, so mobile reaches cloud through edge alone. What a container is and how it is started
is in `tier_container`, how bytes leave it in `traffic`; what is asked from inside it goes through `questions`.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pytest_edgeai.measure.client import Client, RequestError
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.serving.server import LIMITS_PATH
from pytest_edgeai.tiers import engine, traffic
from pytest_edgeai.tiers.backend import Order, Site, TierError, TierState, server_arguments
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.image import ensure_image
from pytest_edgeai.tiers.proof import cpus_of, prove
from pytest_edgeai.tiers.questions import ProbedLine, Questions
from pytest_edgeai.tiers.specs import Allotment, Hop
from pytest_edgeai.tiers.tier_container import MODELS, PORT, ContainerPlan, TierContainer

if TYPE_CHECKING:
    from testcontainers.core.network import Network

    from docker import DockerClient

PERIOD_US: Final = 10_000
_HOST = "127.0.0.1"
_ENTRY = "entry"
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
        self._engine = engine.connect()
        left_over = engine.sweep(self._engine)
        if left_over:
            site.note(f"removed what a killed session left behind: {', '.join(left_over)}")
        self.image = ensure_image(self._engine, site.image, site.note)
        self._start_timeout_s = start_timeout_s
        self._numbers = itertools.count(1)
        self._networks: dict[str, Network] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None

    def describe(self) -> str:
        """How tiers are run and limited."""
        version = self._engine.version()
        return (
            f"containers of {self.image}, engine {version.get('Version')}, links shaped by the kernel "
            f"{version.get('KernelVersion')}, limits by cpuset, quota and memory without swap"
        )

    def __enter__(self) -> Self:
        engine.leave_cleaning_to_ryuk_if_there(self._engine)
        command = [sys.executable, "-P", "-m", "pytest_edgeai.tiers.watchdog", self._site.session_id]
        self._watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(EngineError):
            engine.remove(self._engine, self._site.session_id)
        self._networks.clear()
        if self._watchdog is not None:
            self._watchdog.kill()  # there is nothing left for it to do
            self._watchdog.communicate()

    @contextlib.contextmanager
    def deploy(self, order: Order) -> Iterator[DockerDeployment]:
        """Start the containers of a placement, all at once, and shape the links between them."""
        if len(order.placement.tiers) != 1:
            raise TierError(f"placement {order.placement}: an artifact in one part runs on one tier")
        tier = order.placement.tiers[0]
        if not (order.folder / GRAPH_NAME).is_file():
            raise TierError(f"tier {tier} cannot serve {order.name}: there is no {order.folder / GRAPH_NAME}")
        hops = self._site.topology.route(tier)
        timeout_s = _answer_timeout_s(hops)
        number = next(self._numbers)
        containers = {
            name: TierContainer(self._plan(name, order, hops, number, timeout_s))
            for name in dict.fromkeys((self._site.topology.origin, *(hop.far for hop in hops)))
        }
        with ThreadPoolExecutor(len(containers)) as pool:
            try:
                list(pool.map(TierContainer.start, containers.values()))
                list(pool.map(lambda name: self._shape(containers[name], name, hops), containers))
                if order.name not in containers[tier].ready.get("load_s", ()):
                    raise TierError(f"tier {tier} has not loaded {order.name}{containers[tier].last_words()}")
                deployment = DockerDeployment(self._engine, self._site, order, hops, containers, timeout_s)
                try:
                    yield deployment
                finally:
                    deployment.close()
            finally:
                list(pool.map(TierContainer.stop, containers.values()))

    def _plan(self, tier: str, order: Order, hops: Sequence[Hop], number: int, timeout_s: float) -> ContainerPlan:
        site, allotment = self._site, self._site.allotments[tier]
        is_origin, runs = tier == site.topology.origin, tier == order.placement.tiers[0]
        arguments = ["--repository", MODELS, *server_arguments(tier, allotment, order, timeout_s)]
        for hop in hops:
            if hop.near == tier:
                arguments += ["--link", hop.name, "--upstream", f"{hop.far}:{PORT}"]
        names = [_ENTRY] if is_origin else []
        names += [hop.name for hop in hops if tier in (hop.near, hop.far)]
        return ContainerPlan(
            tier=tier,
            name=f"edgeai-{site.session_id}-{number}-{tier}",
            image=self.image,
            arguments=arguments,
            options=_options(allotment, engine.labels(site.session_id)),
            networks=[self._network(name) for name in names],
            published=is_origin,
            model=(order.name, order.folder.absolute()) if runs else None,
            start_timeout_s=self._start_timeout_s,
            falls_back=allotment.gpu == "prefer",
        )

    def _network(self, name: str) -> Network:
        """A network of the session, made when it is first needed."""
        from docker.errors import DockerException
        from requests import RequestException
        from testcontainers.core.network import Network

        if name not in self._networks:
            # Only the entry has a way to this host; from a link there is none to anywhere else.
            options = {"labels": engine.labels(self._site.session_id), "internal": name != _ENTRY}
            network = Network(docker_network_kw=options)
            network.name = f"edgeai-{self._site.session_id}-{name}"
            try:
                self._networks[name] = network.create()
            except (DockerException, RequestException) as error:
                raise TierError(f"network {name} cannot be made: {first_line(error)}") from None
        return self._networks[name]

    def _shape(self, container: TierContainer, tier: str, hops: Sequence[Hop]) -> None:
        for hop in hops:
            if tier in (hop.near, hop.far):
                address = container.address(self._networks[hop.name])
                find = f"interface=$(ip -o -4 address | awk '$4 ~ \"^{address}/\" {{print $2}}')"
                commands = [" ".join(words) for words in traffic.shaping_commands("$interface", hop.link)]
                container.as_root("\n".join([find, *commands]))


class DockerDeployment:
    """Containers that are running.

    Parameters
    ----------
    client
        Of the engine.
    site, order, hops
        What was deployed where, and the way to it.
    containers
        By tier.
    timeout_s
        How long to wait for an answer.
    """

    def __init__(
        self,
        client: DockerClient,
        site: Site,
        order: Order,
        hops: tuple[Hop, ...],
        containers: Mapping[str, TierContainer],
        timeout_s: float,
    ) -> None:
        self.hops = hops
        self._engine = client
        self.containers = containers
        self._site = site
        self._order = order
        self._timeout_s = timeout_s
        self._questions: dict[str, Questions] = {}

    def close(self) -> None:
        """End what asks inside the containers."""
        for questions in self._questions.values():
            questions.close()

    def client(self) -> Client:
        """A new connection to the model: into the origin's container, which hands on what is not for it."""
        origin = self._site.topology.origin
        port = self.containers[origin].port()
        return Client(_HOST, port, place=origin, timeout_s=self._timeout_s, wire=self._order.wire)

    def probe(self, hop: Hop) -> ProbedLine:
        """A new connection over one link only, from inside its near end."""
        return self._ask_in(hop.near).line(f"{hop.far}:{PORT}")

    def states(self) -> tuple[TierState, ...]:
        """What the tiers say of themselves, checked against what they were given."""
        runs = self._order.placement.tiers[0]
        names = sorted(self.containers, key=lambda name: name != runs)  # the one that runs the model first
        return tuple(self._state(name) for name in names)

    def diagnose(self) -> str | None:
        """A sentence about a container that has ended or does not answer."""
        for container in self.containers.values():
            ended = container.obituary()
            if ended is not None:
                return ended
        return None

    def _state(self, tier: str) -> TierState:
        try:
            limits = self._ask_in(tier).ask(f"localhost:{PORT}", "GET", LIMITS_PATH)["document"]
        except (RequestError, KeyError) as error:
            ended = self.containers[tier].obituary()
            raise TierError(ended or f"tier {tier} does not say its limits: {error}") from None
        allotment = self._site.allotments[tier]
        cores = float(allotment.cores)
        return prove(tier, allotment, limits, cpus=cpus_of(allotment), memory=True, quota_cores=cores)

    def _ask_in(self, tier: str) -> Questions:
        from docker.errors import DockerException
        from requests import RequestException

        if tier not in self._questions:
            container = self.containers[tier]
            try:
                self._questions[tier] = Questions(self._engine.api, container.inner, self._timeout_s)
            except (DockerException, RequestException, OSError) as error:
                raise TierError(
                    container.obituary() or f"nothing can be asked in tier {tier}: {first_line(error)}"
                ) from None
        return self._questions[tier]


def _options(allotment: Allotment, labels: Mapping[str, str]) -> dict[str, Any]:
    """Limits of a container as the engine's interface names them."""
    from docker.types import DeviceRequest

    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if allotment.gpu != "no" else None
    return {
        "device_requests": gpus,
        "labels": dict(labels),
        "cpuset_cpus": ",".join(map(str, cpus_of(allotment))),
        "cpu_period": PERIOD_US,
        "cpu_quota": allotment.cores * PERIOD_US,
        "mem_limit": allotment.memory_bytes,
        "memswap_limit": allotment.memory_bytes,  # as much as memory alone: no swap
        # Whoever shapes links comes in as root and has this right. The server is not root, and the image has no program
        # that would make it so; no-new-privileges would take the right from root as well.
        "cap_drop": ["ALL"],
        "cap_add": ["NET_ADMIN"],
    }


def _answer_timeout_s(hops: Sequence[Hop]) -> float:
    """A link below 1 Mbit/s makes it longer in proportion."""
    slowest_bps = min((hop.link.rate_bps for hop in hops), default=_SLOW_BPS)
    return _ANSWER_TIMEOUT_S * max(1.0, _SLOW_BPS / slowest_bps) + 2 * sum(hop.link.delay_s for hop in hops)
