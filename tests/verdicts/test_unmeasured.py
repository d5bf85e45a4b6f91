"""Sessions whose accuracy is not measured, compared with others."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_edgeai.recording import RecordedArtifact, RecordedStrategy, Recording
from pytest_edgeai.settings import Settings
from pytest_edgeai.verdicts.comparison import Row, compare, rules

ID = "toy-worse-edge"
CORRECT = np.ones(4, dtype=bool)


def _row(before: dict[str, float], after: dict[str, float]) -> Row:
    latencies_s = np.random.default_rng(1).normal(1, 0.01, size=(5, 10, 1))
    sides = [
        Recording(
            label,
            {},
            {ID: RecordedStrategy(tuple(range(10)), latencies_s)},
            {"toy-worse": RecordedArtifact("content", 100, metrics, CORRECT)},
            {ID: "toy-worse"},
        )
        for label, metrics in (("before", before), ("after", after))
    ]
    rule, limits = rules(Settings())
    return compare(sides[0], sides[1], rule, limits).rows[0]


def test_latency_is_compared_where_neither_session_measured_accuracy() -> None:
    row = _row({}, {})
    assert (row.accuracy_pp, row.size) == (None, 0)
    assert row.outcome == _row({"top1": 90.0}, {"top1": 90.0}).outcome


@pytest.mark.parametrize(("before", "after"), [({"top1": 90.0}, {}), ({}, {"top1": 90.0})])
def test_accuracy_in_only_one_session_is_not_green(before: dict[str, float], after: dict[str, float]) -> None:
    row = _row(before, after)
    assert row.outcome == "incomparable"
    assert "accuracy (top1) is measured in only one of the sessions" in row.reasons


def test_another_metric_is_not_compared_in_silence() -> None:
    row = _row({"f1": 90.0}, {"top1": 50.0})
    assert row.outcome == "incomparable"
    assert "accuracy (top1) is measured in only one of the sessions" in row.reasons


def test_an_artifact_that_one_session_did_not_record_is_not_compared_in_silence() -> None:
    latencies_s = np.random.default_rng(1).normal(1, 0.01, size=(5, 10, 1))
    strategies = {ID: RecordedStrategy(tuple(range(10)), latencies_s)}
    artifact = RecordedArtifact("content", 100, {"top1": 90.0}, CORRECT)
    before = Recording("before", {}, strategies)
    after = Recording("after", {}, strategies, {"toy-worse": artifact}, {ID: "toy-worse"})
    (row,) = compare(before, after, *rules(Settings())).rows
    assert row.outcome == "incomparable"
    assert row.reasons[0] == "accuracy and size of its artifact are not recorded in before"
