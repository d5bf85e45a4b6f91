"""Accuracy floors: what an artifact has to reach whatever the baseline does, and how sure it is that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_edgeai.subjects.figures import amount, amount_interval, amount_limit
from pytest_edgeai.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_edgeai.measure.accuracy import Score

# Values are ratios of counts, or sums; rounding them must not break a floor that is met exactly.
_ROUNDING = 1e-9


def judge_floor(score: Score, floor: float, *, alpha: float) -> Verdict:
    """Compare an artifact's accuracy with what it has to reach.

    Parameters
    ----------
    score
        What the model's first metric says of the artifact.
    floor
        What it has to reach, in the metric's unit; of a metric that is better when lower, what it must not exceed.
    alpha
        One minus the confidence of the interval.

    Returns
    -------
    Verdict
        `fail` where it is worse; the reason says whether it is beyond doubt, that is, whether the better end of the
        bootstrap interval over the examples is worse as well.
    """
    sign = 1.0 if score.higher_is_better else -1.0
    if sign * score.value >= sign * floor - _ROUNDING:
        return Verdict("pass")
    name = "floor" if score.higher_is_better else "ceiling"
    reason = f"{score.name} is {amount(score.value, score.unit, digits=2)} ({name} {amount_limit(floor, score.unit)})"
    interval = _interval(score, alpha)
    if interval is None:
        return Verdict("fail", reason)
    low, high = interval
    better = high if score.higher_is_better else low
    doubt = "beyond doubt" if sign * better < sign * floor - _ROUNDING else "though not beyond doubt"
    ends = amount_interval(low, high, score.unit)
    return Verdict("fail", f"{reason}, {doubt}: its {100 * (1 - alpha):g} % interval is {ends}")


def _interval(score: Score, alpha: float) -> tuple[float, float] | None:
    from pytest_edgeai.stats import ratio_drop

    if score.parts is not None:
        everything = np.ones(len(score.parts[0]))
        below = ratio_drop((everything, everything), score.parts, confidence=1 - alpha)
        factor = score.scale / 100
        return (100 - below.high) * factor, (100 - below.low) * factor
    if score.replicates is None or not np.isfinite(score.replicates).any():
        return None
    low, high = np.nanquantile(score.replicates, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
