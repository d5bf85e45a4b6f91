"""Tiers on another machine's engine, or remote servers, beside tiers on this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from docker import DockerClient
from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.mixed import MixedBackend
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.registry import open_backend as open_named
from pytest_edgeai.tiers.specs import EngineAddress
from tests.containers.conftest import NAME, assert_is_never_faster, left_of, make_site
from tests.containers.far_engine import SOCKET, THERE, far_engine, secure_shell, why_not
from tests.tiers.conftest import INPUTS
from tests.tiers.test_remote import tier_elsewhere

OrderOn = Callable[[str], DeploymentSpec]
Enter = Callable[[BackendContext], DockerBackend]


@pytest.fixture(scope="module")
def far_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("far")


@pytest.fixture(scope="module")
def far(client: DockerClient, far_folder: Path) -> Iterator[str]:
    """The address of another machine's engine."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with far_engine(far_folder) as address:
        yield address


@pytest.fixture(scope="module")
def far_client(far: str) -> DockerClient:
    return engine.connect(EngineAddress(far))


def listens(address: str, port: int) -> bool:
    """Whether a port of the other machine answers, asked there."""
    script = f"import socket; socket.create_connection(({address!r}, {port}), 10)"
    command = ["nsenter", f"--net=/run/netns/edgeai{os.getpid()}", sys.executable, "-c", script]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_a_tier_runs_on_the_engine_that_it_names(
    far: str, far_client: DockerClient, client: DockerClient, open_backend: Enter, order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, cloud={"docker_host": far, "cores": 1})
    backend = open_backend(site)
    assert f"at {far}" in backend.describe()
    with backend.deploy(order("cloud")) as deployment, deployment.client() as connection:
        answer = connection.infer(NAME, INPUTS)
        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        assert {span.place for span in answer.spans if span.name == "compute"} == {"cloud"}
        here, there = left_of(client, site.session_id), left_of(far_client, site.session_id)
        assert {name.rpartition("-")[2] for name in here if "-1-" in name} == {"edge"}
        assert {name.rpartition("-")[2] for name in there if "-1-" in name} == {"cloud"}
        assert all(state.unproven == () for state in deployment.states())
        for hop in deployment.hops:
            assert_is_never_faster(deployment, hop)
        deployment.containers["cloud"].inner.kill()
        assert deployment.diagnose() == "tier cloud was killed by signal 9"
    assert [name for name in left_of(far_client, site.session_id) if "-1-" in name] == []


def test_who_has_no_token_is_refused_by_a_tier_that_others_reach(
    far: str, open_backend: Enter, order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, cloud={"docker_host": far, "cores": 1})
    with open_backend(site).deploy(order("cloud")) as deployment:
        port = deployment.containers["cloud"].port()
        script = f"import urllib.request as u; u.urlopen('http://{THERE}:{port}/v2/models/{NAME}', timeout=10)"
        asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "401" in asked.stderr


def test_a_port_is_published_at_the_address_that_others_come_to_and_at_no_other(
    far: str, open_backend: Enter, order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, cloud={"docker_host": far, "cores": 1})
    with open_backend(site).deploy(order("cloud")) as deployment:
        port = deployment.containers["cloud"].port()
        assert listens(THERE, port)
        assert not listens("127.0.0.1", port)


def test_an_address_that_the_machine_does_not_have_is_said_with_its_setting(
    far: str, open_backend: Enter, order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, cloud={"docker_host": far, "cores": 1, "address": "192.0.2.7"})
    sentence = r"tier cloud cannot be started: .* no address 192\.0\.2\.7 .*: set topology\.tiers\.cloud\.address"
    with pytest.raises(TierError, match=sentence), open_backend(site).deploy(order("cloud")):
        pass


@pytest.mark.parametrize(
    ("cloud", "sentence"),
    [
        ({"docker_host": "unix:///nowhere.sock"}, "does not say where its ports are"),
        ({"docker_host": "tcp://:2375"}, "does not say where its ports are"),
        ({"docker_host": "tcp://127.0.0.1:2375"}, "where tier edge on another engine does not reach them"),
        ({"docker_host": "tcp://127.0.0.1:9", "address": "no-such-host.invalid"}, "has no IPv4 address"),
    ],
)
def test_an_engine_that_does_not_say_where_its_ports_are_is_named_with_the_setting(
    client: DockerClient, tmp_path: Path, cloud: dict[str, object], sentence: str
) -> None:
    site = make_site(tmp_path, cloud=cloud)
    with pytest.raises(TierError, match=rf"^tier cloud.* {sentence}.* set topology\.tiers\.cloud\.address"):
        DockerBackend(site)
    assert left_of(client, site.session_id) == []


