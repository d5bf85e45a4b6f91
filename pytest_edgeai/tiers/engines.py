"""The container engines of a session: which tier runs on which, with the tier image on each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_edgeai.tiers import engine, traffic
from pytest_edgeai.tiers.backend import Site, TierError
from pytest_edgeai.tiers.engine import EngineError, first_line
from pytest_edgeai.tiers.image import ensure_image
from pytest_edgeai.tiers.proof import own_cpus
from pytest_edgeai.tiers.specs import USUAL_ENGINE, EngineAddress

if TYPE_CHECKING:
    import docker

_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is ready to run tiers.

    Parameters
    ----------
    address
        Which one, in the words of the settings.
    near
        The address of it, or of the socket that leads to it.
    client
        A connection to it.
    image
        The tag of its tier image.
    cpus
        The cores that its containers may be given.
    """

    address: EngineAddress
    near: EngineAddress
    client: docker.DockerClient
    image: str
    cpus: tuple[int, ...]

    @property
    def options(self) -> dict[str, Any]:
        """What testcontainers needs to find it."""
        return engine.client_options(self.near)

    @property
    def is_usual(self) -> bool:
        """Whether it is the one that nobody has to name."""
        return self.address == USUAL_ENGINE

    @property
    def is_here(self) -> bool:
        """Whether its cores are those of this host, and its ports are on this host's loopback."""
        return self.is_usual and engine.is_here(self.address)


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

    def __init__(self, site: Site) -> None:
        self._site = site
        self._engines: dict[EngineAddress, Engine] = {}
        self._stack = ExitStack()
        try:
            for tier in _needed(site):
                address = site.topology.tiers[tier].engine
                if address not in self._engines:
                    self._engines[address] = self._open(address, site.note)
                self._check(tier, self._engines[address])
            for name, link in site.topology.links.items():
                if traffic.is_impaired(link):
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

    def reach(self, tier: str) -> str:
        """Where the published ports of a tier's engine are, as other machines see it."""
        spec = self._site.topology.tiers[tier]
        if self.of(tier).is_here:
            return _HERE
        found = spec.address or engine.reach_of(spec.engine)
        if found is None:
            raise TierError(
                f"tier {tier} runs on {spec.engine}, which does not say where its ports are: set "
                f"topology.tiers.{tier}.address"
            )
        return found

    def _open(self, address: EngineAddress, note: Callable[[str], None]) -> Engine:
        near = self._stack.enter_context(engine.reached(address))
        client = engine.connect(near)
        left_over = engine.sweep(client)
        if left_over:
            note(f"removed what a killed session left behind: {', '.join(left_over)}")
        if address == USUAL_ENGINE:
            image = ensure_image(client, self._site.image, note)
        else:
            image = self._image_elsewhere(address, client, note)
        found = Engine(address, near, client, image, tuple(own_cpus()))
        return found if found.is_here else replace(found, cpus=tuple(range(int(client.info()["NCPU"]))))

    def _image_elsewhere(self, address: EngineAddress, client: docker.DockerClient, note: Callable[[str], None]) -> str:
        """The image on an engine elsewhere: a copy of that here where the machines are alike, else built there."""
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

    def _check_netem(self, link: str) -> None:
        """Fail before anything starts where a kernel cannot do what a link needs."""
        from docker.errors import ContainerError, DockerException

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
                    f"(`modprobe sch_netem` there, or the process backend, which can delay): tc says {said.strip()!r}"
                ) from None
            except DockerException as error:
                raise TierError(f"link {link} cannot be tried on {found.address}: {first_line(error)}") from None


def _needed(site: Site) -> tuple[str, ...]:
    """The tiers that any placement runs on or passes through, and the origin."""
    tiers = [site.topology.origin]
    for placement in site.placements:
        tiers += [hop.far for hop in site.topology.way(placement.tiers)]
    return tuple(dict.fromkeys(tiers))
