"""The `docker` backend: each tier a container of its own, links held by their ends or shaped by the kernel.

The client sits with the origin tier, which has a container only where it computes or where the client cannot hold the
first link itself. A request goes on tier by tier: networks exist only where the topology has links, so mobile reaches
cloud through edge alone, and no tier reaches anything else. Between tiers on different engines (see `engines`) a link
leads through a port that the far one publishes, or through SSH, and the kernel shapes it. What runs is in
`container_deployment`, what a container is and how it is started in `tier_container`, how bytes leave it in `traffic`
and where they can go in `routes`.
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
from dataclasses import asdict
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from pytest_edgeai.tiers import engine, routes, traffic
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.backend import (
    BackendContext,
    DeploymentSpec,
    TierError,
    answer_timeout_s,
    server_arguments,
    takes_turns,
)
from pytest_edgeai.tiers.container_deployment import DockerDeployment, Run
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.engines import LOOPBACK, Engine, Engines
from pytest_edgeai.tiers.networks import Networks, entry_of
from pytest_edgeai.tiers.specs import tier_of
from pytest_edgeai.tiers.tier_container import (
    LINK_PORT,
    MODELS,
    NO_MODELS,
    TURNS,
    ContainerPlan,
    TierContainer,
    host_name,
)

PERIOD_US: Final = 10_000
_PIDS = 256  # processes and threads of a server beside those that compute
_PIDS_A_THREAD = 4
_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 60.0


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
        site: BackendContext,
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
        limits = "cpuset, quota" if self._site.topology.shaping == "kernel" else "cpuset"
        return (
            f"containers of {' and '.join(images)}, {'; '.join(versions)}, "
            f"{'; '.join(self._links())}, limits by {limits} and memory without swap"
        )

    def _links(self) -> Iterator[str]:
        if self._site.topology.shaping == "kernel":
            yield "links shaped by the kernel"
            return
        yield "links held at their receiving ends"
        if len(self._engines.all) > 1:
            yield "those between engines shaped by the kernel"

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
    def deploy(self, order: DeploymentSpec) -> Iterator[DockerDeployment]:
        """Start the containers of a placement, all at once, and shape the links that the kernel is to shape."""
        hops = order.way(self._site.topology)
        folders = {place: order.folder_of(place) for place in order.places}
        timeout_s = answer_timeout_s(hops, _ANSWER_TIMEOUT_S)
        number = next(self._numbers)
        origin, entry = self._engines.of(self._site.topology.origin), entry_of(order.node)
        in_reach = self._networks.is_in_reach(origin, entry)
        run = Run(self._site, self._engines, order, folders, hops, timeout_s, self._token, in_reach)
        self._find_tunnels(run)
        with run.forwarded, ThreadPoolExecutor(len(run.places)) as pool:
            try:
                # The far end of a link to another engine is reached by a port that is known once it runs.
                starting: dict[str, Future[None]] = {}
                for name in reversed(run.places):
                    starting[name] = pool.submit(self._start, run, name, number, starting)
                for future in starting.values():
                    future.result()
                list(pool.map(lambda name: self._confine(run, name), run.places))
                for place in folders:
                    if order.name not in run.containers[place].ready.get("load_s", ()):
                        raise TierError(f"tier {place} has not loaded {order.name}{run.containers[place].last_words()}")
                deployment = DockerDeployment(run, self._networks.of(origin, entry))
                try:
                    yield deployment
                finally:
                    deployment.close()
            finally:
                wait(starting.values())
                list(pool.map(TierContainer.stop, run.containers.values()))

    def _find_tunnels(self, run: Run) -> None:
        """Which links lead through SSH: from containers on this host to an engine that is reached so."""
        for hop in run.hops:
            near, far = (self._engines.of(tier_of(place)) for place in (hop.near, hop.far))
            if far.way is not None and near.is_here and run.crosses(hop):
                here = self._networks.gateway(near, hop.tiers)
                if routes.is_own_address(here):  # an engine in a virtual machine has its bridges there
                    run.listening[hop.name] = here

    def _start(self, run: Run, place: str, number: int, starting: Mapping[str, Future[None]]) -> None:
        for hop in run.links:
            if hop.near == place:
                if run.crosses(hop):
                    starting[hop.far].result()
                run.upstreams[hop.name] = run.address_of(hop)
        plan = self._plan(run, place, number)
        run.containers[place] = TierContainer(plan)
        run.containers[place].start()

    def _plan(self, run: Run, place: str, number: int) -> ContainerPlan:
        site, order, tier = self._site, run.order, tier_of(place)
        allotment, found = site.allotments[tier], self._engines.of(tier)
        entry = [entry_of(order.node)] if place == run.entry else []
        ends = [hop.tiers for hop in run.links if place in (hop.near, hop.far)]
        limits = _options(allotment, engine.labels(site.session_id), run.cpus(place), has_quota=run.has_quota)
        return ContainerPlan(
            tier=place,
            name=f"edgeai-{site.session_id}-{number}-{host_name(place)}",
            image=found.image,
            arguments=self._arguments(run, place),
            engine=found.options,
            options=limits,
            networks=[self._networks.of(found, name) for name in (*entry, *ends)],
            published_at=run.published_at(place),
            token=self._token,
            model=(order.name, run.folders[place]) if place in run.folders else None,
            start_timeout_s=self._start_timeout_s,
            falls_back=allotment.gpu == "prefer",
            turns=self._turns(found) if takes_turns(place, allotment, order) else None,
        )

    def _arguments(self, run: Run, place: str) -> list[str]:
        """The command line of a server."""
        arguments = ["--repository", MODELS if place in run.folders else NO_MODELS]
        arguments += server_arguments(place, self._site.allotments[tier_of(place)], run.order, run.timeout_s, TURNS)
        for hop in run.hops:
            shape = hop.link.shape.as_argument()
            if hop.far == place and run.holds(hop):
                arguments += ["--inbound-link", shape, "--inbound-port", str(LINK_PORT)]
            if hop.near == place:
                arguments += ["--link", hop.name, "--upstream", run.upstreams[hop.name]]
                if run.holds(hop):
                    arguments += ["--upstream-link", shape]
        if run.polls():
            arguments.append("--poll")
        return arguments

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

    def _confine(self, run: Run, place: str) -> None:
        """Leave a container only the ways that its links are, and shape those that its ends do not hold."""
        container, found = run.containers[place], self._engines.of(tier_of(place))
        ways = {}
        for hop in run.links:
            if hop.near == place and run.crosses(hop) and hop.name not in run.listening:
                there = run.published_at(hop.far)
                assert there is not None
                ways[there] = self._networks.gateway(found, hop.tiers)
        # Who comes in from another machine is answered over the default route; nothing else has to leave.
        others_come_in = container.plan.published_at not in (None, LOOPBACK)
        container.as_root(routes.confining_script(ways, answers_anybody=others_come_in))
        for hop in run.links:
            if place in (hop.near, hop.far) and not run.holds(hop):
                address = container.address(self._networks.of(found, hop.tiers))
                find = f"interface=$(ip -o -4 address | awk '$4 ~ \"^{address}/\" {{print $2}}')"
                commands = [" ".join(words) for words in traffic.shaping_commands("$interface", hop.link)]
                container.as_root("\n".join([find, *commands]))


def _options(
    allotment: Allotment, labels: Mapping[str, str], cpus: Sequence[int], *, has_quota: bool
) -> dict[str, Any]:
    """Limits of a container as the engine's interface names them."""
    from docker.types import DeviceRequest

    gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])] if allotment.gpu != "no" else None
    return {
        "device_requests": gpus,
        "labels": dict(labels),
        "cpuset_cpus": ",".join(map(str, cpus)),
        **({"cpu_period": PERIOD_US, "cpu_quota": allotment.cores * PERIOD_US} if has_quota else {}),
        "mem_limit": allotment.memory_bytes,
        "memswap_limit": allotment.memory_bytes,  # as much as memory alone: no swap
        # Whoever shapes links comes in as root and has this right. The server is not root, and the image has no program
        # that would make it so; no-new-privileges would take the right from root as well.
        "cap_drop": ["ALL"],
        "cap_add": ["NET_ADMIN"],
        "pids_limit": _PIDS + _PIDS_A_THREAD * allotment.threads,
    }
