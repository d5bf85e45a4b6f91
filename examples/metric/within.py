"""A metric: how often the predicted temperature is right to a degree."""

import numpy as np

from pytest_edgeai import Metric


def within_a_degree(predictions, references):
    """Share of the predictions that are at most one degree off, in percent."""
    return 100 * float(np.mean(correct(predictions, references)))


def correct(predictions, references):
    """Which predictions count as right, shape [n]; by this, McNemar's test compares operators."""
    return np.abs(predictions.numbers - np.array(references)) <= 1


WITHIN = Metric("within", "within a degree", within_a_degree, unit="%", higher_is_better=True, correct=correct)
