"""Accuracy floors: what an artifact has to reach whatever the baseline does, and how sure it is that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_edgeai.subjects.metrics import Metric
from pytest_edgeai.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_edgeai.measure.accuracy import Evaluation

# Percentages are ratios of counts; rounding them must not break a floor that is met exactly.
_ROUNDING = 1e-9


def judge_floor(metric: Metric, evaluation: Evaluation, floor_percent: float, *, alpha: float) -> Verdict:
    """Compare an artifact's accuracy with what it has to reach.

    Parameters
    ----------
    metric
        What the floor is about.
    evaluation
        The artifact's predictions.
    floor_percent
        What it has to reach, in percent.
    alpha
        One minus the confidence of the interval.

    Returns
    -------
    Verdict
        `fail` where it is below; the reason says whether it is beyond doubt, that is, whether the upper end of the
        bootstrap interval over the samples is below as well.
    """
    from pytest_edgeai.stats import ratio_drop

    percent = evaluation.metrics[metric.name]
    if percent >= floor_percent - _ROUNDING:
        return Verdict("pass")
    everything = np.ones(len(evaluation.truth))
    below = ratio_drop(
        (everything, everything), metric.parts(evaluation.ranked, evaluation.truth), confidence=1 - alpha
    )
    low, high = 100 - below.high, 100 - below.low
    doubt = "beyond doubt" if high < floor_percent - _ROUNDING else "though not beyond doubt"
    return Verdict(
        "fail",
        f"{metric.name} is {percent:.2f} % (floor {floor_percent:g} %), {doubt}: its {100 * (1 - alpha):g} % interval "
        f"is {low:.2f} to {high:.2f} %",
    )
