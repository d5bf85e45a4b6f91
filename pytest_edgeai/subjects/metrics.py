"""Accuracy metrics: a function of predictions and references, with its unit and its direction.

Those that are built in are in `METRICS`; a project adds its own by the hook `pytest_edgeai_metrics`, an entry point of
the group `pytest_edgeai.metrics`, or by putting a `Metric` into a subject model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects.detection import matches, mean_average_precision
from pytest_edgeai.subjects.predictions import MetricError, Predictions, References, integers

PERCENT = "%"


@dataclass(frozen=True, slots=True)
class Metric:
    """An accuracy metric. All of its functions are at the top of a module: artifacts are built in another process.

    Parameters
    ----------
    name
        As in a subject model's `metrics`.
    label
        As people write it.
    score
        From predictions and references, of n examples each, to a number in the metric's unit.
    unit
        `%` for shares; else the unit of the number, or empty.
    higher_is_better
        Its direction.
    parts
        The metric as a ratio (times 100 where its unit is `%`): what each example adds to its numerator and to its
        denominator, two arrays of shape [n]. Intervals are drawn from these; of a metric without them, from `score` on
        resampled examples.
    correct
        Which examples count as right, shape [n], bool; None where there is no right and wrong.
    summaries, combined
        Of a metric that is no ratio and slow: what it needs of each example, a sequence of n objects, and the number
        that summaries of some examples give. Resamples then cost no more than `combined`.
    resamples
        How often the metric is computed again for intervals.
    compares_with_baseline
        Whether references are the answers of the baseline (`Predictions.values`) instead of the examples' own.
    sources
        Files whose content decides it, apart from this package.
    """

    name: str
    label: str
    score: Callable[[Predictions, References], float]
    unit: str = PERCENT
    higher_is_better: bool = True
    parts: Callable[[Predictions, References], tuple[Array, Array]] | None = None
    correct: Callable[[Predictions, References], Array] | None = None
    summaries: Callable[[Predictions, References], Sequence[Any]] | None = None
    combined: Callable[[Sequence[Any]], float] | None = None
    resamples: int = 1000
    compares_with_baseline: bool = False
    sources: tuple[Path, ...] = ()


def classes_of(references: References) -> Array:
    """References as indices of classes, shape [n].

    Raises
    ------
    MetricError
        They are anything else, or there are none.
    """
    found = integers(references)
    if found is None or not len(found):
        raise MetricError("the metric takes the index of the true class as an example's reference")
    return found


def numbers_of(references: References) -> Array:
    """References as numbers, shape [n].

    Raises
    ------
    MetricError
        They are anything else, or there are none.
    """
    try:
        found = np.array([np.asarray(one, dtype=np.float64).reshape(()) for one in references])
    except (TypeError, ValueError):
        found = np.empty(0)
    if not found.size or not np.isfinite(found).all():
        raise MetricError("the metric takes one finite number as an example's reference")
    return found


def top_k(ranked: Array, truth: Array, k: int) -> float:
    """Percentage of examples whose true label is among the first k predicted ones.

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
        There are no examples, or fewer than k labels for each.
    """
    if len(truth) == 0 or ranked.shape[1] < k:
        raise MetricError(f"top-{k} accuracy needs examples and {k} labels each, not shape {ranked.shape}")
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
        There are no examples.
    """
    if len(truth) == 0:
        raise MetricError("F1 needs examples")
    hits, mentions = (float(np.sum(part)) for part in _f1_parts(ranked, truth))
    return 100 * hits / mentions if mentions else 0.0


def _f1_parts(ranked: Array, truth: Array) -> tuple[Array, Array]:
    predicted, actual = ranked[:, 0] == 1, truth == 1
    return 2 * (predicted & actual), predicted.astype(np.int64) + actual


def _among(ranked: Array, truth: Array, k: int) -> Array:
    return np.asarray(np.any(ranked[:, :k] == truth[:, None], axis=1))


def _top_score(predictions: Predictions, references: References, k: int) -> float:
    return top_k(predictions.ranked, classes_of(references), k)


def _top_parts(predictions: Predictions, references: References, k: int) -> tuple[Array, Array]:
    return _top_correct(predictions, references, k), np.ones(len(references))


