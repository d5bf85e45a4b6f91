"""The `process` backend, the embedded default: each tier a server process of its own, each link a relay process.

It needs neither root nor a container engine. CPU and memory are limited by control groups where those can be
written, else by affinity and thread counts, and it says which.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pytest_edgeai.measure.client import Client, RequestError
from pytest_edgeai.serving.server import LIMITS_PATH
from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.backend import Order, Site, TierError, TierState
from pytest_edgeai.tiers.specs import Allotment, Hop

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 5.0
_LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class _Child:
    """A server or relay that said it is ready."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    said: Mapping[str, Any]

    def obituary(self) -> str | None:
        """A sentence if it has ended."""
        code = self.process.poll()
        if code is None:
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}{_tail(self.log)}"


class ProcessBackend:
    """Tiers as processes of this host.

    Parameters
    ----------
    site
        What it is made for.
    """

    name: ClassVar[str] = "process"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._why_no_cgroups = cgroups.writable(f"edgeai-{site.session_id}-check")
        self._count = 0
        for link_name, link in site.topology.links.items():
            if link.loss or link.jitter_s:
                raise TierError(
                    f"link {link_name}: the process backend cannot lose packets or jitter; set loss and jitter to 0"
                )

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
    def deploy(self, order: Order) -> Iterator[_ProcessDeployment]:
        """Start the servers and relays of a placement, the farthest first."""
        if len(order.placement.tiers) != 1:
            raise TierError(f"placement {order.placement}: an artifact in one part runs on one tier")
        tier = order.placement.tiers[0]
        hops = self._site.topology.route(tier)
        self._count += 1
        folder = self._site.folder / f"deployment-{self._count}"
        with ExitStack() as stack:
            models = folder / "models"
            models.mkdir(parents=True)
            (models / order.name).symlink_to(order.folder, target_is_directory=True)
            server = self._serve(stack, folder, tier, models, order, None)
            children, servers, links = [server], {tier: server}, {}
            for number, hop in reversed(list(enumerate(hops))):
                relay = self._relay(stack, folder, hop, children[-1].port)
                children.append(relay)
                links[hop.name] = relay
                if number > 0:  # the near end of this link is a tier on the way, which hands requests on
                    empty = folder / f"no-models-{hop.near}"
                    empty.mkdir()
                    gateway = self._serve(stack, folder, hop.near, empty, order, (hop.name, relay.port))
                    children.append(gateway)
                    servers[hop.near] = gateway
            yield _ProcessDeployment(self._site, order, hops, children, servers, links, self._why_no_cgroups)

    def _serve(
        self,
        stack: ExitStack,
        folder: Path,
        tier: str,
        models: Path,
        order: Order,
        upstream: tuple[str, int] | None,
    ) -> _Child:
        allotment = self._site.allotments[tier]
        command = ["pytest_edgeai.serving", "--repository", str(models), "--tier", tier, "--session", order.session]
        command += ["--threads", str(allotment.threads), "--compute-scale", repr(allotment.compute_scale)]
        if upstream is not None:
            command += ["--link", upstream[0], "--upstream", f"{_HOST}:{upstream[1]}"]
        groups: tuple[Path, ...] = ()
        if self._why_no_cgroups is None:
            limit = cgroups.Limit(_cpus(allotment), allotment.memory_bytes)
            name = f"edgeai-{self._site.session_id}-{self._count}-{tier}"
            groups = stack.enter_context(cgroups.limited(name, limit))
        return self._start(stack, folder, f"tier {tier}", command, allotment, groups)

    def _relay(self, stack: ExitStack, folder: Path, hop: Hop, target_port: int) -> _Child:
        command = ["pytest_edgeai.tiers.relay", "--target", f"{_HOST}:{target_port}"]
        command += ["--rate-bps", repr(hop.link.rate_bps), "--delay-s", repr(hop.link.delay_s)]
        return self._start(stack, folder, f"link {hop.name}", command, None, ())

    def _start(
        self,
        stack: ExitStack,
        folder: Path,
        name: str,
        command: list[str],
        allotment: Allotment | None,
        groups: tuple[Path, ...],
    ) -> _Child:
        log = folder / f"{name.replace(' ', '-')}.log"
        errors = stack.enter_context(log.open("w", encoding="utf-8"))
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--exit-with-parent"],
            stdin=subprocess.PIPE,  # it ends when this end is closed, also by our death
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        stack.callback(_end, process)
        if groups:
            cgroups.add(groups, process.pid)
        elif allotment is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, _cpus(allotment))  # before it has threads
        said = _first_line(process, name, log)
        return _Child(name, process, said["port"], log, said)


