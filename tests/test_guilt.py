"""What is said of a commit by a row of a comparison and by two evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.commands.guilt import accuracy_answer, latency_answer
from pytest_edgeai.measure.accuracy import Evaluation, Score
from pytest_edgeai.operators.preparation import Prepared
from pytest_edgeai.settings import load_settings


def row(outcome: str, change: float, low: float | None, high: float | None) -> dict[str, Any]:
    """A row with a change of latency."""
    latency = {"outcome": outcome, "reason": "why", "change": change, "low": low, "high": high, "trials": [6, 6]}
    return {"outcome": outcome, "reasons": ["why"], "latency": latency, "same_artifact": False}


@pytest.mark.parametrize(
    ("outcome", "mark"),
    [("regression", "bad"), ("inconclusive", "undecided"), ("pass", "good"), ("improvement", "good")],
)
def test_without_a_limit_the_gate_decides(outcome: str, mark: str) -> None:
    assert latency_answer(row(outcome, 0.5, 0.4, 0.6), None).mark == mark


@pytest.mark.parametrize(
    ("low", "high", "mark"),
    [(0.11, 0.2, "bad"), (0.0, 0.09, "good"), (0.09, 0.11, "undecided"), (None, None, "undecided")],
)
def test_with_a_limit_the_whole_interval_has_to_be_on_one_side(
    low: float | None, high: float | None, mark: str
) -> None:
    answer = latency_answer(row("regression", 0.1, low, high), 0.1)
    assert (answer.mark, answer.low, answer.high) == (mark, low, high)


@pytest.mark.parametrize(
    ("outcome", "same", "mark"),
    [
        ("pass", True, "good"),
        ("inconclusive", True, "good"),
        ("invalid", False, "undecided"),
        ("incomparable", False, "broken"),
    ],
)
def test_without_trials_of_both_it_depends_on_why(outcome: str, same: bool, mark: str) -> None:
    found = {"outcome": outcome, "reasons": ["why"], "latency": None, "same_artifact": same}
    assert latency_answer(found, None).mark == mark


def prepared(right: int, name: str = "top1") -> Prepared:
    """An artifact that is right on some of a hundred examples."""
    correct = np.arange(100) < right
    parts = correct.astype(float), np.ones(100)
    score = Score(name, name, "%", True, float(right), parts=parts, correct=correct)
    nothing: Any = None
    return Prepared(nothing, Evaluation(nothing, {name: score}), nothing)


def test_accuracy_is_worse_beyond_the_limit_of_the_gate_or_another_one(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    answer = accuracy_answer(prepared(90), prepared(80), settings, None)
    assert (answer.mark, answer.change) == ("bad", 10)
    assert answer.low is not None
    assert answer.high is not None
    assert 0 < answer.low < 10 < answer.high
    assert accuracy_answer(prepared(90), prepared(80), settings, 20.0).mark == "good"
    assert accuracy_answer(prepared(80), prepared(90), settings, None).mark == "good"
    assert accuracy_answer(prepared(80), prepared(90, "f1"), settings, None).mark == "broken"
