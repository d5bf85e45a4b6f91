"""The comment on a pull request, the badge and the metrics, from documents as `results.json` has them."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_edgeai.reporting.badge import badge
from pytest_edgeai.reporting.openmetrics import openmetrics
from pytest_edgeai.reporting.pull_request import LIMIT, comment, escaped, marker
from pytest_edgeai.verdicts import OUTCOMES, is_green

HOSTILE = "x|y <script>alert(1)</script> @someone #12 `code` [a](http://b) ![i](j) **b**\n\n# heading"


def strategy(name: str, verdict: str = "pass", reason: str = "") -> dict[str, Any]:
    """A strategy as `results.json` has it."""
    return {
        "id": f"{name}-sptq-edge",
        "model": name,
        "operator": "sptq",
        "tier": "edge",
        "verdict": verdict,
        "reason": reason,
        "trials": 5,
        "valid_trials": 5,
        "tries": 6,
        "median_s": 0.0123,
        "p95_s": None,
        "load_s": 0.5,
        "size_bytes": 1_500_000,
        "metrics": {"top1": 93.5},
        "accuracy": {"metric": "top1", "unit": "%", "value": 93.5, "drop": 2.5, "limit": 2.0},
        "accuracy_drop": 2.5,
    }


def compared(name: str, outcome: str = "pass", reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    """A strategy of a comparison."""
    return {
        "strategy": name,
        "outcome": outcome,
        "reasons": list(reasons),
        "median_s": [0.01, 0.012],
        "latency": {"change": 0.2, "low": 0.15, "high": None},
        "accuracy_gain": -0.5,
        "accuracy_unit": "%",
        "size": 0.0,
        "same_artifact": False,
    }


def budgeted(name: str) -> dict[str, Any]:
    """A strategy with a limit."""
    limit = {"name": HOSTILE, "unit": "s", "limit": 0.05, "value": 0.0123, "low": 0.011, "high": None}
    return strategy(name) | {"budgets": [{**limit, "outcome": "inconclusive", "reason": ""}], "energy_j": 0.25}


def document(*strategies: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A report."""
    return {
        "version": "1",
        "green": all(is_green(one["verdict"]) for one in strategies),
        "interrupted": None,
        "remarks": [],
        "seed": 1,
        "backend": {"name": "process"},
        "host": {"cores": 2, "processor": "P @ 2 GHz"},
        "settings": {"profile": "quick"},
        "failures": [],
        "strategies": list(strategies),
        "comparison": None,
        **more,
    }


def test_the_verdict_comes_first_then_what_is_broken_then_folded_tables() -> None:
    text = comment(document(strategy("a"), strategy("b", "fail", "top1 is 2.5 pp below"), strategy("c", "invalid")))
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == marker()
    assert lines[1] == "### ❌ pytest-edgeai: not green: 1 pass, 1 fail, 1 invalid"
    assert lines[2].startswith("- <code>c-sptq-edge</code>: **invalid**")
    assert lines[3] == "- <code>b-sptq-edge</code>: **fail**: top1 is 2.5 pp below"
    assert text.index("What to do about fail: ") < text.index("<details><summary>All 3 strategies</summary>")
    assert (
        "| <code>a-sptq-edge</code> | pass | 12.30 ms | – | +2.50 pp | 2 pp | top1 93.50 % | 1.50 MB | 5/5, 6 tries |"
        in text
    )
    assert text.count("<details>") == text.count("</details>") == 1


def test_limits_of_budgets_are_a_folded_table_of_their_own() -> None:
    text = comment(document(budgeted("a"), strategy("b")))
    assert "<details><summary>All 1 limits of budgets</summary>" in text
    assert f"| <code>a-sptq-edge</code> | {escaped(HOSTILE)} | inconclusive | 12.3 ms | 11 ms to – | 50 ms |" in text
    assert 'edgeai_energy_joules{model="a",operator="sptq",tier="edge"} 0.25' in openmetrics(document(budgeted("a")))


