"""Mean average precision of object detection, as COCO defines it.

Answers have the outputs `boxes` [k, 4] (left, top, right, bottom), `scores` [k] and `labels` [k] for each example,
references are mappings with `boxes` and `labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects.predictions import MetricError, Predictions, References

COCO_THRESHOLDS: Final = tuple(0.5 + 0.05 * step for step in range(10))
_RECALLS: Final = np.linspace(0, 1, 101)
_OUTPUTS: Final = ("boxes", "scores", "labels")


@dataclass(frozen=True, slots=True)
class ImageMatches:
    """What was found on an image of one class.

    Parameters
    ----------
    scores
        Of the boxes found, surest first, shape [k].
    is_match
        Whether each of them is a box of the reference, by threshold, shape [thresholds, k].
    wanted
        How many boxes there are to find.
    """

    scores: Array
    is_match: Array
    wanted: int


def matches(
    predictions: Predictions, references: References, thresholds: Sequence[float] = COCO_THRESHOLDS
) -> list[Mapping[int, ImageMatches]]:
    """What was found on each image, by class.

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
        Outputs or references are not those of a detector.
    """
    found: list[Mapping[int, ImageMatches]] = []
    for (boxes, scores, labels), (true_boxes, true_labels) in zip(
        _found(predictions), map(_wanted, references), strict=True
    ):
        of_image = {}
        for label in {*labels.tolist(), *true_labels.tolist()}:
            own, truth = labels == label, true_boxes[true_labels == label]
            order = np.argsort(-scores[own], kind="stable")
            overlaps = intersection_over_union(boxes[own][order], truth)
            is_match = np.array([_matches(overlaps, threshold) for threshold in thresholds], dtype=bool)
            of_image[int(label)] = ImageMatches(scores[own][order], is_match, len(truth))
        found.append(of_image)
    return found


def mean_average_precision(images: Sequence[Mapping[int, ImageMatches]]) -> float:
    """Precision averaged over 101 levels of recall, then over classes and thresholds, in percent.

    Parameters
    ----------
    images
        What `matches` returned, of the images that count.

    Raises
    ------
    MetricError
        There is no box to find.

    References
    ----------
    Lin et al. (2014), Microsoft COCO: common objects in context, and its reference implementation.
    """
    by_class: dict[int, list[ImageMatches]] = {}
    for image in images:
        for label, one in image.items():
            by_class.setdefault(label, []).append(one)
    precisions = [_average_precisions(ones) for ones in by_class.values() if any(one.wanted for one in ones)]
    if not precisions:
        raise MetricError("mean average precision needs references with boxes")
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


def _average_precisions(images: Sequence[ImageMatches]) -> Array:
    """The average precision of a class at each threshold."""
    ranked = np.argsort(-np.concatenate([one.scores for one in images]), kind="stable")
    is_match = np.concatenate([one.is_match for one in images], axis=1)[:, ranked]
    right = np.cumsum(is_match, axis=1)
    recall = right / sum(one.wanted for one in images)
    precision = right / np.arange(1, right.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    places = [np.searchsorted(row, _RECALLS - 1e-12) for row in recall]
    return np.array([row[place].mean() for row, place in zip(padded, places, strict=True)])


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