class _ProcessDeployment:
    """Servers and relays that are running."""

    def __init__(
        self,
        site: Site,
        order: Order,
        hops: tuple[Hop, ...],
        children: list[_Child],
        servers: Mapping[str, _Child],
        links: Mapping[str, _Child],
        why_no_cgroups: str | None,
    ) -> None:
        self.hops = hops
        self._site = site
        self._order = order
        self._children = children
        self._servers = servers
        self._links = links
        self._why_no_cgroups = why_no_cgroups

    def client(self) -> Client:
        """A new connection to the model, from the origin over all links."""
        link = self.hops[0].name if self.hops else ""
        place = self._site.topology.origin
        return Client(_HOST, self._children[-1].port, place=place, link=link, wire=self._order.wire)

    def probe(self, hop: Hop) -> Client:
        """A new connection over one link only."""
        return Client(_HOST, self._links[hop.name].port)

    def states(self) -> tuple[TierState, ...]:
        """What the tiers say of themselves, checked against what they were given."""
        return tuple(self._state(tier, server) for tier, server in self._servers.items())

    def diagnose(self) -> str | None:
        """A sentence about a process that has ended."""
        return next(filter(None, (child.obituary() for child in self._children)), None)

    def _state(self, tier: str, server: _Child) -> TierState:
        try:
            with Client(_HOST, server.port) as client:
                limits = client.get(LIMITS_PATH)
        except RequestError as error:
            raise TierError(server.obituary() or f"tier {tier} does not say its limits: {error}") from None
        allotment = self._site.allotments[tier]
        expected: dict[str, object] = {"threads": allotment.threads, "compute_scale": allotment.compute_scale}
        unproven = []
        if hasattr(os, "sched_getaffinity"):
            expected["cpus"] = _cpus(allotment)
        else:
            unproven.append("cores")
        if self._why_no_cgroups is not None:
            unproven.append("memory")
        for key, value in expected.items():
            if limits[key] != value:
                raise TierError(f"tier {tier} was given {key} {value} and has {limits[key]}")
        if self._why_no_cgroups is None:
            # The kernel rounds a limit to whole pages.
            page = os.sysconf("SC_PAGE_SIZE")
            if limits["memory_bytes"] is None or abs(limits["memory_bytes"] - allotment.memory_bytes) >= page:
                raise TierError(
                    f"tier {tier} was given {allotment.memory_bytes} bytes of memory and has {limits['memory_bytes']}"
                )
        return TierState(tier, limits, tuple(unproven))


def _cpus(allotment: Allotment) -> list[int]:
    """The last cores of those that may be used; the client and the links are likelier to be on the first."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return available[-allotment.cores :]


def _first_line(process: subprocess.Popen[bytes], name: str, log: Path) -> Mapping[str, Any]:
    """What a child says when it is ready."""
    assert process.stdout is not None
    deadline = time.monotonic() + _START_TIMEOUT_S
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 65536) if readable else b""
        if not readable:
            raise TierError(f"{name} was not ready after {_START_TIMEOUT_S:g} s{_tail(log)}")
        if not piece:
            raise TierError(f"{name} ended with exit code {process.wait()} before it was ready{_tail(log)}")
        line += piece
    said: Mapping[str, Any] = json.loads(line)
    return said


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        if lines:
            return "; its log ends: " + " | ".join(lines)
    return ""
