"""Operators compared by their accuracies, next to the paper's numbers and to counting by hand."""

import csv
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_edgeai.stats import cliffs_delta, compare_accuracies, wilcoxon_signed_rank

from .paper import paper_text


def percents(values: Mapping[str, float], tiers: tuple[str, ...]) -> dict[tuple[str, str, str], float]:
    return {(model, "top1", tier): percent for model, percent in values.items() for tier in tiers}


def test_tiers_are_counted_as_the_paper_does_and_once() -> None:
    tiers = ("mobile", "edge", "cloud")
    models = {"a": 90.0, "b": 80.0, "c": 70.0}
    worse = {model: percent - 1 - number for number, (model, percent) in enumerate(models.items())}

    (pair,) = compare_accuracies({"sptq": percents(worse, tiers), "identity": percents(models, tiers)})

    assert (pair.a, pair.b, pair.n, pair.n_once) == ("identity", "sptq", 9, 3)
    assert pair.repeated.p == pytest.approx(2 / 2**9)
    assert pair.once.p == pair.smallest_p_once == pytest.approx(2 / 2**3)
    assert pair.delta_a_b == cliffs_delta(list(models.values()), list(worse.values())) > 0


def test_only_what_both_operators_have_is_compared() -> None:
    first = percents({"a": 90.0, "b": 80.0}, ("edge",))
    second = percents({"b": 79.0, "c": 70.0}, ("edge", "cloud"))

    (pair,) = compare_accuracies({"identity": first, "qat": second})

    assert (pair.n, pair.n_once) == (1, 1)
    assert compare_accuracies({"identity": first, "qat": percents({"c": 1.0}, ("edge",))}) == ()


def test_p_is_adjusted_for_the_number_of_pairs() -> None:
    tiers = ("mobile", "edge")
    every = {
        name: percents({model: 90.0 - number - step for step, model in enumerate("abc")}, tiers)
        for number, name in enumerate(("identity", "sptq", "qat"))
    }

    pairs = compare_accuracies(every)

    assert [pair.p_bonferroni for pair in pairs] == pytest.approx([3 * pair.repeated.p for pair in pairs])


def test_the_papers_spreadsheet_gives_the_papers_tests(golden: Any) -> None:
    found: dict[str, dict[tuple[str, str, str], float]] = {}
    for row in csv.DictReader(paper_text("accuracy.csv").splitlines()):
        value = (row["model"], row["metric"], row["tier"])
        found.setdefault(row["operator"], {})[value] = float(row["value_percent"])

    pairs = {frozenset((pair.a, pair.b)): pair for pair in compare_accuracies(found)}

    assert len(pairs) == len(golden["accuracy"]["wilcoxon"]) == 15
    for expected in golden["accuracy"]["wilcoxon"]:
        pair, wanted = pairs[frozenset((expected["a"], expected["b"]))], expected["xlsx"]
        assert (pair.n, pair.n_once, pair.repeated.t) == (18, 6, wanted["T"])
        assert pair.repeated.p == pytest.approx(wanted["p_exact"], rel=1e-9)
        assert pair.magnitude == wanted["magnitude"]
        assert pair.delta_a_b == (1 if pair.a == expected["a"] else -1) * wanted["delta_a_b"]


def test_the_caveat_of_the_paper_is_that_six_values_cannot_reach_its_level() -> None:
    values = {model: 90.0 - number for number, model in enumerate("abcdef")}
    lower = {model: percent - 1 for model, percent in values.items()}

    (pair,) = compare_accuracies({"identity": percents(values, ("edge",)), "qat": percents(lower, ("edge",))})

    assert pair.smallest_p_once == pair.once.p == pytest.approx(0.03125)
    assert pair.once == wilcoxon_signed_rank([1.0] * 6, [0.0] * 6)
