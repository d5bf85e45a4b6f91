"""What a model answered for each of several examples, as metrics take it, and what the answers should have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError

Output: TypeAlias = Array | Sequence[Array]
"""A row for each example: one array where they have one shape, else an array each."""

References: TypeAlias = Array | Sequence[Any]
"""The reference of each example."""

LABELS, SCORES = "labels", "scores"


class MetricError(EdgeAIError, ValueError):
    """A metric that does not fit the model's answers or the references; one sentence."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers of a model.

    Parameters
    ----------
    outputs
        What a client gets, by name: `labels` and `scores`, shape [n, k], best first, of a classifier; else the
        graph's own outputs, each [n, ...], or a sequence of arrays where their shapes differ.
    has_classes
        Whether they are those of a classifier.
    """

    outputs: Mapping[str, Output]
    has_classes: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values())))

    def take(self, numbers: Array) -> Predictions:
        """The answers of some examples.

        Parameters
        ----------
        numbers
            Which, shape [m]; one may occur several times.
        """
        outputs = {
            name: output[numbers] if isinstance(output, np.ndarray) else [output[number] for number in numbers]
            for name, output in self.outputs.items()
        }
        return Predictions(outputs, self.has_classes)

    @property
    def values(self) -> Output:
        """The rows of the model's only output, or of its first where there are several."""
        return next(iter(self.outputs.values()))

    @property
    def ranked(self) -> Array:
        """Classes, best first, shape [n, k].

        Raises
        ------
        MetricError
            The model's output is not [n, classes].
        """
        if self.has_classes:
            return np.asarray(self.outputs[LABELS])
        return np.argsort(-self._logits(), axis=1, kind="stable")

    @property
    def numbers(self) -> Array:
        """One number for each example, shape [n]: the only value of a row of the output.

        Raises
        ------
        MetricError
            A row holds another count of values.
        """
        values = self.values
        if not isinstance(values, np.ndarray) or values.size != len(values):
            shape = values.shape if isinstance(values, np.ndarray) else "of different shapes"
            raise MetricError(f"the metric takes one number for each example, and the model's output is {shape}")
        return np.asarray(values.reshape(len(values)), dtype=np.float64)

    def score_of(self, label: int) -> Array:
        """How sure the model is of a class, shape [n]; of two classes, or one score, the higher the surer.

        Parameters
        ----------
        label
            The class.

        Raises
        ------
        MetricError
            The answers hold no score of the class for every example.
        """
        if self.has_classes:
            is_label = np.asarray(self.outputs[LABELS]) == label
            if not is_label.any(axis=1).all():
                raise MetricError(f"answers lack the score of class {label}: raise k of the pipeline's classification")
            return np.asarray(np.where(is_label, self.outputs[SCORES], 0).sum(axis=1))
        values = self.values
        if isinstance(values, np.ndarray) and values.size == len(values):
            return self.numbers if label == 1 else -self.numbers
        logits = self._logits().astype(np.float64)
        others = np.delete(logits, label, axis=1)
        return np.asarray(logits[:, label] - others.max(axis=1))

    def _logits(self) -> Array:
        values = self.values
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] < 2:
            shape = values.shape if isinstance(values, np.ndarray) else "of different shapes"
            raise MetricError(f"the metric takes classes, and the model's output is {shape}, not [n, classes]")
        return values


def gathered(answers: Sequence[Mapping[str, Array]], *, has_classes: bool) -> Predictions:
    """Answers to requests of one example each, put together.

    Parameters
    ----------
    answers
        Outputs by name; their dimension 0 is the batch where it is 1 in all of them.
    has_classes
        Whether they are those of a classifier.

    Raises
    ------
    ValueError
        There are none.
    """
    if not answers:
        raise ValueError("there are no answers")
    outputs: dict[str, Output] = {}
    for name in answers[0]:
        rows = [as_text(np.asarray(answer[name])) for answer in answers]
        if all(row.ndim and len(row) == 1 for row in rows):
            rows = [row[0] for row in rows]
        alike = len({(row.shape, row.dtype) for row in rows}) == 1
        outputs[name] = np.stack(rows) if alike else rows
    return Predictions(outputs, has_classes)


def as_text(output: Array) -> Array:
    """An output as numpy keeps it in files: texts (BYTES on the wire) as `str`; other outputs are as they were."""
    if output.dtype != object:
        return output
    texts = [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in output.ravel().tolist()]
    return np.array(texts, dtype=np.str_).reshape(output.shape)


def integers(references: References) -> Array | None:
    """References as an array of whole numbers, shape [n]; None where they are anything else."""
    found = np.asarray(references) if isinstance(references, np.ndarray) else None
    if found is None:
        if not all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in references):
            return None
        found = np.array(references, dtype=np.int64)
    return found if found.ndim == 1 and np.issubdtype(found.dtype, np.integer) else None
