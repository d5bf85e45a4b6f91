"""Which cut is chosen: equal halves, the least predicted latency, or the one that is named."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.partition.choosing import Stage, best, by_name, halves, predicted_s
from pytest_edgeai.partition.cuts import Cut
from pytest_edgeai.partition.graph import PartitionError


def _cuts(sizes: list[int], crossing: list[int]) -> list[Cut]:
    """Cuts between nodes whose weights have these sizes."""
    total = sum(sizes)
    made = []
    for position in range(1, len(sizes)):
        first = sum(sizes[:position])
        halves_ = (first, total - first)
        made.append(Cut(f"t{position}", position, ("t",), crossing[position - 1], halves_, halves_, halves_))
    return made


def test_halves_are_as_equal_as_can_be() -> None:
    assert halves(_cuts([10, 10, 70, 10], [1, 1, 1]))[0].name == "t2"


def test_of_nearly_equal_halves_those_with_the_fewest_bytes_are_taken() -> None:
    cuts = _cuts([50, 5, 45], [100, 20])
    assert halves(cuts)[0].name == "t2"


def test_a_part_without_weights_is_not_nearly_equal_to_one_with_some() -> None:
    cuts = _cuts([390, 18, 0], [100, 1])
    assert halves(cuts)[0].name == "t1"


def test_for_text_the_first_part_is_not_larger() -> None:
    cuts = _cuts([48, 4, 48], [100, 20])
    assert halves(cuts, first_not_larger=True)[0].name == "t1"


def test_three_parts_are_of_a_third_each() -> None:
    assert [cut.name for cut in halves(_cuts([1] * 30, [1] * 29), parts=3)] == ["t10", "t20"]


def test_too_few_cuts_are_refused() -> None:
    with pytest.raises(PartitionError, match="1 cuts"):
        halves(_cuts([1, 1], [1]), parts=3)


def test_a_cut_is_found_by_its_name_and_an_unknown_name_gets_the_nearest() -> None:
    cuts = _cuts([1] * 12, [1] * 11)
    assert by_name(cuts, "t3") is cuts[2]
    with pytest.raises(PartitionError, match="did you mean 't11'"):
        by_name(cuts, "t111")


def test_a_slow_link_moves_the_cut_to_where_fewest_bytes_cross() -> None:
    cuts = _cuts([1] * 4, [1000, 10, 1000])
    slow_first = [0.0, 1.0, 2.0, 3.0, 4.0]
    fast = [0.0, 0.1, 0.2, 0.3, 0.4]
    assert best(cuts, [Stage(slow_first, 1e9), Stage(fast)])[0].name == "t1"
    assert best(cuts, [Stage(slow_first, 1e3), Stage(fast)])[0].name == "t2"


def test_each_message_costs_the_bytes_that_it_has_besides_its_tensors_in_both_directions() -> None:
    (cut,) = _cuts([1, 1], [1000])
    stages = [Stage([0.0, 0.1, 0.2], 1e6, 0.003), Stage([0.0, 0.01, 0.02])]
    assert predicted_s([cut], stages, 0.5, 250) == pytest.approx(0.1 + 0.01 + (500 + 250 + 250) * 8 / 1e6 + 0.006)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=7),
    st.lists(st.integers(0, 10**6), min_size=6, max_size=6),
    st.integers(2, 3),
)
def test_the_best_cut_is_that_of_all_chains_computed_node_by_node(
    costs: list[tuple[float, float, float]], crossing: list[int], tiers: int
) -> None:
    cuts = _cuts([1] * len(costs), crossing)
    prefixes = [list(itertools.accumulate((cost[tier] for cost in costs), initial=0.0)) for tier in range(tiers)]
    stages = [Stage(prefix, 1e6, 0.01) for prefix in prefixes]

    chosen = best(cuts, stages)

    least = float("inf")
    for where in itertools.product(range(tiers), repeat=len(costs)):
        if list(where) == sorted(where) and set(where) == set(range(tiers)):
            latency_s = sum(cost[tier] for cost, tier in zip(costs, where, strict=True))
            for before, after in itertools.pairwise(range(len(costs))):
                if where[before] != where[after]:
                    latency_s += crossing[before] * 8 / 1e6 + 0.02
            least = min(least, latency_s)
    assert predicted_s(chosen, stages) == pytest.approx(least)
