"""Accuracy metrics on ranked predictions, in percent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.arrays import Array


@dataclass(frozen=True, slots=True)
class Metric:
    """An accuracy metric.

    Parameters
    ----------
    name
        As in a subject model's `metrics`.
    label
        As people write it.
    percent
        From ranked labels [n, k] (best first) and true labels [n] to a percentage.
    parts
        The metric as a ratio: what each sample adds to its numerator and to its denominator, two arrays of shape
        [n]. Intervals are drawn from these.
    correct
        Which samples count as right, shape [n], bool.
    """

    name: str
    label: str
    percent: Callable[[Array, Array], float]
    parts: Callable[[Array, Array], tuple[Array, Array]]
    correct: Callable[[Array, Array], Array]


def top_k(ranked: Array, truth: Array, k: int) -> float:
    """Percentage of samples whose true label is among the first k predicted ones.

    Parameters
    ----------
    ranked
        Predicted labels, best first, shape [n, at least k].
    truth
        True labels, shape [n].
    k
        How many guesses count.

    Raises
    ------
    ValueError
        There are no samples, or fewer than k labels a sample.
    """
    if len(truth) == 0 or ranked.shape[1] < k:
        raise ValueError(f"top-{k} accuracy needs samples and {k} labels each, not shape {ranked.shape}")
    return float(100 * np.mean(_among(ranked, truth, k)))


def f1(ranked: Array, truth: Array) -> float:
    """F1 score of class 1: the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), in percent.

    Parameters
    ----------
    ranked
        Predicted labels, best first, shape [n, at least 1].
    truth
        True labels 0 or 1, shape [n].

    Returns
    -------
    float
        0 where class 1 is neither predicted nor true.

    Raises
    ------
    ValueError
        There are no samples.
    """
    if len(truth) == 0:
        raise ValueError("F1 needs samples")
    predicted = ranked[:, 0] == 1
    actual = truth == 1
    hits = int(np.sum(predicted & actual))
    mentions = int(np.sum(predicted) + np.sum(actual))
    return 200 * hits / mentions if mentions else 0.0


def f1_parts(ranked: Array, truth: Array) -> tuple[Array, Array]:
    """What each sample adds to 2 TP and to 2 TP + FP + FN, shape [n] each."""
    predicted, actual = ranked[:, 0] == 1, truth == 1
    return 2 * (predicted & actual), predicted.astype(np.int64) + actual


def _among(ranked: Array, truth: Array, k: int) -> Array:
    return np.asarray(np.any(ranked[:, :k] == truth[:, None], axis=1))


def _top(k: int) -> Metric:
    return Metric(
        name=f"top{k}",
        label=f"top-{k}",
        percent=lambda ranked, truth: top_k(ranked, truth, k),
        parts=lambda ranked, truth: (_among(ranked, truth, k), np.ones(len(truth))),
        correct=lambda ranked, truth: _among(ranked, truth, k),
    )


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _top(1),
        _top(5),
        Metric("f1", "F1", percent=f1, parts=f1_parts, correct=lambda ranked, truth: _among(ranked, truth, 1)),
    )
}
