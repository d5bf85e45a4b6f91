"""The page's structure, its numbers, and that nothing from a session can become markup or script."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from pytest_edgeai.decisions.asked import Decide
from pytest_edgeai.reporting.page.compared import by_gravity, comparison_of
from pytest_edgeai.reporting.page.conditions import repeating_command
from pytest_edgeai.reporting.page.overview import overview
from pytest_edgeai.reporting.page.parts import Lines, Plot, Section, Table
from pytest_edgeai.reporting.page.rendering import render, render_comparison, script_safe
from pytest_edgeai.reporting.page.results import Results
from pytest_edgeai.reporting.page.sections import sections_of
from tests.page.documents import comparison, decision, document

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u2028"
VOID = {"meta", "input", "img", "br", "hr", "link"}


class Outline(HTMLParser):
    """What a page consists of; refuses tags that are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def data(self) -> Any:
        """The JSON that the page's script reads."""
        return json.loads(next(text for text in self.texts["script"] if text.startswith('{"plots"')))


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    made = document()
    names = [one["id"] for one in made["strategies"]]
    return {**made, "comparison": comparison(names)}


@pytest.fixture(scope="module")
def page(results: dict[str, Any]) -> str:
    return render(results)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def plot(sections: list[Section], name: str) -> Plot:
    return next(one for section in sections for one in section.plots if one.name == name)


def table(sections: list[Section], name: str) -> Table:
    return next(one for section in sections for one in section.tables if one.name == name)


def test_the_documents_that_the_page_is_tested_with_have_the_format_of_results(results: dict[str, Any]) -> None:
    schema = resources.files("pytest_edgeai.reporting").joinpath("results.schema.json").read_text(encoding="utf-8")
    Draft202012Validator(json.loads(schema)).validate(results)


def test_the_first_screen_has_each_limit_and_what_strategies_take_with_the_source_of_the_energy(
    results: dict[str, Any],
) -> None:
    sections = sections_of(Results(results))
    limits, taken = table(sections, "budgets"), table(sections, "resources")
    assert tuple(limits.rows[0].cells[1:]) == ("max_load_s", "pass", "100 ms", "90 ms to –", "200 ms")
    assert tuple(taken.rows[0].cells[1:]) == ("2.00 MB", "134.22 MB", "100 ms", "150 ms", "0.5 J")
    assert "RAPL package-0" in taken.caption
    older = {**results, "strategies": [{**one} for one in results["strategies"]]}
    for one in older["strategies"]:
        del one["budgets"], one["energy_j"]
    assert not {"budgets", "resources"} & {
        one.name for section in sections_of(Results(older)) for one in section.tables
    }