def _top_correct(predictions: Predictions, references: References, k: int) -> Array:
    return _among(predictions.ranked, classes_of(references), k)


def _top(k: int) -> Metric:
    functions = (partial(one, k=k) for one in (_top_score, _top_parts, _top_correct))
    score, parts, correct = functions
    return Metric(f"top{k}", f"top-{k}", score, parts=parts, correct=correct)  # type: ignore[arg-type]  # of three types


def _detection(name: str, label: str, summaries: Callable[[Predictions, References], Sequence[Any]]) -> Metric:
    score = partial(_combined, summaries=summaries, combined=mean_average_precision)
    return Metric(name, label, score, summaries=summaries, combined=mean_average_precision)


def _combined(
    predictions: Predictions,
    references: References,
    summaries: Callable[[Predictions, References], Sequence[Any]],
    combined: Callable[[Sequence[Any]], float],
) -> float:
    return combined(summaries(predictions, references))


def _f1_score(predictions: Predictions, references: References) -> float:
    return f1(predictions.ranked, classes_of(references))


def _f1_ratio(predictions: Predictions, references: References) -> tuple[Array, Array]:
    return _f1_parts(predictions.ranked, classes_of(references))


def accuracy_parts(predictions: Predictions, references: References) -> tuple[Array, Array]:
    """Right labels and labels of each example, shape [n]; a label below 0 marks a position that does not count.

    An example has one label, or one for each position of a sequence: the output is then [n, positions, classes].
    """
    if integers(references) is not None:
        return _top_parts(predictions, references, 1)
    rights, counts = [], []
    for row, reference in zip(predictions.values, references, strict=True):
        truth = np.asarray(reference)
        if row.ndim != 2 or truth.ndim != 1 or len(truth) != len(row):
            raise MetricError(
                f"accuracy takes a label for each position of an output [positions, classes], not {truth.shape} "
                f"for {row.shape}"
            )
        counted = truth >= 0
        rights.append(int(np.sum((row.argmax(axis=1) == truth) & counted)))
        counts.append(int(np.sum(counted)))
    return np.array(rights), np.array(counts)


def _accuracy(predictions: Predictions, references: References) -> float:
    rights, counts = accuracy_parts(predictions, references)
    return float(100 * rights.sum() / counts.sum()) if counts.sum() else 0.0


def _errors(predictions: Predictions, references: References) -> Array:
    return np.asarray(predictions.numbers - numbers_of(references))


def mean_absolute_error(predictions: Predictions, references: References) -> float:
    """Mean of |prediction - reference|, in the unit of the references."""
    return float(np.mean(np.abs(_errors(predictions, references))))


def error_parts(predictions: Predictions, references: References) -> tuple[Array, Array]:
    """Each example's |prediction - reference|, and 1, shape [n]."""
    errors = np.abs(_errors(predictions, references))
    return errors, np.ones(len(errors))


def root_mean_squared_error(predictions: Predictions, references: References) -> float:
    """Square root of the mean of (prediction - reference)², in the unit of the references."""
    return float(np.sqrt(np.mean(_errors(predictions, references) ** 2)))


def r_squared(predictions: Predictions, references: References) -> float:
    """Coefficient of determination: one minus squared errors by squared deviations from the references' mean.

    0 where all references are equal and predictions are not, as nothing is explained; 1 where they are, too.
    """
    truth = numbers_of(references)
    errors = float(np.sum(_errors(predictions, references) ** 2))
    total = float(np.sum((truth - truth.mean()) ** 2))
    return 1 - errors / total if total else float(errors == 0)


