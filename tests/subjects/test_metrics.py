"""Accuracy metrics against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects.metrics import METRICS, f1, top_k

Rows = list[tuple[list[int], int]]
rows = st.lists(st.tuples(st.permutations(range(6)).map(lambda order: order[:5]), st.integers(0, 5)), min_size=1)


def _arrays(given_rows: Rows) -> tuple[Array, Array]:
    return np.array([ranked for ranked, _ in given_rows]), np.array([truth for _, truth in given_rows])


@given(rows, st.integers(1, 5))
def test_top_k_counts_samples_whose_label_is_among_the_first_k(given_rows: Rows, k: int) -> None:
    hits = sum(truth in ranked[:k] for ranked, truth in given_rows)
    assert top_k(*_arrays(given_rows), k) == pytest.approx(100 * hits / len(given_rows))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs: list[tuple[int, int]]) -> None:
    predicted, truth = (np.array(column) for column in zip(*pairs, strict=True))
    hits = sum(p == t == 1 for p, t in pairs)
    precision = hits / max(1, int(predicted.sum()))
    recall = hits / max(1, int(truth.sum()))
    expected = 200 * precision * recall / (precision + recall) if hits else 0.0
    assert f1(predicted[:, None], truth) == pytest.approx(expected)


@given(st.sampled_from(sorted(METRICS)), rows)
def test_a_metric_is_the_ratio_of_the_sums_of_its_parts(name: str, given_rows: Rows) -> None:
    ranked, truth = _arrays(given_rows)
    numerator, denominator = METRICS[name].parts(ranked, truth)
    expected = 100 * numerator.sum() / denominator.sum() if denominator.sum() else 0.0
    assert METRICS[name].percent(ranked, truth) == pytest.approx(expected)


@pytest.mark.parametrize("name", METRICS)
def test_no_samples_have_no_accuracy(name: str) -> None:
    with pytest.raises(ValueError, match="samples"):
        METRICS[name].percent(np.empty((0, 5), int), np.empty(0, int))


def test_top_5_of_fewer_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="5 labels"):
        METRICS["top5"].percent(np.zeros((3, 2), int), np.zeros(3, int))
