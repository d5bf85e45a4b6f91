"""Strategies whose accuracy or latency is not measured, compared with others."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_edgeai.settings import Settings
from pytest_edgeai.verdicts.comparison import Row, compare, rules
from pytest_edgeai.versions.recording import KEY, RecordedArtifact, RecordedStrategy, Recording, read_recording

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
    assert (row.accuracy_gain, row.size) == (None, 0)
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


def test_size_and_accuracy_are_compared_where_trials_are_invalid() -> None:
    latencies_s = np.random.default_rng(1).normal(1, 0.01, size=(4, 10, 1))
    correct = np.array([True] * 80 + [False] * 20)
    sides = [
        Recording(
            label,
            {},
            {ID: RecordedStrategy(tuple(range(10)), latencies_s, invalid=invalid)},
            {"toy-worse": RecordedArtifact(label, size_bytes, {"top1": percent}, correct)},
            {ID: "toy-worse"},
        )
        for label, invalid, size_bytes, percent in (("before", (), 100, 90.0), ("after", ("parity",), 150, 80.0))
    ]
    rule, limits = rules(Settings())
    (row,) = compare(sides[0], sides[1], rule, limits).rows
    assert (row.outcome, row.accuracy_gain, row.size, row.latency) == ("invalid", -10, 0.5, None)
    assert [reason.partition(" (")[0] for reason in row.reasons] == [
        "1 of its trials in after are invalid, the first because parity",
        "top1 fell by 10.00 pp, from 90.00 %",
        "the artifact grew by 50.0%",
    ]


@pytest.mark.parametrize(("cause", "valid", "usable"), [("host", 3, True), ("host", 2, False), ("product", 9, False)])
def test_a_recorded_strategy_is_compared_by_three_trials_where_the_host_spoiled_the_rest(
    cause: str, valid: int, usable: bool
) -> None:
    trials = [{"input": [0, 1], "latency_s": [0.1, 0.2], "peak_memory_bytes": None}] * valid
    spoiled = {"invalid": "a reason", "cause": cause}
    document = {
        "format": 1,
        "conditions": {},
        "artifacts": {},
        "strategies": {ID: {"artifact": "toy-worse", "trials": [*trials, spoiled]}},
    }
    recorded = read_recording({KEY: document}, "before").strategies[ID]
    assert recorded.latencies_s.shape == (valid, 2, 1)
    assert recorded.invalid == (() if usable else ("a reason",))
