"""A real engine and its tier image, or the reason why there is none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, Deployment, DeploymentSpec, TierError
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.image import ensure_image
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import probe_link
from pytest_edgeai.tiers.specs import Hop, ImageSpec, Topology
from tests.tiers.conftest import make_model

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network
    from docker.models.volumes import Volume

    from docker import DockerClient

Open = Callable[[], DockerBackend]
NAME = "tiny-identity"
CORES = {"mobile": 4, "edge": 8, "cloud": 16}


@dataclass(slots=True)
class HeldImage:
    """The usual tier image, which tests that build others leave on the engine: it takes long to build again."""

    client: DockerClient
    tag: str
    holder: Container | None = None

    def hold(self) -> None:
        """Keep it where another one is built."""
        self.holder = self.client.containers.create(self.tag, network_mode="none")

    def release(self) -> None:
        """Let it be removed where another one is built."""
        if self.holder is not None:
            self.holder.remove()
            self.holder = None


@pytest.fixture(scope="session")
def usual_image() -> Iterator[HeldImage]:
    try:
        connected = engine.connect()
        held = HeldImage(connected, ensure_image(connected, ImageSpec(), print))
    except TierError as error:
        if os.environ.get("EDGEAI_REQUIRE_ENGINE"):
            raise
        pytest.skip(str(error))
    held.hold()
    yield held
    held.release()


@pytest.fixture(scope="session")
def client(usual_image: HeldImage) -> DockerClient:
    return usual_image.client


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("artifacts") / NAME)


@pytest.fixture
def order(artifact: Path) -> Callable[[str], DeploymentSpec]:
    """What to deploy on a tier."""
    return lambda tier: DeploymentSpec(NAME, artifact, Placement((tier,)))


def make_site(
    folder: Path,
    memory: str = "512 MiB",
    edge_cloud: str = "10 Mbit/s",
    shaping: str = "held",
    **tiers: dict[str, object],
) -> BackendContext:
    """The study's tiers with little memory; settings of a tier by its name."""
    described = {tier: {"cores": cores, "memory": memory, **tiers.get(tier, {})} for tier, cores in CORES.items()}
    links = {"mobile-edge": {"rate": "100 Mbit/s"}, "edge-cloud": {"rate": edge_cloud}}
    topology = Topology.model_validate({"tiers": described, "links": links, "shaping": shaping})
    placements = tuple(Placement((tier,)) for tier in CORES)
    return BackendContext(topology, allot(topology.tiers, 2, 2**40), placements, secrets.token_hex(4), folder)


@pytest.fixture
def site(tmp_path: Path) -> BackendContext:
    return make_site(tmp_path)


@pytest.fixture
def open_backend(client: DockerClient) -> Iterator[Callable[[BackendContext], DockerBackend]]:
    """Backends that are open until the test ends, when nothing may be left of them."""
    sessions: list[str] = []
    with ExitStack() as stack:

        def enter(site: BackendContext) -> DockerBackend:
            sessions.append(site.session_id)
            return stack.enter_context(DockerBackend(site))

        yield enter
    for session in sessions:
        assert left_of(client, session) == []


@pytest.fixture
def backend(open_backend: Callable[[BackendContext], DockerBackend], site: BackendContext) -> DockerBackend:
    return open_backend(site)


def assert_is_never_faster(deployment: Deployment, hop: Hop) -> None:
    """A busy host makes a link slow, never fast; a bucket of the kernel's lets a packet through at once."""
    lines = deployment.probe(hop)
    assert lines is not None
    with lines:
        for probe in probe_link(lines, hop, 0.2):
            assert probe.rate_error > -0.03, probe.sentence()


def left_of(client: DockerClient, session: str) -> list[str]:
    """What there is of a session on the engine."""
    label = f"{engine.SESSION_LABEL}={session}"
    containers = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    networks = client.networks.list(filters={"label": label})
    volumes = client.volumes.list(filters={"label": label})
    others: list[Network | Volume] = [*networks, *volumes]
    return [*(str(one.name) for one in containers), *(str(one.name) for one in others)]
