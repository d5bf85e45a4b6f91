"""From tidy columns to tables: who is compared with whom, in which order, and with which answers."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.stats import Analysis, StatisticsInputError, analyze

from .paper import Measurements

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def answers() -> Any:
    return json.loads((REFERENCE / "answers.json").read_text())


@pytest.fixture(scope="module")
def rows() -> Measurements:
    with (REFERENCE / "latencies.csv").open(newline="") as file:
        return Measurements.from_rows(csv.DictReader(file))


def analysis_of(rows: Measurements, **options: Any) -> Analysis:
    return analyze(rows.model, rows.operator, rows.tier, rows.latency_s, **options)


def columns(samples: Mapping[tuple[str, str, str], Sequence[float]]) -> dict[str, Any]:
    keys = [key for key, latencies in samples.items() for _ in latencies]
    return {
        "model": [key[0] for key in keys],
        "operator": [key[1] for key in keys],
        "tier": [key[2] for key in keys],
        "latency_s": [latency for latencies in samples.values() for latency in latencies],
    }


def test_the_reference_rows_give_their_independently_computed_tables(rows: Measurements, answers: Any) -> None:
    tables = analysis_of(rows).as_json()["tables"]

    assert len(tables) == len(answers["tables"])
    for table, expected in zip(tables, answers["tables"], strict=True):
        for name in ("dimension", "model", "operator", "tier", "groups"):
            assert table[name] == expected[name]
        total = sum(group["n"] for group in table["groups"])
        effect = {"epsilon_squared": expected["kruskal"]["h"] / (total - 1)}
        assert table["kruskal"] == pytest.approx(expected["kruskal"] | effect, rel=1e-9)
        for pair, wanted in zip(table["pairs"], expected["pairs"], strict=True):
            exact = ("a", "b", "delta_a_b", "magnitude", "significant")
            close = ("conover_t", "p", "p_adjusted", "log10_p")
            assert [pair[name] for name in exact] == [wanted[name] for name in exact]
            assert [pair[name] for name in close] == pytest.approx([wanted[name] for name in close], rel=1e-8)


def test_the_reference_rows_have_every_kind_of_cell(answers: Any) -> None:
    pairs = [pair for table in answers["tables"] for pair in table["pairs"]]

    assert {pair["magnitude"] for pair in pairs} == set("NSML")
    assert {pair["significant"] for pair in pairs} == {True, False}
    assert any(table["kruskal"]["p"] > 0.05 for table in answers["tables"])


def test_the_reference_rows_give_their_independently_computed_strategies(rows: Measurements, answers: Any) -> None:
    strategies = analysis_of(rows).as_json()["strategies"]

    expected = {(s["model"], s["operator"], s["tier"]): s for s in answers["strategies"]}
    assert {(s["model"], s["operator"], s["tier"]) for s in strategies} == set(expected)
    for strategy in strategies:
        wanted = expected[strategy["model"], strategy["operator"], strategy["tier"]]
        assert strategy["n"] == wanted["n"]
        assert (strategy["median_s"], strategy["p95_s"]) == pytest.approx((wanted["median_s"], wanted["p95_s"]))
        assert 0 < strategy["shapiro"]["w"] <= 1


def test_the_reference_rows_give_their_independently_computed_blocks(rows: Measurements, answers: Any) -> None:
    tables = analysis_of(rows, run=rows.run, inputs=answers["inputs"]).tables

    for table, answer in zip(tables, answers["tables"], strict=True):
        expected = answer["blocked"]
        assert table.blocked is not None
        assert table.blocked.friedman.q == pytest.approx(expected["q"], rel=1e-9)
        assert table.blocked.friedman.log10_p == pytest.approx(expected["log10_p"], rel=1e-9)
        assert table.blocked.friedman.blocks == expected["blocks"]
        medians = [pair.difference.median for pair in table.blocked.pairs]
        assert medians == pytest.approx(expected["median_differences"], abs=1e-12)


def test_the_order_of_rows_changes_nothing(rows: Measurements) -> None:
    order = np.random.default_rng(0).permutation(len(rows.model))
    shuffled = [[column[i] for i in order] for column in (rows.model, rows.operator, rows.tier, rows.latency_s)]

    tables = analyze(*shuffled).tables

    by_name = {(t.dimension, t.model, t.operator, t.tier): t for t in analysis_of(rows).tables}
    assert {(t.dimension, t.model, t.operator, t.tier): t for t in tables} == by_name


def test_arrays_of_numpy_are_taken_like_lists(rows: Measurements) -> None:
    arrays = [np.array(column) for column in (rows.model, rows.operator, rows.tier, rows.latency_s)]

    assert analyze(*arrays) == analysis_of(rows)


def test_the_json_holds_plain_finite_values_only(rows: Measurements) -> None:
    analysis = analysis_of(rows, run=np.array(rows.run), inputs=6).as_json()

    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis
    assert set(analysis) == {"tables", "strategies", "settings"}
    assert analysis["settings"] == {"alpha": 0.05, "p_adjust": "holm", "inputs": 6}


def test_without_runs_no_table_is_blocked_and_the_json_has_no_such_key(rows: Measurements) -> None:
    analysis = analysis_of(rows)

    assert all(table.blocked is None for table in analysis.tables)
    assert all("blocked" not in table for table in analysis.as_json()["tables"])


def test_a_pair_below_alpha_is_not_significant_where_its_table_is_not() -> None:
    samples = [[4, 6, 13, 15], [2, 9, 10, 12], [1, 3, 5, 7], [8, 11, 14, 16]]
    names = ["identity", "sptq", "qat", "pruned"]
    tidy = columns({("m", name, "edge"): sample for name, sample in zip(names, samples, strict=True)})

    (table,) = analyze(**tidy, p_adjust="none").tables

    assert table.kruskal.p >= 0.05 > min(pair.p for pair in table.pairs)
    assert not any(pair.significant for pair in table.pairs)


def test_alpha_and_the_adjustment_decide_what_is_significant(rows: Measurements) -> None:
    def significant(**options: Any) -> int:
        return sum(pair.significant for table in analysis_of(rows, **options).tables for pair in table.pairs)

    assert significant(p_adjust="none") > significant(p_adjust="bonferroni") > 0
    assert significant(alpha=0.3) > significant() > significant(alpha=1e-9)


def test_groups_of_the_same_samples_give_a_p_of_one() -> None:
    same = [0.3, 0.1, 0.2, 0.2]

    (table,) = analyze(**columns({("m", op, "edge"): same for op in ("identity", "sptq", "qat")})).tables

    assert (table.kruskal.h, table.kruskal.p, table.kruskal.log10_p) == (0.0, 1.0, 0.0)
    assert {(p.p, p.p_adjusted, p.delta_a_b, p.magnitude, p.significant) for p in table.pairs} == {
        (1.0, 1.0, 0.0, "N", False)
    }


def test_a_single_strategy_is_described_but_not_compared() -> None:
    analysis = analyze(**columns({("m", "identity", "edge"): [0.1, 0.2, 0.4]}))

    assert analysis.tables == ()
    assert [(s.operator, s.n, s.median_s) for s in analysis.strategies] == [("identity", 3, 0.2)]


def test_models_are_never_compared_with_each_other() -> None:
    assert analyze(**columns({(m, "identity", "edge"): [0.1, 0.2, 0.4] for m in "ab"})).tables == ()


def test_known_operators_come_in_the_papers_order_and_others_after_them_as_they_appear() -> None:
    names = ["zipped", "sptq_partition", "dsptq", "binarised", "qat", "identity"]

    (table,) = analyze(**columns({("m", name, "edge"): [0.1, 0.2, 0.4] for name in names})).tables

    expected = ["identity", "qat", "dsptq", "sptq_partition", "zipped", "binarised"]
    assert [group.label for group in table.groups] == expected


def test_tiers_come_before_chains_and_unknown_ones_between() -> None:
    places = ["edge+cloud", "jetson_nano", "mobile+edge", "cloud", "mobile"]

    (table,) = analyze(**columns({("m", "identity", place): [0.1, 0.2, 0.4] for place in places})).tables

    assert [group.label for group in table.groups] == [
        "mobile",
        "cloud",
        "jetson_nano",
        "mobile+edge",
        "edge+cloud",
    ]


@pytest.mark.parametrize("chain", ["mobile+edge", "mobile_edge"])
def test_partitioned_strategies_join_the_operators_whose_model_they_split(chain: str) -> None:
    sample = [0.1, 0.2, 0.4]
    alone = {("m", op, tier): sample for op in ("identity", "dsptq", "own") for tier in ("mobile", "edge")}
    split = {("m", op, chain): sample for op in ("partition", "sptq_partition")}

    tables = [t for t in analyze(**columns(alone | split)).tables if t.dimension == "tier"]

    assert {t.operator: [(g.operator, g.tier) for g in t.groups] for t in tables} == {
        "identity": [("identity", "mobile"), ("identity", "edge"), ("partition", chain)],
        "dsptq": [("dsptq", "mobile"), ("dsptq", "edge"), ("sptq_partition", chain)],
        "own": [("own", "mobile"), ("own", "edge")],
    }


def test_single_cuts_join_what_their_operator_does_and_chains_of_operators_what_they_split() -> None:
    sample = [0.1, 0.2, 0.4]
    alone = {("m", op, "edge"): sample for op in ("identity", "qat", "dsptq")}
    names = ("partition.10", "partition.9", "sptq_partition.1", "dsptq>partition", "qat>partition.0", "own.1")
    split = {("m", op, "mobile+edge"): sample for op in names}

    tables = [t for t in analyze(**columns(alone | split)).tables if t.dimension == "tier"]

    assert {t.operator: [g.operator for g in t.groups] for t in tables} == {
        "identity": ["identity", "partition.9", "partition.10"],
        "qat": ["qat", "partition.9", "partition.10", "qat>partition.0"],
        "dsptq": ["dsptq", "sptq_partition.1", "dsptq>partition"],
    }


def test_chains_have_no_table_of_operators_as_in_the_paper() -> None:
    split = {("m", op, "mobile+edge"): [0.1, 0.2, 0.4] for op in ("partition", "sptq_partition")}

    assert analyze(**columns(split)).tables == ()


def test_labels_are_unique_within_a_table(rows: Measurements) -> None:
    for table in analysis_of(rows).tables:
        labels = [group.label for group in table.groups]
        assert len(set(labels)) == len(labels)
        assert {pair.a for pair in table.pairs} | {pair.b for pair in table.pairs} == set(labels)


def test_a_table_says_in_words_that_the_inputs_hide_its_operators(rows: Measurements) -> None:
    tables = analysis_of(rows, run=rows.run, inputs=6).tables

    words = {(t.model, t.operator, t.tier): t.blocked.words for t in tables if t.blocked and t.blocked.words}
    assert list(words) == [("camera", None, "cloud")]
    (sentence,) = words.values()
    assert sentence.startswith("The input explains 99.9")
    assert "cannot see a difference between the operators" in sentence


@pytest.mark.parametrize("inputs", [None, 8])
def test_inputs_measured_once_tell_by_their_concordance_that_they_hide_the_operators(inputs: int | None) -> None:
    payload = [float(i) for i in range(1, 9)]
    tidy = columns({("m", "identity", "edge"): payload, ("m", "sptq", "edge"): [p + 0.01 for p in payload]})

    (table,) = analyze(**tidy, run=[*range(8), *range(8)], inputs=inputs).tables

    assert table.blocked is not None
    assert table.blocked.input_share == 1.0
    assert table.blocked.friedman.p < 0.01 < table.kruskal.p
    assert table.blocked.words is not None
    assert table.blocked.words.startswith("The number of the run, which tells the input, explains 100.00 % of")


def test_runs_numbered_at_random_hide_nothing() -> None:
    rng = np.random.default_rng(5)
    tidy = columns({("m", name, "edge"): list(rng.random(60)) for name in ("identity", "sptq")})

    (table,) = analyze(**tidy, run=[*range(60), *range(60)]).tables

    assert table.blocked is not None
    assert abs(table.blocked.input_share) < 0.4
    assert table.blocked.words is None


def test_strategies_without_a_run_in_common_are_not_blocked() -> None:
    tidy = columns({("m", name, "edge"): [0.1, 0.2, 0.3] for name in ("identity", "sptq")})

    (table,) = analyze(**tidy, run=range(6)).tables

    assert table.blocked is None


def test_only_inputs_measured_in_every_group_are_blocks() -> None:
    tidy = columns({("m", "identity", "edge"): [1.0, 2.0, 3.0, 4.0], ("m", "sptq", "edge"): [1.1, 2.1, 2.9]})

    (apart,) = analyze(**tidy, run=[0, 1, 2, 3, 3, 4, 5], inputs=6).tables
    (sharing,) = analyze(**tidy, run=[0, 1, 2, 3, 2, 3, 4], inputs=6).tables

    assert apart.blocked is None
    assert sharing.blocked is not None
    assert sharing.blocked.friedman.blocks == 2


@pytest.mark.parametrize(
    ("latencies", "said"),
    [
        ([0.1, 0.2], "strategy m-sptq-edge has 2 samples; at least 3 are needed"),
        ([0.1, 0.1, 0.1], "strategy m-sptq-edge has 3 samples that all equal 0.1 s"),
        ([0.1, 0.2, -0.5], "strategy m-sptq-edge holds a negative latency, -0.5 s"),
        ([0.1, 0.2, math.nan], "strategy m-sptq-edge holds nan, which is not a finite number"),
        ([0.1, 0.2, math.inf], "strategy m-sptq-edge holds inf, which is not a finite number"),
    ],
)
def test_a_strategy_that_cannot_be_analysed_is_named_in_one_sentence(latencies: list[float], said: str) -> None:
    tidy = columns({("m", "identity", "edge"): [0.1, 0.2, 0.3], ("m", "sptq", "edge"): latencies})

    with pytest.raises(StatisticsInputError) as error:
        analyze(**tidy)

    assert str(error.value) == said + "."


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="one length above 0"):
        analyze(["m"], ["identity"], ["edge"], [0.1, 0.2])
    with pytest.raises(StatisticsInputError, match="one length above 0"):
        analyze([], [], [], [])


def test_latencies_that_are_text_are_refused() -> None:
    with pytest.raises(StatisticsInputError, match="not a number"):
        analyze(["m"], ["identity"], ["edge"], ["fast"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"p_adjust": "homl"}, "unknown p-value adjustment 'homl'; known: none, bonferroni"),
        ({"alpha": 5}, "alpha must lie between 0 and 1, not 5"),
        ({"inputs": 4}, "needs the column run"),
        ({"inputs": 1, "run": [0, 1, 2]}, "inputs must be at least 2, not 1"),
        ({"inputs": 2, "run": [0, 1]}, "run must hold 3 whole numbers"),
        ({"inputs": 2, "run": [0.5, 1, 2]}, "run must hold 3 whole numbers"),
    ],
)
def test_an_option_that_is_not_possible_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        analyze(**columns({("m", "identity", "edge"): [0.1, 0.2, 0.3]}), **options)
