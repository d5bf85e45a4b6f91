"""Names of operators for single cuts, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.partition.cut_numbers import abbreviated, family_of, numbered, numbers_of
from pytest_edgeai.stats import ordered_operators

families = st.text("ab>_.", min_size=1)


@given(families, st.lists(st.integers(0, 999), min_size=1, max_size=3))
def test_a_name_tells_its_family_and_its_numbers(family: str, numbers: list[int]) -> None:
    name = numbered(family, numbers)
    assert (family_of(name), numbers_of(name)) == (family, tuple(numbers))


@given(families)
def test_a_name_without_numbers_is_its_own_family(name: str) -> None:
    assert (family_of(name), numbers_of(name)) == (name, ())


@pytest.mark.parametrize("name", ["partition.", "partition.3+", "partition.x", ".3", "v2"])
def test_what_only_looks_like_numbers_is_part_of_the_name(name: str) -> None:
    assert family_of(name) == name


def test_many_cuts_are_told_by_the_first_and_the_last() -> None:
    many = [f"partition.{number}" for number in range(12)]
    assert abbreviated(["identity", *many, "sptq"]) == ["identity", "partition.0 … partition.11 (12)", "sptq"]
    assert abbreviated(["a", "b", "c", "d", "e.1", "e.2"]) == ["a", "b", "c", "d", "e.1", "e.2"]


def test_single_cuts_stand_where_their_operator_does_in_the_order_of_numbers() -> None:
    names = ["sptq_partition.1", "own", "partition.10", "partition.9", "qat", "partition"]
    expected = ["qat", "partition", "partition.9", "partition.10", "sptq_partition.1", "own"]
    assert ordered_operators(names) == expected
