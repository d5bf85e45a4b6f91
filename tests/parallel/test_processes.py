"""Nodes as real processes: what fans out to them, what is made of their answers, and what happens without some."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.measure.host import usable_cores
from pytest_edgeai.parallel.fan_out import FanOutClient
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, TierError
from pytest_edgeai.tiers.nodes import NodesDeployment, deploy
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.process import ProcessBackend, ProcessDeployment
from pytest_edgeai.tiers.sharing import share_among_nodes
from pytest_edgeai.tiers.specs import Topology
from pytest_edgeai.wire.client import Answer, RequestError
from tests.tiers.conftest import LINKS, make_site, resources
from tests.tiers.peers import stopped

from . import artifacts
from .artifacts import CLASSES, NAME, one_hot, order

NODES = 3


@contextlib.contextmanager
def running(
    folder: Path, artifact: Path, placement: str, site: BackendContext | None = None
) -> Iterator[NodesDeployment]:
    """The nodes of an artifact; nothing may be left of them."""
    before = resources()
    wanted = Placement.parse(placement)
    with deploy(ProcessBackend(shared(site or make_site(folder), wanted)), order(artifact, placement)) as deployment:
        assert isinstance(deployment, NodesDeployment)
        yield deployment
    assert not resources() - before


def shared(site: BackendContext, *placements: Placement) -> BackendContext:
    """A site whose nodes take turns where that is needed, as in a session."""
    cores = usable_cores()
    allotments = share_among_nodes(allot(site.topology.tiers, cores, 2**40), placements, site.topology, cores)
    return replace(site, allotments=allotments, placements=placements)


def kill(deployment: NodesDeployment, name: str) -> None:
    node = deployment.nodes[name]
    assert isinstance(node, ProcessDeployment)
    node.kill(name)


def labels_of(answer: Answer) -> list[int]:
    return [int(label) for label in answer.outputs["labels"][0]]


def test_variants_answer_with_the_sum_of_their_scores_and_without_those_that_were_killed(tmp_path: Path) -> None:
    artifact, matrices = artifacts.write_variants(tmp_path / "artifact", NODES)
    with running(tmp_path, artifact, f"mobile*{NODES}") as deployment, deployment.client() as client:
        assert list(deployment.nodes) == ["mobile[0]", "mobile[1]", "mobile[2]"]
        assert deployment.hops == ()
        assert [state.tier for state in deployment.states()] == list(deployment.nodes)
        assert deployment.diagnose() is None
        slowest = set()
        for label in [*range(CLASSES)] * 3:
            answer = client.infer(NAME, one_hot(label))
            expected, scores = artifacts.summed(matrices, label)
            assert labels_of(answer) == expected
            assert answer.outputs["scores"][0] == pytest.approx(scores, abs=1e-5)
            assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
            assert {span.place for span in answer.spans if span.name == "compute"} == {answer.slowest}
            assert all(span.duration_s >= 0 for span in answer.spans)
            assert answer.spans[-1].name == "transmit"
            assert not answer.missing
            slowest.add(answer.slowest)
        assert slowest <= set(deployment.nodes)

        left = list(matrices)
        for name in ("mobile[1]", "mobile[0]"):
            kill(deployment, name)
            del left[int(name[-2])]
            for label in range(CLASSES):
                answer = client.infer(NAME, one_hot(label))
                assert labels_of(answer) == artifacts.summed(left, label)[0]
                assert name in answer.missing
                assert answer.latency_s < 10  # who is known to be gone is not waited for until the deadline
                assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
            assert "was killed by signal 9" in (deployment.diagnose() or "")
        with pytest.raises(TierError, match=r"tier mobile\[0\] was killed by signal 9"):
            deployment.states()
        kill(deployment, "mobile[2]")
        with pytest.raises(RequestError, match=r"no node has answered \(mobile\[0\]: "):
            client.infer(NAME, one_hot(0))


def test_a_node_that_is_late_is_left_out_and_takes_part_again_later(tmp_path: Path) -> None:
    artifact, matrices = artifacts.write_variants(tmp_path / "artifact", NODES, deadline_s=1.0)
    with running(tmp_path, artifact, f"mobile*{NODES}") as deployment, deployment.client() as client:
        client.infer(NAME, one_hot(0))
        node = deployment.nodes["mobile[1]"]
        assert isinstance(node, ProcessDeployment)
        pid = node._servers["mobile[1]"].pid  # noqa: SLF001
        with stopped(pid):
            for label in range(2):
                answer = client.infer(NAME, one_hot(label))
                assert answer.missing == {"mobile[1]": "no answer within the deadline of 1 s"}
                assert labels_of(answer) == artifacts.summed([matrices[0], matrices[2]], label)[0]
                assert 1.0 <= answer.latency_s < 5.0
                assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
                assert {span.name: span.duration_s for span in answer.spans}["aggregate"] > 0.5
        time.sleep(0.2)  # late answers to the earlier requests go nowhere
        for label in range(CLASSES):
            answer = client.infer(NAME, one_hot(label))
            assert not answer.missing
            assert labels_of(answer) == artifacts.summed(matrices, label)[0]


def test_groups_of_classes_need_every_node(tmp_path: Path) -> None:
    artifact, _ = artifacts.write_classes(tmp_path / "artifact", NODES)
    with running(tmp_path, artifact, f"edge*{NODES}") as deployment, deployment.client() as client:
        assert [hop.name for hop in deployment.hops] == ["mobile-edge[0]", "mobile-edge[1]", "mobile-edge[2]"]
        for hop in deployment.hops:
            lines = deployment.probe(hop)
            assert lines is not None
            with lines:
                assert lines.link.upload("/edgeai/probe", 1000).took_s >= hop.link.shape.ideal_s(1000)
        for label in range(CLASSES):
            answer = client.infer(NAME, one_hot(label))
            assert labels_of(answer)[0] == label
            assert answer.spans[-1].place == f"mobile-{answer.slowest}"
        for name in ("edge[2]", "edge[0]"):
            kill(deployment, name)
            for _ in range(3):
                with pytest.raises(RequestError, match=r"node edge\[[02]\] is needed and has not answered: "):
                    client.infer(NAME, one_hot(0))


def test_copies_take_requests_in_turn_and_together_have_as_many_in_flight(tmp_path: Path) -> None:
    artifact = artifacts.write_copies(tmp_path / "artifact", 2)
    with running(tmp_path, artifact, "mobile*2") as deployment, deployment.client() as client:
        answers = [client.infer(NAME, one_hot(label % CLASSES)) for label in range(4)]
        assert [answer.slowest for answer in answers] == ["mobile[0]", "mobile[1]"] * 2
        assert [labels_of(answer)[0] for answer in answers] == [0, 1, 2, 3]

        # So many that the thread of the second node is there before the first one has made all of them.
        labels = [number % CLASSES for number in range(200)]
        many, elapsed_s = client.infer_all(NAME, [one_hot(label) for label in labels])
        assert [labels_of(answer)[0] for answer in many] == labels
        assert {answer.slowest for answer in many} == {"mobile[0]", "mobile[1]"}
        assert elapsed_s < sum(answer.latency_s for answer in many) * 1.5

        kill(deployment, "mobile[1]")
        client.infer(NAME, one_hot(0))
        with pytest.raises(RequestError, match=r"node mobile\[1\] has not answered: "):
            client.infer(NAME, one_hot(0))
        with pytest.raises(RequestError, match=r"node mobile\[1\] has not answered: "):
            client.infer_all(NAME, [one_hot(0)] * 200)


def test_nodes_of_the_origin_are_reached_over_its_link_with_itself(tmp_path: Path) -> None:
    artifact, _ = artifacts.write_variants(tmp_path / "artifact", 2)
    site = make_site(tmp_path)
    links = {"mobile-mobile": {"rate": "50 Mbit/s"}, **LINKS}
    described = site.topology.model_dump() | {"links": links}
    described["tiers"] = {name: {"cores": 4, "memory": "1 GiB"} for name in described["tiers"]}
    topology = Topology.model_validate(described)
    with running(tmp_path, artifact, "mobile*2", replace(site, topology=topology)) as deployment:
        assert [hop.name for hop in deployment.hops] == ["mobile-mobile[0]", "mobile-mobile[1]"]
        assert {hop.link.rate_bps for hop in deployment.hops} == {50e6}
        with deployment.client() as client:
            answer = client.infer(NAME, one_hot(1))
            assert answer.spans[-1].place == f"mobile-{answer.slowest}"


def test_nodes_behind_two_links_each_have_both_for_themselves(tmp_path: Path) -> None:
    artifact, _ = artifacts.write_variants(tmp_path / "artifact", 2)
    with running(tmp_path, artifact, "cloud*2") as deployment, deployment.client() as client:
        answer = client.infer(NAME, one_hot(1))
        number = answer.slowest[-3:]
        crossed = [span.place for span in answer.spans if span.name == "transmit"]
        assert crossed == [f"edge{number}-cloud{number}", f"mobile-edge{number}"]
        assert {state.tier for state in deployment.states()} == {"cloud[0]", "edge[0]", "cloud[1]", "edge[1]"}


def test_nodes_that_share_a_core_compute_in_turn_and_say_so(tmp_path: Path) -> None:
    artifact, _ = artifacts.write_variants(tmp_path / "artifact", 2)
    site = shared(make_site(tmp_path), Placement(("mobile",), 2))
    with running(tmp_path, artifact, "mobile*2", site) as deployment, deployment.client() as client:
        turns = {state.limits["takes_turns"] for state in deployment.states()}
        assert turns == {2 * site.allotments["mobile"].cores >= usable_cores()}
        answers = [client.infer(NAME, one_hot(1)) for _ in range(20)]
        spans = [{span.name: span.duration_s for span in answer.spans} for answer in answers]
        scale = site.allotments["mobile"].compute_scale
        assert all(one["stretch"] >= (scale - 1) * one["compute"] * 0.999 for one in spans if "wait" not in one)


@pytest.mark.parametrize(
    ("placement", "said"),
    [("mobile*2", "is for 3 nodes"), ("mobile", "no .*model.onnx")],
)
def test_another_number_of_nodes_than_the_artifact_is_for_is_refused(tmp_path: Path, placement: str, said: str) -> None:
    artifact, _ = artifacts.write_variants(tmp_path / "artifact", 3)
    with (
        pytest.raises(TierError, match=said),
        deploy(ProcessBackend(shared(make_site(tmp_path), Placement(("mobile",), 2))), order(artifact, placement)),
    ):
        pass


def test_an_artifact_for_one_node_is_refused(tmp_path: Path) -> None:
    artifacts.write_node(tmp_path / "artifact", np.eye(CLASSES), 2)
    with (
        pytest.raises(TierError, match=re.escape("placement mobile*2: tiny-nodes is not for several nodes")),
        deploy(ProcessBackend(make_site(tmp_path)), order(tmp_path / "artifact", "mobile*2")),
    ):
        pass


def test_a_node_that_does_not_start_is_named_and_nothing_is_left_of_the_others(tmp_path: Path) -> None:
    artifact, _ = artifacts.write_variants(tmp_path / "artifact", 2)
    (artifact / "node-1" / "model.onnx").write_bytes(b"this is no model")
    before = resources()
    with (
        pytest.raises(TierError, match=r"tier mobile\[1\] ended with exit code 1"),
        deploy(ProcessBackend(shared(make_site(tmp_path), Placement(("mobile",), 2))), order(artifact, "mobile*2")),
    ):
        pass
    assert not resources() - before


def test_a_client_is_for_as_many_nodes_as_its_artifact() -> None:
    from pytest_edgeai.parallel.aggregation import Aggregation

    with pytest.raises(ValueError, match="0 nodes for an artifact of 2"):
        FanOutClient({}, Aggregation("copies", 2, 6, 2))
