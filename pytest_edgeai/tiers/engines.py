"""The container engines of a session: which tier runs on which, with the tier image on each."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.tiers import engine, traffic
from pytest_edgeai.tiers.backend import BackendContext, TierError
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.image import ensure_image, remove_images
from pytest_edgeai.tiers.proof import own_cpus
from pytest_edgeai.tiers.specs import USUAL_ENGINE, EngineAddress
from pytest_edgeai.tiers.tunnel import Tunnel

if TYPE_CHECKING:
    import docker

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is ready to run tiers.

    Parameters
    ----------
    address
        Which one, in the words of the settings.
    options
        What testcontainers needs to find it.
    client
        A connection to it.
    image
        The tag of its tier image.
    cpus
        The cores that its containers may be given.
    way
        The tunnel to it, where it is behind SSH.
    """

    address: EngineAddress
    options: Mapping[str, Any]
    client: docker.DockerClient
    image: str
    cpus: tuple[int, ...]
    way: Tunnel | None = None

    @property
    def is_usual(self) -> bool:
        """Whether it is the one that nobody has to name."""
        return self.address == USUAL_ENGINE

    @property
    def is_here(self) -> bool:
        """Whether its cores are those of this host, and its ports are on this host's loopback."""
        return _is_here(self.address)


class Engines:
    """The engines of the tiers that a session needs.

    Parameters
    ----------
    site
        Tiers, their allotments, and where strategies are going to run.

    Raises
    ------
    TierError
        An engine does not answer, has not what a tier asks for, or the tier image cannot be had there.
    """

    def __init__(self, site: BackendContext) -> None:
        self._site = site
        self._engines: dict[EngineAddress, Engine] = {}
        self._stack = ExitStack()
        for tier, asks in _entered(site).items():
            self._check_reach(tier, asks)
        try:
            for tier in _needed(site):
                address = site.topology.tiers[tier].engine
                if address not in self._engines:
                    self._engines[address] = self._open_for(tier, address)
                self._check(tier, self._engines[address])
            for name, link in site.topology.links.items():
                if traffic.is_impaired(link) and self._kernel_shapes(name):
                    self._check_netem(name)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """End the ways to engines behind SSH."""
        self._stack.close()

    @property
    def all(self) -> tuple[Engine, ...]:
        """Each once."""
        return tuple(self._engines.values())

    def of(self, tier: str) -> Engine:
        """The engine that runs a tier."""
        return self._engines[self._site.topology.tiers[tier].engine]

    def published_at(self, tier: str, *, by_the_client: bool) -> str:
        """Where a tier's engine publishes a port for whoever is not on that engine: one address of its machine.

        Parameters
        ----------
        tier
            Its name.
        by_the_client
            Whether it is for this process, and not for a container.

        Raises
        ------
        TierError
            Nothing says which; names the setting.
        """
        spec = self._site.topology.tiers[tier]
        if by_the_client and (_is_here(spec.engine) or engine.is_behind_ssh(spec.engine)):
            return LOOPBACK
        setting = f"topology.tiers.{tier}.address"
        host = spec.address or engine.reach_of(spec.engine)
        if host is None:
            raise TierError(f"tier {tier} runs on {spec.engine}, which does not say where its ports are: set {setting}")
        try:
            return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
        except OSError as error:
            raise TierError(
                f"tier {tier}: {host}, where the ports of {spec.engine} are to be, has no IPv4 address: set {setting} "
                f"({error.strerror})"
            ) from None

    def _open_for(self, tier: str, address: EngineAddress) -> Engine:
        try:
            return self._open(address, self._site.note)
        except EngineError as error:
            if address == USUAL_ENGINE:
                raise
            setting = f"topology.tiers.{tier}.docker_{'host' if address.context is None else 'context'}"
            raise EngineError(f"{error} (tier {tier}, {setting})") from None

    def _open(self, address: EngineAddress, note: Callable[[str], None]) -> Engine:
        way = self._stack.enter_context(engine.way_to(address))
        near = address if way is None else EngineAddress(f"unix://{way.socket}")
        client = engine.connect(near)
        left_over = engine.sweep(client)
        if left_over:
            note(f"removed what a killed session left behind: {', '.join(left_over)}")
        if address == USUAL_ENGINE:
            image = ensure_image(client, self._site.image, note)
        else:
            image = self._remote_image(address, client, note)
        found = Engine(address, engine.client_options(near), client, image, tuple(own_cpus()), way)
        return found if found.is_here else replace(found, cpus=tuple(range(int(client.info()["NCPU"]))))

    def hold_images(self) -> None:
        """Let a container that is never started hold each image, so that another session does not remove it.

        Raises
        ------
        TierError
            An image is gone and cannot be had again.
        """
        from docker.errors import DockerException, ImageNotFound
        from requests import RequestException

        def hold(found: Engine) -> None:
            found.client.containers.create(
                found.image,
                name=f"edgeai-{self._site.session_id}-image",
                labels=engine.labels(self._site.session_id),
                network_mode="none",
            )

        for found in self.all:
            try:
                try:
                    hold(found)
                except ImageNotFound:  # it was removed since this session began
                    ensure_image(found.client, self._site.image, self._site.note)
                    hold(found)
            except (DockerException, RequestException) as error:
                raise EngineError(f"the tier image {found.image} cannot be held: {first_line(error)}") from None

    def _remote_image(self, address: EngineAddress, client: docker.DockerClient, note: Callable[[str], None]) -> str:
        """The image on a remote engine: a copy of that here where the machines are alike, else built there."""
        from docker.errors import DockerException, ImageNotFound
        from requests import RequestException

        try:
            here = engine.connect(self._stack.enter_context(engine.reached(USUAL_ENGINE)))
        except EngineError:
            return ensure_image(client, self._site.image, note)
        if here.version().get("Arch") != client.version().get("Arch"):
            return ensure_image(client, self._site.image, note)
        image = ensure_image(here, self._site.image, note)
        try:
            try:
                client.images.get(image)
            except ImageNotFound:
                note(f"copying the tier image {image} to {address}")
                with tempfile.TemporaryFile(dir=self._site.folder) as archive:
                    archive.writelines(here.images.get(image).save(named=True))
                    archive.seek(0)
                    client.images.load(archive)
                remove_images(client, keep=image)
        except (DockerException, RequestException) as error:
            raise EngineError(f"the tier image cannot be copied to {address}: {first_line(error)}") from None
        return image

    def _check(self, tier: str, found: Engine) -> None:
        """Fail before anything starts where a machine is smaller than what a tier asks for."""
        allotment = self._site.allotments[tier]
        if found.is_here:
            return
        memory_bytes = int(found.client.info()["MemTotal"])
        for what, asked, there in (
            ("cores", allotment.cores, len(found.cpus)),
            ("bytes of memory", allotment.memory_bytes, memory_bytes),
        ):
            if asked > there:
                raise TierError(
                    f"tier {tier} asks for {asked} {what}, and {found.address} has {there}: change "
                    f"topology.tiers.{tier}.{what.split()[-1]}"
                )

    def _check_reach(self, tier: str, asks: str) -> None:
        """Fail before anything starts where requests could not come in."""
        tiers, is_origin = self._site.topology.tiers, tier == self._site.topology.origin
        address = tiers[tier].engine
        if engine.is_behind_ssh(address) and (is_origin or _is_here(tiers[asks].engine)):
            return  # most likely; an engine here that is in a virtual machine shows when it starts
        published = self.published_at(tier, by_the_client=is_origin)
        if not is_origin and published.startswith("127."):
            raise TierError(
                f"tier {tier} runs on {address}, whose ports would be at {published}, where tier {asks} on another "
                f"engine does not reach them: set topology.tiers.{tier}.address"
            )

    def _kernel_shapes(self, link: str) -> bool:
        """Whether a link is not held by its ends: where that is asked for, and between engines."""
        return self._site.topology.shaping == "kernel" or len({*map(self._engine_named, link.split("-"))}) > 1

    def _engine_named(self, tier: str) -> EngineAddress:
        return self._site.topology.tiers[tier].engine

    def _check_netem(self, link: str) -> None:
        """Fail before anything starts where a kernel cannot do what a link needs."""
        from docker.errors import ContainerError, DockerException

        asked = self._site.topology.shaping == "kernel"
        instead = 'topology.shaping = "held"' if asked else "both tiers on one engine, where links need no kernel"
        for found in self.all:
            command = ["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
            try:
                found.client.containers.run(
                    found.image,
                    command,
                    entrypoint="tc",
                    user="0",
                    network_mode="none",
                    cap_drop=["ALL"],
                    cap_add=["NET_ADMIN"],
                    labels=engine.labels(self._site.session_id),
                    remove=True,
                )
            except ContainerError as error:
                said = (
                    error.stderr.decode("utf-8", "replace") if isinstance(error.stderr, bytes) else error.stderr or ""
                )
                raise TierError(
                    f"link {link} has delay, jitter or loss, for which the kernel of {found.address} needs netem "
                    f"(`modprobe sch_netem` there, or {instead}): tc says {said.strip()!r}"
                ) from None
            except DockerException as error:
                raise TierError(f"link {link} cannot be tried on {found.address}: {first_line(error)}") from None


def _is_here(address: EngineAddress) -> bool:
    return address == USUAL_ENGINE and engine.is_here(address)


def _needed(site: BackendContext) -> tuple[str, ...]:
    """The tiers that any placement runs on or passes through, and the origin."""
    tiers = [site.topology.origin]
    for placement in site.placements:
        tiers += [hop.far for hop in site.topology.way(placement.tiers)]
    return tuple(dict.fromkeys(tiers))


def _entered(site: BackendContext) -> dict[str, str]:
    """The tiers into which requests come from outside of their engine, and the tier from which they come."""
    origin, tiers = site.topology.origin, site.topology.tiers
    entered = {origin: origin}
    for placement in site.placements:
        for hop in site.topology.way(placement.tiers):
            if tiers[hop.near].engine != tiers[hop.far].engine:
                entered[hop.far] = hop.near
    return entered
