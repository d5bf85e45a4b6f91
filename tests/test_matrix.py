"""Strategies, their ids, their selection and their schedule."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.matrix.names import parse_placements, select
from pytest_edgeai.matrix.schedule import schedule
from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.specs import Topology, paper_topology


def test_ids_read_model_operator_placement_replicate() -> None:
    strategy = Strategy("bert", "sptq", Placement(("edge",)))
    assert PlannedTrial(strategy, 0).id == "bert-sptq-edge-r0"


@pytest.mark.parametrize("text", ["edge", "mobile+edge", "mobile+edge+cloud", "mobile*2", "edge*15"])
def test_a_placement_is_read_back_as_it_is_written(text: str) -> None:
    assert str(Placement.parse(text)) == text


def test_placements_are_tiers_in_their_order_then_what_is_made_of_them_as_it_comes() -> None:
    topology = Topology.model_validate(paper_topology())
    names = ["edge*5", "mobile+edge", "mobile*2", "edge", "mobile", "edge*5"]
    assert [str(one) for one in parse_placements("tiers", names, topology)] == [
        "mobile",
        "edge",
        "edge*5",
        "mobile+edge",
        "mobile*2",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mobile*1", r"tiers: 'mobile\*1' is not a tier and a number of nodes from 2 to 99"),
        ("mobile*", "is not a tier and a number"),
        ("mobile*02", "is not a tier and a number"),
        ("mobile*-2", "is not a tier and a number"),
        ("mobile*100", "is not a tier and a number"),
        ("mobile*٣", "is not a tier and a number"),
        ("mobile+edge*2", "is not a tier and a number"),
        ("*3", r"tiers: \*3: there is no tier ''"),
        ("moble*3", r"tiers: moble\*3: there is no tier 'moble'; did you mean 'mobile'"),
    ],
)
def test_a_number_of_nodes_that_is_none_is_refused(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_placements("tiers", [name], Topology.model_validate(paper_topology()))


def test_names_are_selected_in_the_order_in_which_they_are_known() -> None:
    assert select("model", "models", ["c", "a"], ["a", "b", "c"]) == ("a", "c")
    assert select("model", "models", None, ["a", "b"]) == ("a", "b")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="models: there is no model 'brt'; did you mean 'bert'"):
        select("model", "models", ["brt"], ["resnet", "bert"])


def test_selecting_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="names no model"):
        select("model", "models", [], ["bert"])


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32))
def test_a_schedule_has_every_trial_once_in_blocks(replicates: int, strategies: int, seed: int) -> None:
    every = [(replicate, number) for replicate in range(replicates) for number in range(strategies)]
    cells = [(replicate, number, (replicate, number)) for replicate, number in every]
    ordered = schedule(cells, seed)
    assert Counter(ordered) == Counter(every)
    assert [replicate for replicate, _ in ordered] == sorted(replicate for replicate, _ in every)
    assert schedule(cells, seed) == ordered


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_versions_of_a_strategy_are_neighbours(replicates: int, strategies: int, seed: int) -> None:
    every = [(replicate, number) for replicate in range(replicates) for number in range(strategies)]
    cells = [(replicate, number, (replicate, number, version)) for replicate, number in every for version in "ab"]
    ordered = schedule(cells, seed)
    assert Counter(ordered) == Counter(cell for *_, cell in cells)
    for one, other in zip(ordered[::2], ordered[1::2], strict=True):
        assert one[:2] == other[:2]


def test_either_version_is_first_as_often() -> None:
    first = Counter(schedule([(0, "x", "a"), (0, "x", "b")], seed)[0] for seed in range(2000))
    assert min(first.values()) > 850


def test_every_order_within_a_block_is_equally_likely() -> None:
    orders = Counter(tuple(schedule([(0, name, name) for name in "abc"], seed)) for seed in range(6000))
    assert len(orders) == 6
    assert min(orders.values()) > 800
