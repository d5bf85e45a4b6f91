"""Which placements are chains, and in what order names stand."""

import pytest

from pytest_edgeai.stats import chain_of, is_chain, ordered_operators, ordered_placements


@pytest.mark.parametrize(
    ("placement", "parts"),
    [
        ("mobile", ("mobile",)),
        ("mobile+edge", ("mobile", "edge")),
        ("mobile_edge", ("mobile", "edge")),
        ("mobile+edge+cloud", ("mobile", "edge", "cloud")),
        ("phone+jetson_nano", ("phone", "jetson_nano")),
        ("jetson_nano", ("jetson_nano",)),
        ("mobile_slow", ("mobile_slow",)),
    ],
)
def test_a_placement_is_a_chain_where_it_joins_tiers(placement: str, parts: tuple[str, ...]) -> None:
    assert chain_of(placement) == parts
    assert is_chain(placement) == (len(parts) > 1)


def test_each_name_is_listed_once() -> None:
    assert ordered_operators(["qat", "x", "identity", "qat", "x"]) == ["identity", "qat", "x"]
    assert ordered_placements(["edge", "edge", "mobile"]) == ["mobile", "edge"]


def test_chains_follow_the_order_of_their_tiers() -> None:
    chains = ["edge+cloud", "mobile+cloud", "mobile+edge", "mobile"]

    assert ordered_placements(chains) == ["mobile", "mobile+edge", "mobile+cloud", "edge+cloud"]
