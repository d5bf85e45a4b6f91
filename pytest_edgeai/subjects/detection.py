"""Mean average precision of object detection, as COCO defines it.

Answers have the outputs `boxes` [k, 4] (left, top, right, bottom), `scores` [k] and `labels` [k] for each example,
references are mappings with `boxes` and `labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects.predictions import MetricError, Predictions, References

COCO_THRESHOLDS: Final = tuple(0.5 + 0.05 * step for step in range(10))
_RECALLS: Final = np.linspace(0, 1, 101)
_OUTPUTS: Final = ("boxes", "scores", "labels")


def mean_average_precision(
    predictions: Predictions, references: References, thresholds: Sequence[float] = COCO_THRESHOLDS
) -> float:
    """Precision averaged over 101 levels of recall, then over classes and thresholds, in percent.

    Parameters
    ----------
    predictions
        With the outputs `boxes`, `scores` and `labels`.
    references
        A mapping with `boxes` and `labels` for each example.
    thresholds
        Intersection over union from which a box counts as found.

    Raises
    ------
    MetricError
        Outputs or references are not those of a detector, or there is no box to find.

    References
    ----------
    Lin et al. (2014), Microsoft COCO: common objects in context, and its reference implementation.
    """
    found, wanted = _found(predictions), [_wanted(one) for one in references]
    classes = sorted({int(label) for _, labels in wanted for label in labels})
    if not classes:
        raise MetricError("mean average precision needs references with boxes")
    precisions = [_average_precision(found, wanted, label, threshold) for label in classes for threshold in thresholds]
    return float(100 * np.mean(precisions))


def intersection_over_union(a: Array, b: Array) -> Array:
    """Overlap of every two boxes, shape [len(a), len(b)], from 0 to 1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(one[:, 2:] - one[:, :2], 0, None), axis=1) for one in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _found(predictions: Predictions) -> list[tuple[Array, Array, Array]]:
    missing = [name for name in _OUTPUTS if name not in predictions.outputs]
    if missing:
        there = ", ".join(predictions.outputs)
        raise MetricError(f"mean average precision takes the outputs boxes, scores and labels, and there are {there}")
    rows = zip(*(predictions.outputs[name] for name in _OUTPUTS), strict=True)
    return [
        (np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.ravel(scores), np.ravel(labels))
        for boxes, scores, labels in rows
    ]


def _wanted(reference: Any) -> tuple[Array, Array]:
    try:
        return np.asarray(reference["boxes"], dtype=np.float64).reshape(-1, 4), np.ravel(reference["labels"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise MetricError("mean average precision takes references with boxes [k, 4] and labels [k]") from None


def _average_precision(
    found: Sequence[tuple[Array, Array, Array]], wanted: Sequence[tuple[Array, Array]], label: int, threshold: float
) -> float:
    scores, hits, total = [], [], 0
    for (boxes, confidences, labels), (true_boxes, true_labels) in zip(found, wanted, strict=True):
        own, truth = labels == label, true_boxes[true_labels == label]
        total += len(truth)
        order = np.argsort(-confidences[own], kind="stable")
        overlaps = intersection_over_union(boxes[own][order], truth)
        scores += confidences[own][order].tolist()
        hits += _matches(overlaps, threshold)
    ranked = np.argsort(-np.array(scores), kind="stable")
    right = np.cumsum(np.array(hits, dtype=float)[ranked])
    recall, precision = right / total, right / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALLS - 1e-12)
    return float(np.mean(np.append(envelope, 0.0)[places]))


def _matches(overlaps: Array, threshold: float) -> list[bool]:
    """Whether each box, surest first, finds one that no surer box has found: the one that it overlaps most."""
    free = np.ones(overlaps.shape[1], dtype=bool)
    matched = []
    for row in overlaps:
        best = np.where(free, row, -1.0)
        place = int(best.argmax()) if best.size else -1
        matched.append(place >= 0 and best[place] >= threshold)
        if matched[-1]:
            free[place] = False
    return matched
