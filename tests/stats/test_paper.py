"""The paper's raw measurements give the numbers computed, stored and printed for them."""

from typing import Any

import numpy as np
import pytest

from pytest_edgeai.stats import (
    Analysis,
    analyze,
    block_medians,
    cliffs_delta,
    cliffs_delta_counts,
    friedman,
    input_share,
    kruskal_wallis,
    magnitude,
    mean_ratio,
    ratio_of_medians,
    truncate,
    wilcoxon_signed_rank,
)

from .paper import Measurements

# Below this p is a denormal or 0.0, and only its logarithm is compared.
SMALLEST_P = 1e-290
INPUTS, RUNS = 100, 500


def analysis_of(measurements: Measurements, **options: Any) -> Analysis:
    m = measurements
    return analyze(m.model, m.operator, m.tier, m.latency_s, **options)


@pytest.fixture(scope="module")
def analysis(measurements: Measurements) -> Analysis:
    return analysis_of(measurements, run=measurements.run, inputs=INPUTS)


def test_the_paper_has_36_tables_with_324_pairs_in_the_printed_order(analysis: Analysis, golden: Any) -> None:
    assert (len(analysis.tables), sum(len(table.pairs) for table in analysis.tables)) == (36, 324)
    for table, expected in zip(analysis.tables, golden["tables"], strict=True):
        assert (table.dimension, table.model) == (expected["dimension"], expected["model"])
        groups = [(g.model, g.operator, g.tier, g.n, g.median_s) for g in table.groups]
        assert groups == [(g["model"], g["operator"], g["tier"], g["n"], g["median"]) for g in expected["groups"]]


def test_every_h_agrees(analysis: Analysis, golden: Any) -> None:
    for table, expected in zip(analysis.tables, golden["tables"], strict=True):
        kruskal, wanted = table.kruskal, expected["kruskal"]
        assert kruskal.h == pytest.approx(wanted["H"], rel=1e-9, abs=1e-8)
        assert kruskal.h == pytest.approx(wanted["notebook"]["H"], rel=1e-9, abs=1e-8)
        assert kruskal.df == wanted["df"]
        assert kruskal.log10_p == pytest.approx(wanted["log10_p"], rel=1e-6)
        if wanted["p"] > SMALLEST_P:
            assert kruskal.p == pytest.approx(wanted["p"], rel=1e-6)


def test_every_delta_is_exact(measurements: Measurements, analysis: Analysis, golden: Any) -> None:
    for table, expected in zip(analysis.tables, golden["tables"], strict=True):
        samples = {g["label"]: measurements.of(g["model"], g["operator"], g["tier"]) for g in expected["groups"]}
        for pair, cell in zip(table.pairs, expected["cells"], strict=True):
            counts = cliffs_delta_counts(samples[cell["a"]], samples[cell["b"]])
            assert counts == (cell["delta_num"], cell["delta_den"])
            assert pair.delta_a_b == cell["delta_a_b"] == cell["notebook"]["delta_a_b"]
            assert pair.magnitude == cell["magnitude"]


def test_every_t_and_p_agrees(analysis: Analysis, golden: Any) -> None:
    for table, expected in zip(analysis.tables, golden["tables"], strict=True):
        for pair, cell in zip(table.pairs, expected["cells"], strict=True):
            assert pair.conover_t == pytest.approx(cell["conover_t"], rel=1e-9)
            assert pair.log10_p == pytest.approx(cell["log10_p_raw"], rel=1e-6)
            if cell["p_raw"] > SMALLEST_P:
                assert pair.p == pytest.approx(cell["p_raw"], rel=1e-6)
                assert pair.p == pytest.approx(cell["notebook"]["p"], rel=1e-6)


def test_every_logarithm_is_finite_although_most_p_have_underflowed(analysis: Analysis) -> None:
    pairs = [pair for table in analysis.tables for pair in table.pairs]

    assert sum(pair.p == 0 for pair in pairs) > 100
    assert np.isfinite([pair.log10_p for pair in pairs]).all()


