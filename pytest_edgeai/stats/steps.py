"""Where a sequence of values changes its level: step detection by a penalty for each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import FloatArray

CAP: Final = 4.0
"""What a single value can cost at most, in standard deviations of the noise: one outlier is no step."""
_MOST_LEVELS: Final = 200
"""A sequence of more different values has levels at this many of their quantiles only, so that it takes no longer."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of level.

    Parameters
    ----------
    place
        The number of the first value behind it, from 0.
    before, after
        The medians of the values up to the next step on either side.
    low, high
        The interval of `after - before`, given that there is a step at this place.
    """

    place: int
    before: float
    after: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """By how much the level changes."""
        return self.after - self.before


def find_steps(
    values: npt.ArrayLike, *, least: float, robust: bool = True, confidence: float = 0.99
) -> tuple[Step, ...]:
    """Find where values change their level for good, or until the next step.

    Parameters
    ----------
    values : array_like, shape (n,)
        Finite numbers in their order; ratios matter in logarithms of them.
    least : float
        Smaller steps are left out; positive.
    robust : bool
        Whether a value costs `CAP` at most, so that a single one is no step. A sequence without outliers, whose last
        value alone may be a step, has no such limit.
    confidence : float
        Of the intervals; a step whose interval includes 0 is left out.

    Returns
    -------
    tuple of Step
        In their order.

    References
    ----------
    The criterion is that of airspeed velocity, the sum of absolute deviations from the levels and of a penalty for each
    step, with the deviations capped as Fearnhead, Rigaill (2019), Changepoint Detection in the Presence of Outliers,
    Journal of the American Statistical Association 114, 169-183, propose. The penalty is `2 ln n + 1` standard
    deviations, by which at most 3 % of sequences of noise with or without outliers have a step at all
    (`tests/stats/test_steps.py`).
    """
    sequence: FloatArray = np.asarray(values, dtype=float)
    if sequence.size < 2:
        return ()
    deviation = noise_of(sequence, least)
    starts = list(segment(sequence / deviation, 2 * math.log(sequence.size) + 1, CAP if robust else math.inf))
    while True:
        steps = _steps(sequence, starts, deviation, confidence)
        weak = [step for step in steps if abs(step.change) < least or step.low <= 0 <= step.high]
        if not weak:
            return tuple(steps)
        starts.remove(min(weak, key=lambda step: abs(step.change)).place)


def noise_of(values: FloatArray, least: float) -> float:
    """The standard deviation of a sequence about its levels, whatever steps it has.

    Parameters
    ----------
    values : array, shape (n,)
        At least two numbers.
    least : float
        A twentieth of it is the least that is returned, since sequences may be without noise.

    Returns
    -------
    float
        From the median absolute difference of neighbours, larger where few values are known.
    """
    differences = np.abs(np.diff(values))
    usual = 1.4826 * float(np.median(differences)) / math.sqrt(2)
    return max(usual * (1 + 4 / values.size), least / 20)


def segment(values: FloatArray, penalty: float, cap: float) -> tuple[int, ...]:
    """The steps of the piecewise constant sequence that costs least.

    It costs `min(|value - level|, cap)` for each value and `penalty` for each step; levels are values that occur. Found
    by dynamic programming over places and levels, which takes `n` times the number of levels.

    Parameters
    ----------
    values : array, shape (n,)
        In standard deviations of the noise.
    penalty, cap : float
        See above; the cap may be infinite.

    Returns
    -------
    tuple of int
        The numbers of the values at which a level begins, without 0.
    """
    levels = np.unique(values)
    if levels.size > _MOST_LEVELS:
        levels = np.unique(np.quantile(levels, np.linspace(0, 1, _MOST_LEVELS), method="nearest"))
    if levels.size == 1:
        return ()
    began = np.zeros((values.size, levels.size), dtype=bool)
    best_before = np.zeros(values.size, dtype=int)
    costs = np.minimum(np.abs(values[:, None] - levels), cap)
    total = costs[0].copy()
    for place in range(1, values.size):
        best = best_before[place] = int(total.argmin())
        anew = total[best] + penalty
        np.less(anew, total, out=began[place])
        np.minimum(anew, total, out=total)
        total += costs[place]
    level, starts = int(total.argmin()), []
    for place in range(values.size - 1, 0, -1):
        if began[place, level]:
            starts.append(place)
            level = int(best_before[place])
    return tuple(reversed(starts))


def _steps(values: FloatArray, starts: list[int], deviation: float, confidence: float) -> list[Step]:
    """The steps at these places, with intervals from the deviations of all values from their levels."""
    from scipy.special import stdtrit  # a quarter of the time of importing scipy.stats

    parts = np.split(values, starts)
    middles = [float(np.median(part)) for part in parts]
    # An outlier counts as much as it does when steps are found.
    residuals = np.clip(np.concatenate([part - np.median(part) for part in parts]), -CAP * deviation, CAP * deviation)
    free = max(values.size - len(parts), 1)
    spread = max(math.sqrt(float(np.sum(residuals**2)) / free), deviation / 5)
    wide = float(stdtrit(free, (1 + confidence) / 2)) * spread
    found = []
    for place, before, after, left, right in zip(starts, middles, middles[1:], parts, parts[1:], strict=False):
        # A median varies up to pi / 2 times as much as a mean; of one or two values it is the mean.
        half = wide * math.sqrt(sum((1.0 if part.size < 3 else math.pi / 2) / part.size for part in (left, right)))
        found.append(Step(place, before, after, after - before - half, after - before + half))
    return found
