"""Nodes have cores of their own, or take turns while all tiers are stretched alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import DeploymentSpec
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.sharing import ROOM, cpus_of_node, leaves_a_core, servers_poll, share_among_nodes
from pytest_edgeai.tiers.specs import Topology, paper_topology

MEMORY = 2**40


def _topology(**tiers: dict[str, object]) -> Topology:
    described = paper_topology()
    for name, settings in tiers.items():
        described["tiers"][name] |= settings
    return Topology.model_validate(described)


def _placements(*names: str) -> tuple[Placement, ...]:
    return tuple(Placement.parse(name) for name in names)


def test_without_nodes_nothing_changes() -> None:
    topology = _topology()
    alone = allot(topology.tiers, 2, MEMORY)
    assert share_among_nodes(alone, _placements("mobile", "mobile+edge"), topology, 2) == alone


def test_on_two_cores_nodes_take_turns_and_every_tier_is_stretched_as_much_more() -> None:
    topology = _topology()
    alone = allot(topology.tiers, 2, MEMORY)
    shared = share_among_nodes(alone, _placements("mobile", "mobile*5"), topology, 2)

    assert [one.compute_scale for one in alone.values()] == [4, 2, 1]
    assert [one.compute_scale for one in shared.values()] == [12, 6, 3]
    assert [one.takes_turns for one in shared.values()] == [True, False, False]


@given(
    host_cores=st.integers(1, 64),
    nodes=st.dictionaries(st.sampled_from(["mobile", "edge", "cloud"]), st.integers(2, 9), min_size=1),
)
def test_nodes_have_cores_of_their_own_or_room_in_the_stretch(host_cores: int, nodes: dict[str, int]) -> None:
    topology = _topology()
    alone = allot(topology.tiers, host_cores, MEMORY)
    shared = share_among_nodes(alone, tuple(Placement((t,), n) for t, n in nodes.items()), topology, host_cores)

    factors = {round(shared[tier].compute_scale / alone[tier].compute_scale, 9) for tier in alone}
    assert len(factors) == 1
    available = list(range(host_cores))
    for tier, number in nodes.items():
        cpus = [cpus_of_node(shared[tier], node, available) for node in range(number)]
        assert all(len(one) == alone[tier].cores for one in cpus)
        if shared[tier].takes_turns:
            assert shared[tier].compute_scale >= ROOM * number
            assert all(one == cpus[0] for one in cpus)
        else:
            taken = [cpu for one in cpus for cpu in one]
            assert len(taken) == len(set(taken)) < host_cores
    assert shared == alone or any(one.takes_turns for one in shared.values())


def test_a_tier_alone_gets_the_last_cores() -> None:
    (allotment,) = allot({"edge": _topology().tiers["edge"]}, 16, MEMORY).values()
    assert cpus_of_node(allotment, None, list(range(16))) == list(range(8, 16))


def test_a_declared_scale_is_multiplied_too() -> None:
    topology = _topology(mobile={"compute_scale": 1}, edge={"compute_scale": 1}, cloud={"compute_scale": 1})
    shared = share_among_nodes(allot(topology.tiers, 2, MEMORY), _placements("mobile*3"), topology, 2)
    assert {one.compute_scale for one in shared.values()} == {2 * 3.0}


@pytest.mark.parametrize(
    ("tiers", "placement", "said"),
    [
        ({"edge": {"url": "http://pi"}}, "edge*2", r"edge\*2: tier edge is remote"),
        ({"edge": {"docker_host": "ssh://pi@board"}}, "edge*2", "tier edge is remote"),
        ({"cloud": {"url": "http://far"}}, "mobile*5", r"topology\.tiers\.cloud\.url"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(tiers: dict[str, dict[str, object]], placement: str, said: str) -> None:
    topology = _topology(**tiers)
    with pytest.raises(SettingsError, match=said):
        share_among_nodes(allot(topology.tiers, 2, MEMORY), _placements("mobile", placement), topology, 2)


def test_only_a_client_with_a_core_of_its_own_polls() -> None:
    assert leaves_a_core(frozenset({1}), [0, 1])
    assert not leaves_a_core(frozenset({0, 1}), [0, 1])
    assert not leaves_a_core(frozenset(), [0, 1]), "where tiers compute is not known"


@pytest.mark.parametrize(
    ("cores", "node", "polls"),
    [
        ({"edge": {1}}, None, True),
        ({"edge": {1}, "cloud": {2}}, None, True),
        ({"edge": {1}, "cloud": {1}}, None, False),
        ({"edge": {0, 1, 2, 3}}, None, False),
        ({"edge[0]": {1}}, 0, False),
    ],
)
def test_servers_poll_where_nobody_else_wants_their_cores(
    cores: dict[str, set[int]], node: int | None, polls: bool
) -> None:
    order = DeploymentSpec("model", Path(), Placement(("edge",)), node=node)
    assert servers_poll(order, {name: frozenset(one) for name, one in cores.items()}, range(4)) == polls