@pytest.mark.parametrize(("method", "key"), [("none", "raw"), ("holm", "holm"), ("bonferroni", "bonferroni")])
def test_every_cell_is_as_the_adjustment_leaves_it(
    measurements: Measurements, golden: Any, method: str, key: str
) -> None:
    tables = analysis_of(measurements, p_adjust=method).tables

    for table, expected in zip(tables, golden["tables"], strict=True):
        for pair, cell in zip(table.pairs, expected["cells"], strict=True):
            assert pair.significant == bool(cell["cell"][key])
            if cell["p_raw"] > SMALLEST_P:
                assert pair.p_adjusted == pytest.approx(cell[f"p_{key}"], rel=1e-6)


@pytest.mark.parametrize("key", ["raw", "holm", "bonferroni"])
def test_as_many_printed_cells_agree_as_are_known_to(analysis: Analysis, golden: Any, key: str) -> None:
    agreeing = 0
    for table, expected in zip(analysis.tables, golden["tables"], strict=True):
        sign = -1 if expected["triangle"] == "upper" else 1
        for pair, cell in zip(table.pairs, expected["cells"], strict=True):
            minus = "-" if sign * pair.delta_a_b < 0 else ""
            ours = minus + pair.magnitude if cell["cell"][key] else ""
            agreeing += ours == cell["printed"]

    assert agreeing == golden["agreement"][key]


def test_every_median_and_shapiro_wilk_agrees(analysis: Analysis, golden: Any) -> None:
    found = {(s.model, s.operator, s.tier): s for s in analysis.strategies}

    assert len(found) == len(golden["medians"]) == len(golden["shapiro"]) == 80
    for expected in golden["medians"]:
        strategy = found[expected["model"], expected["operator"], expected["tier"]]
        assert (strategy.n, strategy.median_s) == (expected["n"], expected["median"])
    for expected in golden["shapiro"]:
        shapiro = found[expected["model"], expected["operator"], expected["tier"]].shapiro
        assert shapiro.w == pytest.approx(expected["W"], rel=1e-9)
        assert shapiro.p == pytest.approx(expected["p"], rel=1e-6)


def test_shapiro_wilk_spares_one_strategy(analysis: Analysis) -> None:
    spared = [(s.model, s.operator, s.tier) for s in analysis.strategies if s.shapiro.p >= 0.05]

    assert spared == [("bert", "qat", "mobile")]


def test_friedmans_test_agrees_by_run_and_by_median_of_each_input(
    measurements: Measurements, analysis: Analysis, golden: Any
) -> None:
    tables = {(t.model, t.tier): t for t in analysis.tables if t.dimension == "operator"}
    for expected in golden["structure"]["blocked"]:
        table = tables[expected["model"], expected["tier"]]
        by_run = np.column_stack([measurements.of(g.model, g.operator, g.tier) for g in table.groups])
        by_input = np.column_stack([block_medians(column, np.arange(RUNS) % INPUTS)[1] for column in by_run.T])
        for blocks, name in ((by_run, "friedman_500_runs"), (by_input, "friedman_100_input_medians")):
            result = friedman(blocks)
            q, p = expected[name]
            assert result.q == pytest.approx(q, rel=1e-9, abs=1e-9)
            assert result.p == pytest.approx(p, rel=1e-6, abs=SMALLEST_P)
        assert table.blocked is not None
        assert table.blocked.friedman == friedman(by_input)
        assert table.kruskal.p_lower == pytest.approx(expected["kruskal_lower_tail"], rel=1e-6)