def area_under_curve(predictions: Predictions, references: References) -> float:
    """Area under the ROC curve of class 1, in percent: how often a positive example scores above a negative one.

    The statistic of Mann and Whitney (1947), ties counted half. 50 where one of the classes does not occur.
    """
    from scipy.stats import rankdata

    positive = classes_of(references) == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return 50.0
    ranks = rankdata(predictions.score_of(1))
    return float(100 * (ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def word_error_parts(predictions: Predictions, references: References) -> tuple[Array, Array]:
    """Insertions, deletions and substitutions of each example, and the words of its reference, shape [n].

    Predictions are texts (a BYTES output), or indices of tokens; a reference is a text or a sequence of indices.
    """
    pairs = [
        (_words(prediction), _words(reference))
        for prediction, reference in zip(predictions.values, references, strict=True)
    ]
    return np.array([_edits(*pair) for pair in pairs]), np.array([len(truth) for _, truth in pairs])


def _word_error_rate(predictions: Predictions, references: References) -> float:
    edits, words = word_error_parts(predictions, references)
    if not words.sum():
        raise MetricError("the word error rate needs references with words")
    return float(100 * edits.sum() / words.sum())


def _words(one: object) -> list[object]:
    found: Any = one.tolist() if isinstance(one, np.ndarray) else one
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], bytes | str | list):
        found = found[0]
    if isinstance(found, bytes):
        found = found.decode()
    return list(found.split() if isinstance(found, str) else found)


def _edits(words: list[object], truth: list[object]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(truth) + 1))
    for number, word in enumerate(words, 1):
        before, row[0] = row[0], number
        for place, right in enumerate(truth, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != right))
    return row[-1]


def cosine_parts(predictions: Predictions, references: References) -> tuple[Array, Array]:
    """Cosine of the angle between each example's output and the baseline's, and 1, shape [n]."""
    cosines = []
    for row, reference in zip(predictions.values, references, strict=True):
        a, b = (np.asarray(one, dtype=np.float64).ravel() for one in (row, reference))
        if a.shape != b.shape:
            raise MetricError(f"the baseline's output has shape {np.shape(reference)}, and this one {np.shape(row)}")
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        cosines.append(float(a @ b) / lengths if lengths else float(np.array_equal(a, b)))
    return np.array(cosines), np.ones(len(cosines))


def _cosine(predictions: Predictions, references: References) -> float:
    return float(100 * np.mean(cosine_parts(predictions, references)[0]))


def perplexity(predictions: Predictions, references: References) -> float:
    """Exponential of the mean negative log-likelihood of the reference tokens.

    The output is [n, positions, vocabulary], of logits; a reference is the token that follows each position, or a
    number below 0 where none counts.
    """
    total, count = 0.0, 0
    for row, reference in zip(predictions.values, references, strict=True):
        truth = np.asarray(reference)
        if row.ndim != 2 or truth.shape != row.shape[:1]:
            raise MetricError(f"perplexity takes a token for each position of {row.shape}, not {truth.shape}")
        counted = np.flatnonzero(truth >= 0)
        logits = np.asarray(row[counted], dtype=np.float64)
        largest = logits.max(axis=1, initial=-np.inf, keepdims=True)
        norms = largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1))
        total += float(np.sum(norms - logits[np.arange(len(counted)), truth[counted]]))
        count += len(counted)
    if not count:
        raise MetricError("perplexity needs references with tokens that count")
    return float(np.exp(total / count))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _top(1),
        _top(5),
        Metric("f1", "F1", _f1_score, parts=_f1_ratio, correct=partial(_top_correct, k=1)),
        Metric("accuracy", "accuracy", _accuracy, parts=accuracy_parts),
        Metric("auroc", "AUROC", area_under_curve),
        Metric("mae", "MAE", mean_absolute_error, unit="", higher_is_better=False, parts=error_parts),
        Metric("rmse", "RMSE", root_mean_squared_error, unit="", higher_is_better=False),
        Metric("r2", "R²", r_squared, unit=""),
        _detection("map", "mAP", matches),
        _detection("map50", "mAP at 50 %", partial(matches, thresholds=(0.5,))),
        Metric("wer", "WER", _word_error_rate, higher_is_better=False, parts=word_error_parts),
        Metric("cosine", "cosine agreement", _cosine, parts=cosine_parts, compares_with_baseline=True),
        Metric("perplexity", "perplexity", perplexity, unit="", higher_is_better=False),
    )
}


def metric_of(named: str | Metric) -> Metric:
    """A metric that a subject model names; every name but a built-in one has become a metric at collection."""
    return METRICS[named] if isinstance(named, str) else named
