"""One tier's container, through testcontainers: created, filled, started, asked why it ended, removed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.specs import tier_of

if TYPE_CHECKING:
    from docker.models.containers import Container
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

PORT: Final = 8080
"""Where servers answer whatever comes without a link that is held."""
LINK_PORT: Final = 8081
"""Where they hold what comes over one."""
MODELS: Final = "/deployed/models"
NO_MODELS: Final = "/models"  # of the image
TURNS: Final = "/run/edgeai-turns"
TOKEN_FILE: Final = "/deployed/token"
_POLL_S = 0.02
_LOG_LINES = 3
_LOG_LINE_LENGTH = 300
_KILLED = 128  # exit codes above are signals


def host_name(place: str) -> str:
    """A tier or node as the engine and the names of hosts can have it: `mobile-2`."""
    return place.replace("[", "-").removesuffix("]")


def published_at(address: str) -> tuple[str] | tuple[str, int]:
    """Address and port, as the engine's interface has them: any port that is free."""
    return (address,)


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What to start.

    Parameters
    ----------
    tier
        Its name, or the node's; other containers find it by its `host_name` on the networks they share.
    name
        Of the container.
    image
        Its image.
    arguments
        Of the tier's server.
    engine
        What testcontainers needs to find its engine.
    options
        Limits and labels, as the engine's interface names them.
    networks
        What it is attached to; the first one when it is created.
    published_at
        The address of the engine's machine at which it is reached from outside, or None.
    token
        What requests must carry.
    model
        Name and folder of the model that it serves, or None.
    start_timeout_s
        How long it may take to be ready.
    falls_back
        Whether it is started without the devices that it asks for where the engine does not have them.
    turns
        The volume on which it takes turns with other nodes, or None.
    """

    tier: str
    name: str
    image: str
    arguments: Sequence[str]
    engine: Mapping[str, Any]
    options: Mapping[str, Any]
    networks: Sequence[Network]
    published_at: str | None
    token: str
    model: tuple[str, Path] | None
    start_timeout_s: float
    falls_back: bool = False
    turns: str | None = None


@dataclass
class TierContainer:
    """A container that runs a tier's server.

    Parameters
    ----------
    plan
        What to start.
    """

    plan: ContainerPlan
    ready: Mapping[str, Any] = field(default_factory=dict)
    """What the server says when it is ready."""
    _container: DockerContainer | None = None

    def start(self) -> None:
        """Create and start it and wait until its server is ready.

        Raises
        ------
        TierError
            The engine refuses it, it has ended, or it is not ready in time.
        """
        from docker.errors import APIError, DockerException
        from requests import RequestException

        plan = self.plan
        deadline = time.monotonic() + plan.start_timeout_s
        try:
            try:
                self._create(plan.options)
            except APIError as error:
                if not plan.falls_back or "device driver" not in first_line(error):
                    raise
                self.stop()
                self._create({**plan.options, "device_requests": None})
            for network in plan.networks[1:]:
                network.connect(str(self.inner.id), [host_name(plan.tier)])
            self._wait_until_ready(deadline)
        except (DockerException, RequestException) as error:
            said = first_line(error)
            if "cannot assign requested address" in said:
                setting = f"topology.tiers.{tier_of(plan.tier)}"
                said = (
                    f"the machine of its engine has no address {plan.published_at} to publish a port at: set "
                    f'{setting}.address to one that it has, or reach it by {setting}.docker_host = "ssh://…"'
                )
            raise TierError(f"tier {plan.tier} cannot be started: {said}") from None

    def _create(self, options: Mapping[str, Any]) -> None:
        from pytest_edgeai.tiers.filled_container import FilledContainer

        plan = self.plan
        container = FilledContainer(plan.image, dict(plan.engine)).with_limits(**options)
        container.with_name(plan.name)
        container.with_command([*plan.arguments, "--token-file", TOKEN_FILE])
        container.with_network(plan.networks[0]).with_network_aliases(host_name(plan.tier))
        if plan.published_at is not None:
            # Whatever it is to be, testcontainers' own method would publish it to everybody.
            container.ports[f"{PORT}/tcp"] = published_at(plan.published_at)  # type: ignore[assignment]  # docker takes more than its stubs say
        if plan.turns is not None:
            container.with_volume_mapping(plan.turns, TURNS, "ro")
        container.with_copy_into_container(plan.token.encode(), TOKEN_FILE)
        if plan.model is not None:
            name, folder = plan.model
            for file in sorted(path for path in folder.iterdir() if path.is_file()):
                container.with_copy_into_container(file, f"{MODELS}/{name}/{file.name}")
        self._container = container
        container.start()

    def stop(self) -> None:
        """Remove it, whatever state it is in."""
        from docker.errors import DockerException
        from requests import RequestException

        if self._container is not None:
            with contextlib.suppress(DockerException, RequestException):
                self._container.stop()
            self._container = None

    @property
    def inner(self) -> Container:
        """The container as the engine's client has it.

        Raises
        ------
        EngineError
            It was never created.
        """
        if self._container is None or self._container._container is None:  # noqa: SLF001  # before a start that failed
            raise EngineError(f"tier {self.plan.tier} has no container")
        return self._container.get_wrapped_container()

    def port(self) -> int:
        """The port of its engine's host that leads to its server."""
        self.inner.reload()
        bindings = self.inner.ports.get(f"{PORT}/tcp")
        if not bindings:
            raise EngineError(self.exit_reason() or f"tier {self.plan.tier} has no port outside of its engine")
        return int(bindings[0]["HostPort"])

    def address(self, network: Network) -> str:
        """Its address on a network."""
        self.inner.reload()
        address: str = self.inner.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
        return address

    def as_root(self, script: str) -> None:
        """Run a script inside as root, which the server is not.

        Raises
        ------
        TierError
            It failed; says how.
        """
        code, output = self.inner.exec_run(["sh", "-ec", script], user="0")
        if code:
            assert isinstance(output, bytes)
            said = " ".join(output.decode("utf-8", "replace").split())
            raise TierError(f"tier {self.plan.tier}: {script.splitlines()[-1]!r} failed: {said}")

    def exit_reason(self) -> str | None:
        """A sentence if it has ended, or if the engine does not know it any more."""
        from docker.errors import DockerException, NotFound
        from requests import RequestException

        tier = f"tier {self.plan.tier}"
        try:
            self.inner.reload()
            state = self.inner.attrs["State"]
        except NotFound:
            return f"{tier}'s container was removed"
        except EngineError as error:
            return str(error)
        except (DockerException, RequestException) as error:
            return f"the container engine does not answer any more, so {tier} is lost: {first_line(error)}"
        if state["Paused"]:
            return f"{tier} is paused"
        if state["Running"]:
            return None
        if state["OOMKilled"]:
            limit = self.plan.options.get("mem_limit")
            return f"{tier} was killed because it wanted more than its {limit} bytes of memory{self.last_words()}"
        code = state["ExitCode"]
        how = f"was killed by signal {code - _KILLED}" if code > _KILLED else f"ended with exit code {code}"
        return f"{tier} {how}{self.last_words()}"

    def last_words(self) -> str:
        """The end of its log as the end of a sentence; nothing where the log is empty."""
        from docker.errors import DockerException
        from requests import RequestException

        with contextlib.suppress(DockerException, RequestException, EngineError):
            log = self.inner.logs(stdout=False, stderr=True, tail=_LOG_LINES).decode("utf-8", "replace")
            lines = [line[:_LOG_LINE_LENGTH].strip() for line in log.strip().splitlines()]
            if lines:
                return f"; its log ends: {' | '.join(lines)}"
        return ""

    def _wait_until_ready(self, deadline: float) -> None:
        while True:
            said = self.inner.logs(stdout=True, stderr=False).decode("utf-8", "replace")
            if said.endswith("\n"):
                self.ready = json.loads(said.splitlines()[0])
                return
            ended = self.exit_reason()
            if ended is not None:
                raise TierError(ended)
            if time.monotonic() > deadline:
                raise TierError(
                    f"tier {self.plan.tier} was not ready after {self.plan.start_timeout_s:g} s{self.last_words()}",
                    cause="host",
                )
            time.sleep(_POLL_S)
