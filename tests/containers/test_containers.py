"""What the docker backend deploys, what it proves and what it leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_edgeai.settings import Tolerances
from pytest_edgeai.tiers.backend import Backend, Deployment, Order, Site, TierError
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.probe import Direction, probe_link
from pytest_edgeai.tiers.tier_container import PORT
from tests.containers.conftest import CORES, NAME, left_of, make_site
from tests.tiers.conftest import INPUTS

if TYPE_CHECKING:
    from docker import DockerClient

OrderOn = Callable[[str], Order]
WAYS = {"mobile": [], "edge": ["mobile-edge"], "cloud": ["mobile-edge", "edge-cloud"]}
TOLERANCES = Tolerances()


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
        assert deployment.diagnose() is None


def test_the_protocols_are_kept(backend: DockerBackend, order: OrderOn) -> None:
    general: Backend = backend
    assert isinstance(general, Backend)
    assert isinstance(general, AbstractContextManager)
    with general.deploy(order("mobile")) as deployment:
        running: Deployment = deployment
        assert running.hops == ()


def test_tiers_say_the_limits_that_they_were_given(
    open_backend: Callable[[Site], DockerBackend], order: OrderOn, tmp_path: Path
) -> None:
    site = make_site(tmp_path, memory="300 MiB")
    with open_backend(site).deploy(order("cloud")) as deployment:
        states = {state.tier: state for state in deployment.states()}
    assert next(iter(states)) == "cloud"
    assert set(states) == set(CORES)
    for tier, state in states.items():
        assert state.unproven == ()
        assert state.limits["memory_bytes"] == 300 * 2**20
        assert state.limits["cpu_quota_cores"] == site.allotments[tier].cores
        assert state.limits["cpu_period_s"] == 0.01
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


def test_mobile_reaches_cloud_only_through_edge(backend: DockerBackend, order: OrderOn) -> None:
    with backend.deploy(order("cloud")) as deployment:
        networks = deployment.containers["cloud"].inner.attrs["NetworkSettings"]["Networks"]
        addresses = [network["IPAddress"] for network in networks.values()]
        assert len(addresses) == 1
        script = f"import socket; socket.create_connection(({addresses[0]!r}, {PORT}), 2)"
        codes = {
            tier: deployment.containers[tier].inner.exec_run(["python3", "-c", script]).exit_code
            for tier in ("edge", "mobile")
        }
    assert codes == {"edge": 0, "mobile": 1}


def test_links_have_their_rate_in_both_directions(backend: DockerBackend, order: OrderOn) -> None:
    with backend.deploy(order("cloud")) as deployment:
        for hop in deployment.hops:
            for probe in probe_link(deployment.probe(hop), hop, 0.2, TOLERANCES):
                assert probe.ok, probe.sentence()


@pytest.mark.parametrize(("end", "direction"), [("edge", "up"), ("cloud", "down")])
def test_a_link_that_lost_its_shape_is_seen(
    backend: DockerBackend, order: OrderOn, end: str, direction: Direction
) -> None:
    with backend.deploy(order("cloud")) as deployment:
        hop = deployment.hops[1]
        deployment.containers[end].as_root("for i in $(ls /sys/class/net); do tc qdisc del dev $i root || true; done")
        probes = {probe.direction: probe for probe in probe_link(deployment.probe(hop), hop, 0.1, TOLERANCES)}
        other: Direction = "down" if direction == "up" else "up"
        assert not probes[direction].ok
        assert "Mbit/s through" in probes[direction].sentence()
        assert probes[other].ok, probes[other].sentence()


def test_two_sessions_do_not_meet(
    open_backend: Callable[[Site], DockerBackend], order: OrderOn, tmp_path: Path, client: DockerClient
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
    backend: DockerBackend, site: Site, order: OrderOn, client: DockerClient
) -> None:
    with backend.deploy(order("cloud")):
        names = left_of(client, site.session_id)
        assert {name.rpartition("-")[2] for name in names} >= set(CORES)
    with pytest.raises(ZeroDivisionError), backend.deploy(order("edge")):
        raise ZeroDivisionError
    assert all("-1-" not in name and "-2-" not in name for name in left_of(client, site.session_id))


def test_what_cannot_be_served_is_said_before_anything_starts(
    backend: DockerBackend, order: OrderOn, tmp_path: Path
) -> None:
    nothing = Order("nothing", tmp_path, order("edge").placement)
    sentence = r"tier edge cannot serve nothing: there is no .*model.onnx"
    with pytest.raises(TierError, match=sentence), backend.deploy(nothing):
        pass
