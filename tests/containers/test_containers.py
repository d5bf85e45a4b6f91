"""What the docker backend deploys, what it proves and what it leaves behind."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_edgeai.serving.server import PROBE_PATH
from pytest_edgeai.tiers import networks
from pytest_edgeai.tiers.backend import Backend, BackendContext, Deployment, DeploymentSpec, TierError
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.probe import Direction, probe_link
from pytest_edgeai.tiers.specs import LinkSpec
from pytest_edgeai.tiers.tier_container import PORT
from tests.containers.conftest import CORES, NAME, assert_is_never_faster, left_of, make_site
from tests.tiers.conftest import INPUTS
from tests.tiers.test_chains import order_in_parts

if TYPE_CHECKING:
    from docker import DockerClient

OrderOn = Callable[[str], DeploymentSpec]
WAYS = {"mobile": [], "edge": ["mobile-edge"], "cloud": ["mobile-edge", "edge-cloud"]}
IDLE = {"mobile": set[str](), "edge": {"mobile"}, "cloud": {"mobile"}}
"""Where the client sits with a tier that computes nothing, which needs no container."""
SHAPINGS = ("held", "kernel")


@pytest.mark.parametrize("tier", list(WAYS))
def test_a_model_answers_on_its_tier_over_every_link_on_the_way(
    backend: DockerBackend, order: OrderOn, tier: str
) -> None:
    with backend.deploy(order(tier)) as deployment, deployment.client() as client:
        answer = client.infer(NAME, INPUTS)
        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        assert {span.place for span in answer.spans if span.name == "transmit" and span.place} == set(WAYS[tier])
        assert {span.place for span in answer.spans if span.name == "compute"} == {tier}
        assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
        assert [hop.name for hop in deployment.hops] == WAYS[tier]
        assert set(deployment.containers) == {tier, *(name.partition("-")[0] for name in WAYS[tier])} - IDLE[tier]
        assert deployment.diagnose() is None


def test_the_protocols_are_kept(backend: DockerBackend, order: OrderOn) -> None:
    general: Backend = backend
    assert isinstance(general, Backend)
    assert isinstance(general, AbstractContextManager)
    with general.deploy(order("mobile")) as deployment:
        running: Deployment = deployment
        assert running.hops == ()


@pytest.mark.parametrize("shaping", SHAPINGS)
def test_tiers_say_the_limits_that_they_were_given(
    open_backend: Callable[[BackendContext], DockerBackend], order: OrderOn, tmp_path: Path, shaping: str
) -> None:
    site = make_site(tmp_path, memory="300 MiB", shaping=shaping)
    with open_backend(site).deploy(order("cloud")) as deployment:
        states = {state.tier: state for state in deployment.states()}
    assert next(iter(states)) == "cloud"
    assert set(states) == set(CORES) - (IDLE["cloud"] if shaping == "held" else set())
    for tier, state in states.items():
        assert state.unproven == ()
        assert state.limits["memory_bytes"] == 300 * 2**20
        quota = (None, None) if shaping == "held" else (site.allotments[tier].cores, 0.01)
        assert (state.limits["cpu_quota_cores"], state.limits["cpu_period_s"]) == quota
        assert len(state.limits["cpus"]) == site.allotments[tier].cores
        assert state.limits["nr_throttled"] >= 0
        assert state.limits["throttled_s"] >= 0
        assert 0 < state.limits["peak_memory_bytes"] < 300 * 2**20
    assert states["cloud"].limits["load_s"][NAME] > 0


def test_limits_that_do_not_hold_are_seen(backend: DockerBackend, order: OrderOn) -> None:
    with backend.deploy(order("mobile")) as deployment:
        deployment.containers["mobile"].inner.update(mem_limit=2**28, memswap_limit=2**28)
        with pytest.raises(TierError, match=r"tier mobile was given 536870912 bytes of memory and has 268435456"):
            deployment.states()


def test_the_server_has_no_rights(backend: DockerBackend, order: OrderOn) -> None:
    with backend.deploy(order("mobile")) as deployment:
        _, output = deployment.containers["mobile"].inner.exec_run(["cat", "/proc/1/status"])
        assert isinstance(output, bytes)
        status = dict(line.split(":\t", 1) for line in output.decode().splitlines() if ":\t" in line)
        assert status["Uid"].split() == ["10001"] * 4
        for rights in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status[rights], 16) == 0
        _, output = deployment.containers["mobile"].inner.exec_run(
            ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"], user="0"
        )
        assert output == b""


def test_mobile_reaches_cloud_only_through_edge(backend: DockerBackend, tmp_path: Path) -> None:
    with backend.deploy(order_in_parts(tmp_path, "mobile+cloud")) as deployment:
        attached = deployment.containers["cloud"].inner.attrs["NetworkSettings"]["Networks"]
        addresses = [network["IPAddress"] for network in attached.values()]
        assert len(addresses) == 1
        script = f"import socket; socket.create_connection(({addresses[0]!r}, {PORT}), 2)"
        codes = {
            tier: deployment.containers[tier].inner.exec_run(["python3", "-c", script]).exit_code
            for tier in ("edge", "mobile")
        }
    assert codes == {"edge": 0, "mobile": 1}


@pytest.mark.parametrize("shaping", SHAPINGS)
def test_links_are_never_faster_than_declared(
    open_backend: Callable[[BackendContext], DockerBackend], order: OrderOn, tmp_path: Path, shaping: str
) -> None:
    with open_backend(make_site(tmp_path, shaping=shaping)).deploy(order("cloud")) as deployment:
        for hop in deployment.hops:
            assert_is_never_faster(deployment, hop)


def test_a_message_of_any_size_takes_its_time_on_a_link_that_was_idle(
    open_backend: Callable[[BackendContext], DockerBackend], order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, edge_cloud="1 Mbit/s")
    with open_backend(site).deploy(order("cloud")) as deployment:
        for hop, size_bytes in itertools.product(deployment.hops, (200, 1000, 4000, 100_000)):
            shape = hop.link.shape
            with deployment.probe(hop) as lines:
                lines.link.upload(PROBE_PATH, 1)
                time.sleep(0.5)
                for over in (
                    lines.link.upload(PROBE_PATH, size_bytes),
                    lines.link.download(f"{PROBE_PATH}?bytes={size_bytes}"),
                ):
                    assert over.took_s >= shape.ideal_s(over.sent_bytes) + shape.ideal_s(over.received_bytes)


@pytest.mark.parametrize(("end", "direction"), [("edge", "up"), ("cloud", "down")])
def test_a_link_that_lost_its_shape_in_the_kernel_is_seen(
    open_backend: Callable[[BackendContext], DockerBackend],
    order: OrderOn,
    tmp_path: Path,
    end: str,
    direction: Direction,
) -> None:
    site = make_site(tmp_path, edge_cloud="1 Mbit/s", shaping="kernel")
    with open_backend(site).deploy(order("cloud")) as deployment:
        hop = deployment.hops[1]
        deployment.containers[end].as_root("for i in $(ls /sys/class/net); do tc qdisc del dev $i root || true; done")
        with deployment.probe(hop) as lines:
            probes = {probe.direction: probe for probe in probe_link(lines, hop, 0.5)}
        other: Direction = "down" if direction == "up" else "up"
        assert probes[direction].rate_error < -0.5, probes[direction].sentence()
        assert probes[other].rate_error > -0.03, probes[other].sentence()


@pytest.mark.parametrize("number", [0, 1])
def test_a_held_link_of_another_rate_than_declared_is_seen(backend: DockerBackend, order: OrderOn, number: int) -> None:
    with backend.deploy(order("cloud")) as deployment:
        hop = deployment.hops[number]
        slower = hop.link.model_copy(update={"rate_bps": hop.link.rate_bps / 4})
        with deployment.probe(hop) as lines:
            for probe in probe_link(lines, replace(hop, link=slower), 0.1):
                # The end inside the container, or this one, still holds what it was told to.
                assert probe.rate_error < -0.5, probe.sentence()


def test_the_delay_of_a_link_needs_nothing_of_the_kernel(
    open_backend: Callable[[BackendContext], DockerBackend], order: OrderOn, site: BackendContext
) -> None:
    delayed = LinkSpec.model_validate({"rate": "10 Mbit/s", "delay": "30 ms"})
    links = {**site.topology.links, "mobile-edge": delayed, "edge-cloud": delayed}
    topology = site.topology.model_copy(update={"links": links})
    with (
        open_backend(replace(site, topology=topology)).deploy(order("cloud")) as deployment,
        deployment.client() as client,
    ):
        assert client.infer(NAME, INPUTS).latency_s > 4 * 0.03


def test_a_container_that_the_client_reaches_publishes_no_port(backend: DockerBackend, order: OrderOn) -> None:
    with backend.deploy(order("cloud")) as deployment:
        for container in deployment.containers.values():
            container.inner.reload()
            assert not any(container.inner.ports.values())


def test_where_the_clients_clock_is_another_one_it_sends_through_the_origins_container(
    backend: DockerBackend, order: OrderOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No engine in a virtual machine is at hand; to this process its bridges are as far away.
    monkeypatch.setattr(networks, "_INTERFACES", Path("/nowhere"))
    with backend.deploy(order("cloud")) as deployment, deployment.client() as client:
        assert set(deployment.containers) == set(CORES)
        assert np.array_equal(client.infer(NAME, INPUTS).outputs["y"], INPUTS["x"])
        for hop in deployment.hops:
            assert_is_never_faster(deployment, hop)
        assert deployment.cores == frozenset()


def test_two_sessions_do_not_meet(
    open_backend: Callable[[BackendContext], DockerBackend], order: OrderOn, tmp_path: Path, client: DockerClient
) -> None:
    one, other = (open_backend(make_site(tmp_path / name)) for name in ("one", "other"))
    answers: list[bool] = []

    def measure(backend: DockerBackend) -> None:
        with backend.deploy(order("edge")) as deployment, deployment.client() as connection:
            answers.append(np.array_equal(connection.infer(NAME, INPUTS).outputs["y"], INPUTS["x"]))

    threads = [threading.Thread(target=measure, args=(backend,)) for backend in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True, True]


def test_nothing_of_a_trial_is_left_when_it_is_over(
    backend: DockerBackend, site: BackendContext, order: OrderOn, client: DockerClient
) -> None:
    with backend.deploy(order("cloud")):
        names = left_of(client, site.session_id)
        assert {name.rpartition("-")[2] for name in names} >= {"edge", "cloud"}
    with pytest.raises(ZeroDivisionError), backend.deploy(order("edge")):
        raise ZeroDivisionError
    assert all("-1-" not in name and "-2-" not in name for name in left_of(client, site.session_id))


def test_what_cannot_be_served_is_said_before_anything_starts(
    backend: DockerBackend, order: OrderOn, tmp_path: Path
) -> None:
    nothing = DeploymentSpec("nothing", tmp_path, order("edge").placement)
    sentence = r"tier edge cannot serve nothing: there is no .*model.onnx"
    with pytest.raises(TierError, match=sentence), backend.deploy(nothing):
        pass