def test_a_page_has_landmarks_headings_and_a_table_for_each_plot(outline: Outline) -> None:
    assert [outline.tags[tag] for tag in ("h1", "main", "nav", "header", "footer")] == [1] * 5
    ids = [attributes["id"] for _, attributes in outline.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    sections = [attributes for tag, attributes in outline.attributes if tag == "section"]
    assert all(attributes["aria-labelledby"] in ids for attributes in sections)
    links = [attributes["href"][1:] for tag, attributes in outline.attributes if tag == "a"]
    assert set(links) <= set(ids)
    assert {attributes["id"] for attributes in sections} < set(links)
    plots = {attributes["id"] for _, attributes in outline.attributes if attributes.get("class") == "plot"}
    assert plots == set(outline.data()["plots"])
    assert outline.tags["figure"] == outline.tags["figcaption"] == len(plots)
    assert outline.tags["table"] == outline.tags["caption"] >= len(plots)
    assert {attributes.get("scope") for tag, attributes in outline.attributes if tag == "th"} == {"col", "row"}


def test_a_page_needs_nothing_from_elsewhere(outline: Outline, page: str) -> None:
    assert not any("src" in attributes for _, attributes in outline.attributes)
    assert outline.tags["link"] == outline.tags["img"] == outline.tags["iframe"] == 0
    (policy,) = (attributes["content"] for _, attributes in outline.attributes if "http-equiv" in attributes)
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert "url(http" not in page


def test_what_is_not_green_and_what_is_unproven_stands_before_the_table(page: str) -> None:
    first = page.index("accuracy: top-1 drops by")
    assert first < page.index("unproven on tier cloud: memory") < page.index("Verdicts of all strategies")


def test_the_choice_of_each_model_and_its_reason_are_on_the_first_screen() -> None:
    chosen = [decision("bert", "bert-sptq-edge", "it is the fastest"), decision("resnet", None, "none is fast enough")]
    made = document(changes={"decisions": chosen})
    made["settings"]["decide"] = Decide(max_drop=1).model_dump(mode="json")
    page = render(made)
    assert (
        page.index("it is the fastest") < page.index("none is fast enough") < page.index("Verdicts of all strategies")
    )
    assert "it is the fastest" not in render(document(changes={"decisions": chosen}))


def test_without_constraints_the_fastest_green_strategy_of_each_model_is_named(results: dict[str, Any]) -> None:
    parts = {part.name: part for part in overview(Results(results)).parts}
    green = [one for one in results["strategies"] if one["verdict"] == "pass" and one["model"] == "bert"]
    fastest = min(green, key=lambda one: one["median_s"])["id"]
    chosen = parts["chosen"]
    assert isinstance(chosen, Lines)
    assert "no constraints" in chosen.title
    assert [row.cells[0] for row in chosen.rows] == ["bert", "resnet"]
    assert chosen.rows[0].cells[1] == fastest
    assert f"{fastest} has the least latency of {len(green)} strategies" in chosen.rows[0].cells[2]


def test_names_of_a_session_cannot_become_markup_or_script() -> None:
    hostile = document(models=(HOSTILE,), operators=("identity", "sptq", "partition"), tiers=("mobile", HOSTILE))
    hostile["remarks"] = [HOSTILE]
    hostile["failures"] = [{"model": HOSTILE, "operator": "x", "reason": HOSTILE}]
    hostile["decisions"] = [decision(HOSTILE, HOSTILE, HOSTILE)]
    hostile["comparison"] = comparison([HOSTILE, "b"])
    outline = Outline(render(hostile))
    assert outline.tags["script"] == 3
    assert outline.tags["img"] == 0
    assert not any(key.startswith("on") for _, attributes in outline.attributes for key in attributes)
    rows = next(one for one in outline.data()["plots"].values() if one["columns"][:3] == ["model", "operator", "tier"])
    assert rows["rows"][0][0] == HOSTILE
    assert any(HOSTILE in text for text in outline.texts["li"])


def test_json_in_a_script_reads_as_it_was_and_has_no_angle_bracket() -> None:
    text = script_safe({HOSTILE: "<!-- <script"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {HOSTILE: "<!-- <script"}


def test_stacked_spans_add_up_to_the_mean_latency(results: dict[str, Any]) -> None:
    rows = plot(sections_of(Results(results)), "spans-bert").rows
    of_trials = [trial for trial in results["trials"] if trial["id"].startswith("bert-sptq-edge-")]
    mean_ms = 1e3 * float(np.mean([value for trial in of_trials for value in trial["latency_s"]]))
    stacked = sum(row["ms"] for row in rows if (row["operator"], row["tier"]) == ("sptq", "edge"))
    assert stacked == pytest.approx(mean_ms, rel=1e-4)


def test_a_box_plot_has_the_quartiles_and_whiskers_of_all_requests(results: dict[str, Any]) -> None:
    sections = sections_of(Results(results))
    row = next(row for row in plot(sections, "boxes-resnet").rows if row["strategy"] == "sptq on cloud")
    of_trials = [trial for trial in results["trials"] if trial["id"].startswith("resnet-sptq-cloud-")]
    ms = np.sort([1e3 * value for trial in of_trials for value in trial["latency_s"]])
    q1, median, q3 = np.percentile(ms, [25, 50, 75])
    inside = [value for value in ms if q1 - 1.5 * (q3 - q1) <= value <= q3 + 1.5 * (q3 - q1)]
    expected = [inside[0], q1, median, q3, inside[-1]]
    assert [row[key] for key in ("low", "q1", "median", "q3", "high")] == pytest.approx(expected, rel=1e-4)
    assert row["far"] == pytest.approx([value for value in ms if value not in inside], rel=1e-4)


def test_speedups_are_those_of_medians_against_the_baseline(results: dict[str, Any]) -> None:
    found = table(sections_of(Results(results)), "speedups-operators")
    medians = {one["id"]: one["median_s"] for one in results["strategies"]}
    ratios = [medians[f"{m}-identity-edge"] / medians[f"{m}-sptq-edge"] for m in ("bert", "resnet")]
    row = next(row for row in found.rows if row.cells[0] == "sptq on edge")
    expected = (f"{sum(ratios) / 2:.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}", "2")
    assert tuple(row.cells[1:]) == expected


def test_the_triangle_of_effects_is_signed_by_its_rows(results: dict[str, Any]) -> None:
    triangle = table(sections_of(Results(results)), "effects-operator-bert-edge")
    document = next(
        one
        for one in results["statistics"]["tables"]
        if (one["dimension"], one["model"], one["tier"]) == ("operator", "bert", "edge")
    )
    assert triangle.headings == ("slower than", "identity", "sptq")
    assert [sum(bool(cell) for cell in row.cells[1:]) for row in triangle.rows] == [1, 2]
    for pair in document["pairs"]:
        row = next(row for row in triangle.rows if row.cells[0] == pair["b"])
        cell = row.cells[triangle.headings.index(pair["a"])]
        assert cell.removesuffix("*") == f"{pair['magnitude']} {-pair['delta_a_b']:+.2f}"
        assert cell.endswith("*") is pair["significant"]


def test_a_strategy_off_the_pareto_front_names_one_that_beats_it(results: dict[str, Any]) -> None:
    rows = plot(sections_of(Results(results)), "latency-and-drop").rows
    by_id = {row["id"]: row for row in rows}
    beaten = [row for row in rows if row["front"] == "no"]
    assert beaten
    for row in beaten:
        other = by_id[row["beaten"]]
        assert other["model"] == row["model"]
        assert other["front"] == "yes"
        assert other["ms"] <= row["ms"]
        assert other["drop"] <= row["drop"]
    for row in rows:
        own = [one for one in rows if one["model"] == row["model"]]
        fastest = min(own, key=lambda one: one["ms"])
        assert fastest["front"] == "yes"


def test_the_gravest_change_stands_first(results: dict[str, Any]) -> None:
    section = next(one for one in sections_of(Results(results)) if one.name == "comparison")
    assert [row["outcome"] for row in by_gravity(results["comparison"]["strategies"])][:2] == ["regression", "pass"]
    drawn = next(one for one in section.plots if one.name == "changes").rows[0]
    assert (drawn["outcome"], drawn["change"], drawn["low"], drawn["high"]) == ("regression", 0.3, 0.25, 0.35)
    both = next(one for one in section.plots if one.name == "both-versions").rows
    of_one = [row for row in both if row["strategy"] == drawn["strategy"]]
    assert Counter(row["version"] for row in of_one) == {"main (0123456789)": 5, "this version": 5}
    assert "30 % longer" in render(results)


def test_two_saved_sessions_have_a_page_of_their_comparison_alone() -> None:
    compared = comparison([HOSTILE, "b", "c"])
    outline = Outline(render_comparison(compared))
    assert outline.tags["h2"] == 1
    assert outline.tags["fieldset"] == outline.tags["img"] == 0
    assert [one["columns"][0] for one in outline.data()["plots"].values()] == ["strategy", "strategy"]
    assert outline.texts["h1"] == ["pytest-edgeai: this version against main (0123456789): not green"]
    assert "2 pass, 1 regression. 3 strategies." in outline.texts["p"]
    views = table([comparison_of(compared, {})], "views")
    assert views.rows[0].cells[:3] == ("b", "slowest quarter", "+40.0%")


def test_nodes_are_shown_alone_together_and_with_one_left_out() -> None:
    made = document(models=("bert",), operators=("identity", "variants"), tiers=("mobile", "edge"))
    for trial in made["trials"]:
        trial["slowest"] = ["mobile[0]", "mobile[1]", *["mobile[1]"] * 8]
    sections = sections_of(Results(made))
    assert [row.cells[3:] for row in table(sections, "nodes").rows] == [
        ("5.0 times as many", "0.01 MB", "80.00 %", "-15.00 pp"),
        ("10.0 times as many", "0.01 MB", "70.00 %", "-25.00 pp"),
    ]
    drawn = plot(sections, "combinations-bert-variants")
    assert [(row["nodes"], row["macs"], row["value"]) for row in drawn.rows] == [
        ("1", 0.3, 70),
        ("0", 0.6, 80),
        ("0, 1", 0.9, 90),
    ]
    assert [row.cells[-1] for row in drawn.table.rows] == ["yes"] * 3
    assert [row.cells for row in table(sections, "without-one").rows] == [
        ("bert-variants, all nodes", "0.9 M", "90.00 %", "–"),
        ("bert-variants, without node 0", "0.3 M", "70.00 %", "-20.00 pp"),
        ("bert-variants, without node 1", "0.6 M", "80.00 %", "-10.00 pp"),
    ]
    assert table(sections, "slowest-nodes").rows[0].cells[1:] == ("30", "mobile[1] 90%, mobile[0] 10%")
    for artifact in made["artifacts"]:
        del artifact["combinations"]  # as reports of earlier versions
    assert "Combinations" not in render(made)


def test_the_command_repeats_the_session_with_its_seed(results: dict[str, Any]) -> None:
    expected = "pytest suites/ --benchmark-only -k 'bert or resnet' --edgeai-seed=11"
    assert repeating_command(Results(results)) == expected
    given = {**results, "arguments": ["suites/", "--edgeai-seed", "11"]}
    assert repeating_command(Results(given)) == "pytest suites/ --edgeai-seed 11"


def test_a_session_in_which_nothing_is_valid_has_a_page_that_says_so() -> None:
    empty = document()
    for trial in empty["trials"]:
        trial |= {"status": "invalid", "reason": "the host was busy", "cause": "host", "probes": [], "tiers": {}}
        trial |= {key: [] for key in ("run", "input", "latency_s", "late_s", "cpu_s", "waited_s")}
        trial["spans_s"] = {}
    for one in empty["strategies"]:
        one |= dict.fromkeys(("median_s", "p95_s", "iqr_s", "load_s", "accuracy", "link_error_s"))
        one |= {"verdict": "invalid", "reason": "no trial is valid", "spans_s": {}, "valid_trials": 0}
    page = render({**empty, "statistics": None})
    assert "3 invalid attempts" in page
    assert "the host was busy" in page
    assert not Outline(page).data()["plots"].keys() - {"plot-artifacts-1"}


def test_a_page_of_500_strategies_is_smaller_than_5_mb() -> None:
    models = [f"model{number}" for number in range(10)]
    operators = ["identity", *(f"operator{number}" for number in range(9))]
    tiers = ["mobile", "edge", "cloud", "mobile+edge", "mobile*5"]
    page = render(document(models, operators, tiers, replicates=5, requests=20))
    assert page.count("data-model=") > 500
    assert len(page.encode()) < 5_000_000


def test_the_plugin_does_not_import_what_the_page_needs() -> None:
    code = (
        "import sys, pytest_edgeai.plugin, pytest_edgeai.reporting.files;"
        "print([m for m in ('jinja2', 'vl_convert', 'pandas', 'pytest_edgeai.reporting.page') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_no_number_on_the_page_is_not_a_number(page: str) -> None:
    visible = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", visible, flags=re.IGNORECASE)