def test_nothing_is_left_on_either_engine(
    far: str, far_client: DockerClient, client: DockerClient, order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, cloud={"docker_host": far, "cores": 1})
    with DockerBackend(site) as backend, backend.deploy(order("cloud")):
        pass
    assert left_of(client, site.session_id) == left_of(far_client, site.session_id) == []


def test_what_an_engine_elsewhere_does_not_have_is_said_before_anything_starts(
    far: str, client: DockerClient, tmp_path: Path
) -> None:
    site = make_site(tmp_path, cloud={"docker_host": far, "cores": 900})
    sentence = rf"tier cloud asks for 900 cores, and {far} has [0-9]+: change topology\.tiers\.cloud\.cores"
    with pytest.raises(TierError, match=sentence):
        DockerBackend(site)
    assert left_of(client, site.session_id) == []


def test_an_engine_elsewhere_that_does_not_answer_is_named(client: DockerClient, tmp_path: Path) -> None:
    site = make_site(tmp_path, cloud={"docker_host": "tcp://10.213.77.9:9"})
    with pytest.raises(
        TierError, match=r"answers at tcp://10\.213\.77\.9:9: .*\(tier cloud, topology\.tiers\.cloud\.docker_host\)"
    ):
        DockerBackend(site)


def test_a_context_that_is_not_known_is_named(client: DockerClient, tmp_path: Path) -> None:
    site = make_site(tmp_path, cloud={"docker_context": "no-such-context"})
    with pytest.raises(TierError, match="no-such-context"):
        DockerBackend(site)


def test_only_the_engines_that_are_needed_are_asked(open_backend: Enter, order: OrderOn, tmp_path: Path) -> None:
    full = make_site(tmp_path, cloud={"docker_host": "tcp://127.0.0.1:9"})
    site = BackendContext(full.topology, full.allotments, (Placement(("edge",)),), full.session_id, full.folder)
    with open_backend(site).deploy(order("edge")) as deployment, deployment.client() as connection:
        assert np.array_equal(connection.infer(NAME, INPUTS).outputs["y"], INPUTS["x"])


def test_a_docker_context_leads_to_its_engine(
    far: str, client: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    subprocess.run(["docker", "context", "create", "lab", "--docker", f"host={far}"], check=True)
    assert engine.connect(EngineAddress(context="lab")).info()["DockerRootDir"] != client.info()["DockerRootDir"]
    assert engine.reach_of(EngineAddress(context="lab")) == THERE


@pytest.mark.skipif(shutil.which("sshd") is None, reason="no server for SSH is installed")
def test_a_tier_runs_on_an_engine_behind_ssh(
    far: str,
    far_folder: Path,
    far_client: DockerClient,
    order: OrderOn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"ssh://root@{THERE}{far_folder}/{SOCKET}"
    with secure_shell(tmp_path) as programs:
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        site = make_site(tmp_path, cloud={"docker_host": url, "cores": 1})
        with DockerBackend(site) as backend, backend.deploy(order("cloud")) as deployment:
            with deployment.client() as connection:
                assert np.array_equal(connection.infer(NAME, INPUTS).outputs["y"], INPUTS["x"])
            assert any("-1-cloud" in name for name in left_of(far_client, site.session_id))
            assert not listens(THERE, deployment.containers["cloud"].port())
            assert listens("127.0.0.1", deployment.containers["cloud"].port())
            assert_is_never_faster(deployment, deployment.hops[1])
    assert left_of(far_client, site.session_id) == []


def test_ssh_that_does_not_get_in_says_why(client: DockerClient, tmp_path: Path) -> None:
    site = make_site(tmp_path, cloud={"docker_host": "ssh://nobody@localhost:9"})
    with pytest.raises(TierError, match=r"ssh://nobody@localhost:9 cannot be reached: .*(refused|ssh)"):
        DockerBackend(site)


def test_containers_and_a_server_elsewhere_share_a_session(
    client: DockerClient, artifact: Path, order: OrderOn, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("open sesame\n")
    with tier_elsewhere(artifact.parent, "--token-file", str(token_file)) as (_, url):
        site = make_site(tmp_path, cloud={"url": url, "token_file": token_file})
        backend = open_named("docker", site, {})
        assert isinstance(backend, MixedBackend)
        with backend:
            for tier, unproven in (("edge", set()), ("cloud", {"links"})):
                with backend.deploy(order(tier)) as deployment, deployment.client() as connection:
                    assert np.array_equal(connection.infer(NAME, INPUTS).outputs["y"], INPUTS["x"])
                    assert {what for state in deployment.states() for what in state.unproven} == unproven
    assert left_of(client, site.session_id) == []
