"""Which placements are started and which are on a remote server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import DeploymentSpec, TierError
from pytest_edgeai.tiers.mixed import MixedBackend, split_placements
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.registry import open_backend
from pytest_edgeai.tiers.specs import Topology, paper_topology
from tests.tiers.conftest import INPUTS, make_site
from tests.tiers.test_remote import tier_elsewhere


def topology(**tiers: Mapping[str, object]) -> Topology:
    described = paper_topology()
    for name, more in tiers.items():
        described["tiers"][name].update(more)
    return Topology.model_validate(described)


def placements(*names: str) -> tuple[Placement, ...]:
    return tuple(map(Placement.parse, names))


def test_without_servers_elsewhere_everything_is_started() -> None:
    every = placements("mobile", "edge", "cloud", "mobile+edge")
    assert split_placements(topology(), every) == (every, ())


def test_a_server_elsewhere_takes_what_is_placed_on_it() -> None:
    started, elsewhere = split_placements(
        topology(cloud={"url": "http://server"}), placements("mobile", "cloud", "edge", "mobile+edge")
    )
    assert started == placements("mobile", "edge", "mobile+edge")
    assert elsewhere == placements("cloud")


def test_a_chain_with_a_server_elsewhere_is_refused() -> None:
    with pytest.raises(TierError, match=r"edge\+cloud: tier cloud is a remote server .* no part of one"):
        split_placements(topology(cloud={"url": "http://server"}), placements("edge+cloud"))


@pytest.mark.parametrize("through", ["edge", "mobile"])
def test_a_way_through_a_server_elsewhere_is_refused(through: str) -> None:
    with pytest.raises(TierError, match=rf"cloud is reached through tier {through}, which is a remote server"):
        split_placements(topology(**{through: {"url": "http://server"}}), placements("cloud"))


@pytest.mark.parametrize("name", ["process", "auto"])
def test_processes_and_a_server_elsewhere_share_a_session(
    name: str, artifact: Path, order: Callable[[str], DeploymentSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with tier_elsewhere(artifact.parent) as (_, url):
        backend = open_backend(name, make_site(tmp_path, cloud={"url": url}), {})
        assert isinstance(backend, MixedBackend)
        with backend:
            for tier in ("mobile", "cloud"):
                with backend.deploy(order(tier)) as deployment, deployment.client() as client:
                    assert np.array_equal(client.infer("tiny-identity", INPUTS).outputs["y"], INPUTS["x"])
                    assert ("links" in {what for state in deployment.states() for what in state.unproven}) == (
                        tier == "cloud"
                    )
    assert "for cloud remote servers; their limits and links are unproven" in backend.describe()


def test_an_engine_of_its_own_needs_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    site = make_site(tmp_path, cloud={"docker_host": "ssh://server"})
    for name in ("process", "auto"):
        with pytest.raises(SettingsError, match="tier cloud names a container engine: that needs the backend docker"):
            open_backend(name, site, {})


def test_tiers_elsewhere_take_no_part_in_sharing_this_host() -> None:
    described = topology(cloud={"docker_host": "tcp://server:2376", "cores": 16, "memory": "64 GiB"})
    alone = allot({name: tier for name, tier in described.tiers.items() if name != "cloud"}, 2, 2**33)
    shared = allot(described.tiers, 2, 2**33)
    assert {name: shared[name] for name in alone} == alone
    assert (shared["cloud"].cores, shared["cloud"].threads, shared["cloud"].compute_scale) == (16, 16, 1.0)
    assert shared["cloud"].memory_bytes == 64 * 2**30


def test_a_server_elsewhere_is_given_nothing() -> None:
    assert set(allot(topology(cloud={"url": "http://server"}).tiers, 2, 2**33)) == {"mobile", "edge"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"docker_host": "ssh://a", "url": "http://b"}, "a tier is in one place: give docker_host or url"),
        ({"docker_host": "server"}, "expected ssh://USER@HOST"),
        ({"address": "10.0.0.1"}, "address needs docker_host or docker_context beside it"),
        ({"token_file": "token"}, "token_file needs url beside it"),
    ],
)
def test_places_that_make_no_sense_are_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        topology(cloud=more)
