"""The process backend with real servers: what it deploys, what it proves and what it leaves behind."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pytest_edgeai.measure.host import family_of, observe
from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.backend import Backend, Deployment, DeploymentSpec, TierError, answer_timeout_s
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.specs import Topology
from pytest_edgeai.wire.client import Client, RequestError

from .conftest import INPUTS, make_site, needs_cgroups, resources

OrderOn = Callable[[str], DeploymentSpec]

WAYS = {"mobile": [], "edge": ["mobile-edge"], "cloud": ["mobile-edge", "edge-cloud"]}


@pytest.mark.parametrize("tier", list(WAYS))
def test_a_model_answers_on_its_tier_over_every_link_on_the_way(
    backend: ProcessBackend, order: OrderOn, tier: str
) -> None:
    with backend.deploy(order(tier)) as deployment, deployment.client() as client:
        answer = client.infer("tiny-identity", INPUTS)

        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        crossed = {span.place for span in answer.spans if span.name == "transmit" and span.place}
        assert crossed == set(WAYS[tier])
        assert [hop.name for hop in deployment.hops] == WAYS[tier]
        assert {span.place for span in answer.spans if span.name == "compute"} == {tier}
        assert deployment.diagnose() is None


def test_the_protocols_are_kept(backend: ProcessBackend, order: OrderOn) -> None:
    general: Backend = backend
    assert isinstance(general, Backend)
    with general.deploy(order("mobile")) as deployment:
        running: Deployment = deployment
        assert running.hops == ()


def test_tiers_say_the_limits_that_they_were_given(backend: ProcessBackend, order: OrderOn) -> None:
    with backend.deploy(order("cloud")) as deployment:
        states = {state.tier: state for state in deployment.states()}

    assert set(states) == {"cloud", "edge"}  # the edge tier hands requests on, so its limits count as well
    assert states["cloud"].limits["threads"] >= states["edge"].limits["threads"]
    assert states["cloud"].limits["load_s"]["tiny-identity"] > 0
    for state in states.values():
        assert state.unproven == (() if "control groups" in backend.describe().split(":")[0] else ("memory",))


def test_a_deployment_is_fresh_each_time(backend: ProcessBackend, order: OrderOn) -> None:
    ports = set()
    for _ in range(2):
        with backend.deploy(order("mobile")) as deployment, deployment.client() as client:
            client.infer("tiny-identity", INPUTS)
            ports.add(deployment._servers["mobile"].pid)  # noqa: SLF001  # shown nowhere else

    assert len(ports) == 2


def test_tiers_that_run_the_model_compute_the_reference_and_those_on_the_way_do_not(
    backend: ProcessBackend, order: OrderOn
) -> None:
    with backend.deploy(order("cloud")) as deployment:
        found = deployment.reference()
    assert list(found) == ["cloud"]
    assert found["cloud"]["fastest"]["cpu_s"] > 0


def test_processes_of_a_deployment_belong_to_the_session(backend: ProcessBackend, order: OrderOn) -> None:
    with backend.deploy(order("cloud")) as deployment:
        ours = family_of(os.getpid(), observe().processes)
        assert {server.pid for server in deployment._servers.values()} <= ours  # noqa: SLF001  # shown nowhere else


@pytest.mark.parametrize("failure", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_deployment(
    backend: ProcessBackend, order: OrderOn, failure: type[BaseException] | None
) -> None:
    before = resources()
    try:
        with backend.deploy(order("cloud")) as deployment:
            deployment.states()
            assert resources() - before
            if failure is not None:
                raise failure
    except (RuntimeError, KeyboardInterrupt):
        pass

    assert not resources() - before


def test_nothing_is_left_of_a_deployment_that_does_not_start(
    backend: ProcessBackend, order: OrderOn, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.onnx").write_bytes(b"this is no model")
    before = resources()

    with pytest.raises(TierError), backend.deploy(replace(order("cloud"), folder=tmp_path / "broken")):
        pass

    assert not resources() - before


def test_an_artifact_may_be_given_by_a_relative_path(
    backend: ProcessBackend, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifact.parent)
    relative = DeploymentSpec("tiny-identity", Path(artifact.name), Placement(("mobile",)))
    with backend.deploy(relative) as deployment, deployment.client() as client:
        client.infer("tiny-identity", INPUTS)


def test_two_sessions_at_a_time_do_not_meet(order: OrderOn, tmp_path: Path) -> None:
    before = resources()
    backends = [ProcessBackend(make_site(tmp_path / name, name)) for name in ("one", "two")]
    values = {name: np.full((1, 6), n, np.float32) for n, name in enumerate(("one", "two"))}
    met: list[str] = []
    both = threading.Barrier(2, timeout=60)

    def use(number: int, name: str) -> None:
        with backends[number].deploy(order("cloud")) as deployment, deployment.client() as client:
            both.wait()
            deployment.states()
            answer = client.infer("tiny-identity", {"x": values[name]})
            if not np.array_equal(answer.outputs["y"], values[name]):
                met.append(name)
            both.wait()
            deployment.states()

    threads = [threading.Thread(target=use, args=pair) for pair in enumerate(values)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not met
    assert not both.broken
    assert not resources() - before


def test_without_control_groups_cores_are_limited_by_affinity_and_memory_is_unproven(
    tmp_path: Path, order: OrderOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity")
    monkeypatch.setattr(cgroups, "writable", lambda _: "no control groups here")
    backend = ProcessBackend(make_site(tmp_path))

    with backend.deploy(order("cloud")) as deployment:
        states = deployment.states()

    assert backend.describe().endswith("affinity and thread counts, memory unlimited: no control groups here")
    assert all(state.unproven == ("memory",) for state in states)


def test_without_affinity_only_threads_are_limited_and_cores_are_unproven(
    tmp_path: Path, order: OrderOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "writable", lambda _: "no control groups here")
    for name in ("sched_getaffinity", "sched_setaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    backend = ProcessBackend(make_site(tmp_path))

    with backend.deploy(order("edge")) as deployment, deployment.client() as client:
        client.infer("tiny-identity", INPUTS)
        (state,) = deployment.states()

    assert backend.describe().endswith("limits by thread counts only: no control groups here")
    assert state.unproven == ("cores", "memory")


@needs_cgroups
def test_a_group_that_cannot_be_made_is_said_of_the_tier(
    backend: ProcessBackend, order: OrderOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "MEMBERSHIP", Path("/proc/self/cgroup"))

    def full(*_: object) -> None:
        raise cgroups.CgroupError("control groups cannot be written (no space left)")

    monkeypatch.setattr(cgroups, "limited", full)
    with (
        pytest.raises(TierError, match=r"^tier edge cannot be limited: .*no space left"),
        backend.deploy(order("edge")),
    ):
        pass


@needs_cgroups
def test_a_server_that_cannot_be_put_into_its_group_is_said_of_the_tier(
    backend: ProcessBackend, order: OrderOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise cgroups.CgroupError("process 7 cannot be put into a group")

    monkeypatch.setattr(cgroups, "add", refuse)
    with pytest.raises(TierError, match=r"^tier edge cannot be limited: process 7"), backend.deploy(order("edge")):
        pass


def test_delay_and_jitter_of_a_link_are_kept_and_proven(tmp_path: Path, order: OrderOn) -> None:
    tiers = {name: {"cores": 1, "memory": "1 GiB"} for name in ("mobile", "edge")}
    link = {"rate": "100 Mbit/s", "delay": "20 ms", "jitter": "1 ms"}
    topology = Topology.model_validate({"tiers": tiers, "links": {"mobile-edge": link}})
    backend = ProcessBackend(replace(make_site(tmp_path), topology=topology))

    with backend.deploy(order("edge")) as deployment:
        (hop,) = deployment.hops
        with deployment.probe(hop) as lines:
            times_s = [lines.link.upload("/edgeai/probe", 100).took_s for _ in range(20)]
    assert min(times_s) > 0.03
    assert len({round(time_s, 4) for time_s in times_s}) > 5


def test_requests_need_the_token_of_the_deployment(backend: ProcessBackend, order: OrderOn) -> None:
    with backend.deploy(order("mobile")) as deployment, deployment.client() as client:
        client.infer("tiny-identity", INPUTS)
        port = deployment._servers["mobile"].port  # noqa: SLF001  # what another user of the host could find out
        with Client("127.0.0.1", port) as stranger, pytest.raises(RequestError, match="answered 401"):
            stranger.infer("tiny-identity", INPUTS)


def test_a_placement_on_several_tiers_is_refused_in_a_sentence(backend: ProcessBackend, artifact: Path) -> None:
    chain = DeploymentSpec("tiny-identity", artifact, Placement(("mobile", "edge")))

    with pytest.raises(TierError, match=r"^placement mobile\+edge: "), backend.deploy(chain):
        pass


def test_a_thin_link_gives_answers_more_time() -> None:
    tiers = {name: {"cores": 1, "memory": "1 GiB"} for name in ("mobile", "edge")}
    topology = Topology.model_validate(
        {"tiers": tiers, "links": {"mobile-edge": {"rate": "100 kbit/s", "delay": "500 ms"}}}
    )

    assert answer_timeout_s(topology.route("mobile"), 60) == 60
    assert answer_timeout_s(topology.route("edge"), 60) == 601


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime can use a GPU"
)
def test_a_gpu_that_is_preferred_and_not_there_is_reported_and_one_that_is_required_is_an_error(
    order: OrderOn, tmp_path: Path
) -> None:
    preferring = ProcessBackend(make_site(tmp_path / "prefer", edge={"gpu": "prefer"}))
    with preferring.deploy(order("edge")) as deployment:
        (state,) = deployment.states()
    assert "GPU (its models run on CPUExecutionProvider)" in state.unproven

    requiring = ProcessBackend(make_site(tmp_path / "require", edge={"gpu": "require"}))
    sentence = r"tier edge ended with exit code 1; its log ends: .*CUDAExecutionProvider, CPUExecutionProvider only .*"
    with pytest.raises(TierError, match=sentence), requiring.deploy(order("edge")):
        pass


def test_links_that_the_kernel_is_to_shape_are_refused(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    topology = site.topology.model_copy(update={"shaping": "kernel"})
    with pytest.raises(TierError, match=r'topology\.shaping is "kernel", .*: that needs the backend docker'):
        ProcessBackend(replace(site, topology=topology))