def test_a_comparison_says_what_became_worse_and_how_much() -> None:
    rows = [compared("a"), compared("b", "regression", ("slower by 20 %",))]
    found = {"before": "main", "green": False, "fails": True, "differences": [], "remarks": [], "strategies": rows}
    text = comment(document(strategy("a"), green=False, comparison=found))
    assert "**Against main**: 1 pass, 1 regression (not green)" in text
    assert "- <code>b</code>: **regression**: slower by 20 %" in text
    assert "| <code>a</code> | pass | 10.00 ms | 12.00 ms | +20.0% | +15.0% to – | -0.50 pp | +0.0% |" in text


def test_nothing_in_a_report_means_anything_to_markdown() -> None:
    text = comment(
        document(strategy(HOSTILE, "fail", HOSTILE), remarks=[HOSTILE], interrupted=HOSTILE, green=False),
        where=HOSTILE,
    )
    plain = re.sub(r"</?(code|details|summary|sub)>|<!-- [^>]*-->|&#\d+;", "", text)
    assert "<" not in plain
    assert "`" not in plain
    assert "@" not in plain
    assert "](" not in plain
    assert "\n# heading" not in plain
    rows = [line for line in text.splitlines() if line.startswith("| <code>")]
    assert [row.count("|") for row in rows] == [10]


@given(st.text(max_size=200))
def test_escaped_text_is_one_line_and_reads_as_it_was(text: str) -> None:
    found = escaped(text)
    assert "\n" not in found
    assert html.unescape(found).replace("\u200b", "") == " ".join(text.split()).replace("\u200b", "")


@settings(max_examples=30)
@given(
    names=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=60),
    reason=st.text(max_size=600),
    limit=st.integers(5_000, 20_000),
)
def test_a_comment_is_never_longer_than_its_limit_and_is_cut_by_rows(names: list[str], reason: str, limit: int) -> None:
    kinds = [OUTCOMES[number % len(OUTCOMES)] for number in range(len(names))]
    rows = [strategy(name, kind, reason) for name, kind in zip(names, kinds, strict=True)]
    text = comment(document(*rows, remarks=[reason] * 20), limit=limit)
    assert len(text) <= limit
    assert text.count("<details>") == text.count("</details>")
    shown = [line for line in text.splitlines() if line.startswith("| <code>")]
    left_out = re.search(r"\*(\d+) more strategies left out here", text)
    assert len(shown) + int(left_out[1] if left_out else 0) == len(names)


def test_a_thousand_strategies_fit_and_the_comment_says_how_many_are_left_out() -> None:
    rows = [strategy(f"model{number}", "fail", "top1 is far below " + "x" * 100) for number in range(1000)]
    text = comment(document(*rows), where="see the artifacts")
    assert len(text) <= LIMIT
    failures, strategies = (int(number) for number in re.findall(r"\*(\d+) more", text))
    assert 1000 - failures == text.count("**fail**")
    assert 0 < failures < 1000
    assert strategies + len([line for line in text.splitlines() if line.startswith("| <code>")]) == 1000
    assert ": see the artifacts.*" in text


@pytest.mark.parametrize(
    ("verdicts", "words", "colour"),
    [(["pass", "new"], "2 of 2 green", "#2e7d32"), (["pass", "fail"], "1 of 2 green", "#c62828")],
)
def test_a_badge_says_how_many_strategies_are_green(verdicts: list[str], words: str, colour: str) -> None:
    svg = badge(document(*(strategy("a", verdict) for verdict in verdicts)))
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.attrib["aria-label"] == f"edgeai: {words}"
    assert colour in svg


def test_metrics_have_a_line_for_each_figure_and_none_for_what_was_not_measured() -> None:
    text = openmetrics(document(strategy('a "quoted"\\name'), strategy("b", "fail")))
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    labels = r'{model="a \"quoted\"\\name",operator="sptq",tier="edge"}'
    assert f"edgeai_latency_median_seconds{labels} 0.0123" in lines
    assert not [line for line in lines if line.startswith("edgeai_latency_p95_seconds{")]
    assert 'edgeai_green{model="b",operator="sptq",tier="edge"} 0' in lines
    assert 'edgeai_accuracy{model="b",operator="sptq",tier="edge",metric="top1"} 93.5' in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    for line in lines[:-1]:
        assert re.fullmatch(r'# (TYPE|UNIT|HELP) edgeai_\w+ .+|edgeai_\w+\{(\w+="([^"\\]|\\.)*",?)+\} [-+.\de]+', line)
