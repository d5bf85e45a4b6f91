"""Nodes as containers: the same answers as from processes, in turn where cores are few, and without those killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_edgeai.tiers.backend import BackendContext, TierError
from pytest_edgeai.tiers.container_deployment import DockerDeployment
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.nodes import NodesDeployment, deploy
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.sharing import share_among_nodes
from pytest_edgeai.wire.client import RequestError
from tests.parallel import artifacts
from tests.parallel.artifacts import CLASSES, NAME, one_hot, order

from .conftest import assert_is_never_faster, make_site

OpenBackend = Callable[[BackendContext], DockerBackend]


def shared(folder: Path, placement: str) -> BackendContext:
    """A site of a host with two cores, whose nodes take turns."""
    site = make_site(folder)
    allotments = share_among_nodes(site.allotments, (Placement.parse(placement),), site.topology, 2)
    return replace(site, allotments=allotments)


def kill(deployment: NodesDeployment, name: str) -> None:
    node = deployment.nodes[name]
    assert isinstance(node, DockerDeployment)
    node.kill(name)


def test_variants_in_containers_answer_without_the_one_that_was_killed(
    open_backend: OpenBackend, tmp_path: Path
) -> None:
    artifact, matrices = artifacts.write_variants(tmp_path / "artifact", 3)
    backend = open_backend(shared(tmp_path, "mobile*3"))
    with deploy(backend, order(artifact, "mobile*3")) as deployment, deployment.client() as client:
        assert isinstance(deployment, NodesDeployment)
        assert [state.tier for state in deployment.states()] == ["mobile[0]", "mobile[1]", "mobile[2]"]
        assert all(state.limits["takes_turns"] for state in deployment.states())
        for label in range(CLASSES):
            answer = client.infer(NAME, one_hot(label))
            assert answer.outputs["labels"][0].tolist() == artifacts.summed(matrices, label)[0]
            assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
            assert not answer.missing
        kill(deployment, "mobile[1]")
        for label in (0, CLASSES - 1):  # until the engine's network gives up, seconds each
            answer = client.infer(NAME, one_hot(label))
            assert answer.outputs["labels"][0].tolist() == artifacts.summed([matrices[0], matrices[2]], label)[0]
            assert list(answer.missing) == ["mobile[1]"]
        assert "tier mobile[1] was killed by signal 9" in (deployment.diagnose() or "")
        with pytest.raises(TierError, match=r"tier mobile\[1\] was killed"):
            deployment.states()


def test_each_node_behind_a_link_is_reached_no_faster_and_all_of_a_group_are_needed(
    open_backend: OpenBackend, tmp_path: Path
) -> None:
    artifact, _ = artifacts.write_classes(tmp_path / "artifact", 2)
    backend = open_backend(shared(tmp_path, "edge*2"))
    with deploy(backend, order(artifact, "edge*2")) as deployment, deployment.client() as client:
        assert isinstance(deployment, NodesDeployment)
        assert [hop.name for hop in deployment.hops] == ["mobile-edge[0]", "mobile-edge[1]"]
        for hop in deployment.hops:
            assert_is_never_faster(deployment, hop)
        for label in range(CLASSES):
            answer = client.infer(NAME, one_hot(label))
            assert int(answer.outputs["labels"][0, 0]) == label
            assert f"mobile-{answer.slowest}" in {span.place for span in answer.spans}
        kill(deployment, "edge[1]")
        with pytest.raises(RequestError, match=r"node edge\[1\] is needed and has not answered"):
            client.infer(NAME, one_hot(0))
        assert "edge[1]" in (deployment.diagnose() or "")


def test_nodes_of_the_origin_do_not_reach_each_other(open_backend: OpenBackend, tmp_path: Path) -> None:
    artifact, _ = artifacts.write_variants(tmp_path / "artifact", 2)
    backend = open_backend(shared(tmp_path, "mobile*2"))
    with deploy(backend, order(artifact, "mobile*2")) as deployment:
        assert isinstance(deployment, NodesDeployment)
        containers = []
        for name, node in deployment.nodes.items():
            assert isinstance(node, DockerDeployment)
            containers.append(node.containers[name])
        networks = [set(one.inner.attrs["NetworkSettings"]["Networks"]) for one in containers]
        assert not networks[0] & networks[1]
