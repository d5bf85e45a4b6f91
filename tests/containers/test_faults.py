"""Faults, each provoked in a real container: one sentence with the tier's name, and other trials go on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.tiers import engine, networks, tier_container
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.image import ImageError, ensure_image
from pytest_edgeai.tiers.registry import open_backend as open_named
from pytest_edgeai.tiers.specs import ImageSpec, LinkSpec
from pytest_edgeai.wire.client import RequestError
from tests.containers.conftest import NAME, assert_is_never_faster, left_of, make_site
from tests.containers.socket_proxy import SocketProxy
from tests.tiers.conftest import INPUTS

if TYPE_CHECKING:
    from docker import DockerClient

OrderOn = Callable[[str], DeploymentSpec]
Enter = Callable[[BackendContext], DockerBackend]

SESSION = """
import signal, sys, time
from pathlib import Path
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.backend import DeploymentSpec
from pytest_edgeai.tiers.containers import DockerBackend
from tests.containers.conftest import make_site

signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal, also where these tests run under nohup
site = make_site(Path(sys.argv[1]))
with DockerBackend(site) as backend:
    with backend.deploy(DeploymentSpec("tiny-identity", Path(sys.argv[2]), Placement(("cloud",)))):
        print(site.session_id, flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("tier", ["cloud", "edge"])
def test_a_tier_that_was_killed_is_named_and_the_next_trial_goes_on(
    backend: DockerBackend, order: OrderOn, tier: str
) -> None:
    with backend.deploy(order("cloud")) as deployment, deployment.client() as client:
        client.infer(NAME, INPUTS)
        deployment.containers[tier].inner.kill()
        with pytest.raises(RequestError):
            client.infer(NAME, INPUTS)
        assert deployment.diagnose() == f"tier {tier} was killed by signal 9"
        with pytest.raises(TierError, match=f"tier {tier} was killed by signal 9"):
            deployment.states()
    with backend.deploy(order("mobile")) as deployment, deployment.client() as client:
        client.infer(NAME, INPUTS)


def test_a_tier_without_memory_is_told_apart_from_one_that_was_killed(
    open_backend: Enter, order: OrderOn, tmp_path: Path
) -> None:
    with (
        open_backend(make_site(tmp_path, memory="128 MiB")).deploy(order("mobile")) as deployment,
        deployment.client() as client,
    ):
        # A request that is larger than the memory is read into it, and the kernel ends the server.
        with pytest.raises(RequestError):
            client.upload("/v2/models/tiny-identity/infer", 200 * 2**20)
        deadline = time.monotonic() + 10
        while (sentence := deployment.diagnose()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sentence == "tier mobile was killed because it wanted more than its 134217728 bytes of memory"


def test_a_container_that_was_removed_or_paused_is_named(backend: DockerBackend, order: OrderOn) -> None:
    with backend.deploy(order("edge")) as deployment:
        deployment.containers["edge"].inner.pause()
        assert deployment.diagnose() == "tier edge is paused"
        deployment.containers["edge"].inner.unpause()
        assert deployment.diagnose() is None
        deployment.containers["edge"].inner.remove(force=True)
        assert deployment.diagnose() == "tier edge's container was removed"


def test_a_tier_that_cannot_load_its_model_says_why(
    backend: DockerBackend, order: OrderOn, tmp_path: Path, client: DockerClient, site: BackendContext
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"no graph")
    wrong = DeploymentSpec("broken", broken, order("edge").placement)
    with (
        pytest.raises(TierError, match=r"tier edge ended with exit code 1; its log ends: .*broken"),
        backend.deploy(wrong),
    ):
        pass
    assert not [name for name in left_of(client, site.session_id) if "-1-" in name]


def test_a_tier_that_is_never_ready_is_given_up(client: DockerClient, order: OrderOn, site: BackendContext) -> None:
    with (
        DockerBackend(site, start_timeout_s=0.0) as backend,
        pytest.raises(TierError, match=r"tier mobile was not ready after 0 s"),
        backend.deploy(order("mobile")),
    ):
        pass


def test_without_an_engine_docker_is_refused_and_auto_takes_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    site = make_site(tmp_path)
    said: list[str] = []
    site = BackendContext(site.topology, site.allotments, site.placements, site.session_id, tmp_path, note=said.append)
    with pytest.raises(SettingsError, match=r"backend docker: no container engine answers at unix://.*no\.sock"):
        open_named("docker", site, {})
    assert open_named("auto", site, {}).name == "process"
    assert len(said) == 1
    assert said[0].startswith("tiers are processes, not containers: no container engine answers")


def test_auto_takes_containers_where_an_engine_answers(client: DockerClient, site: BackendContext) -> None:
    assert open_named("auto", site, {}).name == "docker"


def test_an_image_without_python_is_no_base(client: DockerClient) -> None:
    tag = "edgeai-test-base:empty"
    client.api.import_image_from_data(b"\0" * 10240, repository="edgeai-test-base", tag="empty")
    try:
        with pytest.raises(ImageError, match=r"the base image edgeai-test-base:empty has no python3 that runs"):
            ensure_image(client, ImageSpec(base=tag), lambda sentence: None)
    finally:
        client.images.remove(tag)  # refused where a container of it was left


def test_an_image_that_is_built_is_not_built_again(client: DockerClient) -> None:
    said: list[str] = []
    assert ensure_image(client, ImageSpec(), said.append) == ensure_image(client, ImageSpec(), said.append)
    assert said == []


def _session(folder: Path, artifact: Path) -> tuple[subprocess.Popen[str], str]:
    """Another process with a deployment; its session."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(folder), str(artifact)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_nothing_is_left_of_a_session_that_was_killed(
    client: DockerClient, artifact: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process, session = _session(tmp_path, artifact)
    try:
        assert len(left_of(client, session)) == 5  # two containers, one that holds the image, a link and the entry
    finally:
        process.send_signal(number)
        process.communicate()
    deadline = time.monotonic() + 30
    while left_of(client, session) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_of(client, session) == []


def test_the_next_session_sweeps_what_was_left_when_even_the_watchdog_was_killed(
    client: DockerClient, artifact: Path, tmp_path: Path
) -> None:
    process, session = _session(tmp_path, artifact)
    try:
        listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
        watchdogs = [
            int(line.split()[0]) for line in listed.splitlines() if "tiers.watchdog" in line and session in line
        ]
        assert len(watchdogs) == 1
        engine.sweep(client)
        assert len(left_of(client, session)) == 5, "a session that is alive is nobody's to sweep"
        os.kill(watchdogs[0], signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert len(left_of(client, session)) == 5
    assert len(engine.sweep(client, dry_run=True)) >= 5
    removed = engine.sweep(client)
    assert len([name for name in removed if session in name]) == 5
    assert left_of(client, session) == []


def test_a_gpu_that_is_preferred_and_not_there_is_reported_and_one_that_is_required_is_an_error(
    open_backend: Enter, order: OrderOn, tmp_path: Path, client: DockerClient
) -> None:
    if "nvidia" in client.info().get("Runtimes", {}):
        pytest.skip("this engine has GPUs")
    with open_backend(make_site(tmp_path / "prefer", mobile={"gpu": "prefer"})).deploy(order("mobile")) as deployment:
        (state,) = deployment.states()
        assert state.unproven == ("GPU (its models run on CPUExecutionProvider)",)
    required = open_backend(make_site(tmp_path / "require", mobile={"gpu": "require"}))
    with (
        pytest.raises(TierError, match=r"tier mobile cannot be started: .*device driver"),
        required.deploy(order("mobile")),
    ):
        pass


def test_an_engine_that_goes_away_in_mid_trial_is_named(
    monkeypatch: pytest.MonkeyPatch, client: DockerClient, order: OrderOn, tmp_path: Path
) -> None:
    with SocketProxy(tmp_path / "engine.sock") as proxy:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
        site = make_site(tmp_path)
        with DockerBackend(site) as backend:
            with backend.deploy(order("edge")) as deployment, deployment.client() as connection:
                connection.infer(NAME, INPUTS)
                proxy.stop()
                sentence = deployment.diagnose()
                assert sentence is not None
                assert sentence.startswith("the container engine does not answer any more, so tier ")
            with pytest.raises(TierError, match=r"cannot be (made|started)"), backend.deploy(order("mobile")):
                pass
    monkeypatch.undo()
    engine.remove(client, site.session_id)
    assert left_of(client, site.session_id) == []


def test_a_kernel_that_cannot_delay_is_named_before_anything_starts_and_one_that_can_delays(
    client: DockerClient, order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, shaping="kernel")
    delayed = LinkSpec.model_validate({"rate": "10 Mbit/s", "delay": "30 ms"})
    topology = site.topology.model_copy(update={"links": {**site.topology.links, "mobile-edge": delayed}})
    try:
        backend = DockerBackend(replace(site, topology=topology))
    except TierError as error:
        assert str(error).startswith("link mobile-edge has delay, jitter or loss, for which the kernel of")  # noqa: PT017  # only on some kernels
        assert 'topology.shaping = "held"' in str(error)  # noqa: PT017  # only on some kernels
        assert left_of(client, site.session_id) == []
        return
    with backend, backend.deploy(order("edge")) as deployment:
        assert_is_never_faster(deployment, deployment.hops[0])


def test_a_name_that_is_taken_is_said(
    backend: DockerBackend, client: DockerClient, order: OrderOn, site: BackendContext
) -> None:
    other = client.containers.create(
        ensure_image(client, ImageSpec(), print), name=f"edgeai-{site.session_id}-1-mobile"
    )
    try:
        sentence = r"tier mobile cannot be started: .*[Cc]onflict"
        with pytest.raises(TierError, match=sentence), backend.deploy(order("mobile")):
            pass
    finally:
        other.remove(force=True)
    with backend.deploy(order("mobile")):
        pass


def test_a_port_that_cannot_be_had_is_said_and_nothing_is_left(
    backend: DockerBackend, client: DockerClient, order: OrderOn, site: BackendContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "_INTERFACES", Path("/nowhere"))  # as for an engine in a virtual machine
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        # Whoever asks for a number may find it taken; tiers ask for any that is free.
        monkeypatch.setattr(tier_container, "published_at", lambda address: (address, number))
        sentence = r"tier mobile cannot be started: .*(already in use|already allocated)"
        with pytest.raises(TierError, match=sentence), backend.deploy(order("mobile")):
            pass
    assert not [name for name in left_of(client, site.session_id) if "-1-" in name]