def test_the_share_of_the_input_and_the_drift_of_the_repetitions_agree(measurements: Measurements, golden: Any) -> None:
    for expected in golden["structure"]["per_strategy"]:
        latencies = measurements.of(expected["model"], expected["operator"], expected["tier"])
        share = input_share(latencies, np.arange(RUNS) % INPUTS)
        repetitions = np.split(latencies, RUNS // INPUTS)
        medians = [float(np.median(repetition)) for repetition in repetitions]

        assert share.share == pytest.approx(expected["input_R2"], rel=1e-9)
        assert max(medians) / min(medians) == pytest.approx(expected["repetition_median_max_over_min"])
        drift = kruskal_wallis(repetitions)
        assert drift.p == pytest.approx(expected["repetition_kruskal_p"], rel=1e-6, abs=SMALLEST_P)


def test_the_inputs_hide_the_operators_of_image_models_in_the_cloud(analysis: Analysis) -> None:
    words = {(t.model, t.tier): t.blocked.words for t in analysis.tables if t.blocked and t.blocked.words}

    assert list(words) == [("resnet", "cloud"), ("resnext", "cloud")]
    assert "blocked by input, Friedman's test does (p = 0.0227)" in words["resnet", "cloud"]
    assert "blocked by input, Friedman's test sees none either (p = 0.956)" in words["resnext", "cloud"]


FAMILIES = {"text": ("bert", "roberta"), "image": ("resnet", "resnext")}
TIERS = ("mobile", "edge", "cloud")


def ratio_of(measurements: Measurements, model: str, above: tuple[str, str], below: tuple[str, str]) -> float:
    return ratio_of_medians(measurements.of(model, *above), measurements.of(model, *below))


def ratio_claimed(measurements: Measurements, claim: Any, item: str) -> float:
    """Compute one item of a claim; four kinds of claims name what they divide in four ways."""
    if "numerator" in claim:  # "resnet"
        return ratio_of(measurements, item, tuple(claim["numerator"]), tuple(claim["denominator"]))
    if ": " in item:  # "bert: identity/sptq", the tier being the claim's first word
        model, operators = item.split(": ")
        above, below = operators.split("/")
        tier = claim["claim"].split()[0]
        return ratio_of(measurements, model, (above, tier), (below, tier))
    family, rest = claim["claim"].split(": ")
    if "/" in item:  # "bert mobile/cloud", the operator being named by the claim
        model, tiers = item.split()
        above, below = tiers.split("/")
        return ratio_of(measurements, model, (rest.split()[0], above), (rest.split()[0], below))
    # "identity": the mean over models and the other two tiers, of which the claim names the fastest.
    fastest = rest.split()[0]
    return mean_ratio(
        ratio_of(measurements, model, (item, tier), (item, fastest))
        for model in FAMILIES[family]
        for tier in TIERS
        if tier != fastest
    )


def test_98_of_the_106_ratios_in_the_text_are_means_of_ratios_of_medians_cut_to_two_decimals(
    measurements: Measurements, golden: Any
) -> None:
    reproduced = 0
    for claim in golden["claims"]:
        ratios = {item: ratio_claimed(measurements, claim, item) for item in claim["per_item"]}
        assert ratios == pytest.approx(claim["per_item"], rel=1e-12)
        if claim["kind"] == "mean":
            computed = [mean_ratio(ratios.values())]
        else:
            computed = [min(ratios.values()), max(ratios.values())]
        cut = [truncate(value) for value in computed]
        assert computed == pytest.approx(np.atleast_1d(claim["computed"]).tolist(), rel=1e-12)
        assert cut == np.atleast_1d(claim["truncated"]).tolist()
        agrees = cut == np.atleast_1d(claim["printed"]).tolist()
        assert agrees == claim["reproduced"]
        reproduced += agrees

    assert (reproduced, len(golden["claims"])) == (98, 106)


# The notebook's cells that hold other accuracies of SPTQ than the paper prints.
CELLS_WITH_OTHER_ACCURACIES = (3, 5, 11, 15)


def accuracies_of(accuracy: Any, source: str, operator: str, cell: int) -> list[float]:
    if source == "notebook" and operator == "sptq" and cell in CELLS_WITH_OTHER_ACCURACIES:
        return list(accuracy["notebook_sptq_stale"])
    return list(accuracy["table9" if source == "notebook" else source][operator])


@pytest.mark.parametrize("source", ["table9", "xlsx", "notebook"])
def test_every_signed_rank_test_of_the_accuracies_agrees(golden: Any, source: str) -> None:
    accuracy = golden["accuracy"]
    assert len(accuracy["wilcoxon"]) == 15
    for expected in accuracy["wilcoxon"]:
        wanted, cell = expected[source], expected["notebook"]["cell"]
        a, b = (accuracies_of(accuracy, source, expected[side], cell) for side in "ab")

        result, delta = wilcoxon_signed_rank(a, b), cliffs_delta(a, b)

        assert (result.t, result.n_nonzero) == (wanted["T"], wanted["n_nonzero"])
        assert result.p == pytest.approx(wanted["p_exact"], rel=1e-9)
        assert delta == wanted["delta_a_b"]
        assert magnitude(delta) == wanted["magnitude"]
