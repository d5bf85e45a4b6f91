"""By how much a strategy's latency changed between two versions, and how sure that is: numbers, not decisions.

A trial's value is how slow its faster inputs were, each against its own mean: what else a machine does only ever adds
time, and seldom to all of a trial. Trials of two versions that were made one right after the other are compared in
pairs, so that what the machine did to both drops out. Now and then a whole trial takes half as long again: the largest
and the smallest fifth of the differences are left out (Yuen 1974). And a few values say little about how they vary, so
strategies lend each other what they have in common (Smyth 2004).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.serving.protocol import Array

_FASTER = 0.4  # of the inputs of a trial, against their own mean
TRIALS_LEFT_OUT = 0.2
"""Share of the trials, or of their differences, that is left out at either end."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much latency varies without any change, each a standard deviation of its logarithm.

    Parameters
    ----------
    trial
        Between trials of a session, at the least. Some strategies vary by a thousandth, which decides nothing and
        would keep the others from lending each other anything.
    session
        Between sessions of one version, which trials of one session cannot show; 0 where both versions are in one.
    """

    trial: float
    session: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A strategy's change.

    Parameters
    ----------
    shift
        Difference of log latency, later less earlier.
    se, df
        Its standard error and degrees of freedom; NaN where there are too few trials for any.
    trial_se
        The part of the standard error that more trials would make smaller.
    sd
        Of the log latency of a trial.
    median_shift
        Difference of the medians over all inputs and trials of log latency against each input's mean.
    delta
        Cliff's delta within inputs, averaged over them; positive is slower.
    trials
        How many there are on each side.
    """

    shift: float
    se: float
    df: float
    trial_se: float
    sd: float
    median_shift: float
    delta: float
    trials: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Trimmed:
    """Values without the largest and the smallest: what is left, and how it varies."""

    mean: float
    squares: float
    left: int


def estimate_changes(
    latencies_s: Mapping[str, tuple[Array, Array]], spread: Spread, *, paired: bool, lending: Sequence[Array] = ()
) -> dict[str, Estimate]:
    """The change of every strategy.

    Parameters
    ----------
    latencies_s
        By strategy, latencies before and after, each of shape (trials, inputs), with the same inputs in the same order.
    spread
        How much latency varies anyway.
    paired
        Whether the n-th trials of both sides were made one right after the other.
    lending
        Latencies of strategies with one side only, each of shape (trials, inputs).

    Raises
    ------
    ValueError
        The sides have different inputs, no trials, or latencies that are none.

    References
    ----------
    Yuen (1974), The two-sample trimmed t for unequal population variances, Biometrika 61(1).
    """
    from pytest_edgeai.stats import cliffs_delta
    from pytest_edgeai.stats.shrinkage import shrink_variances

    shifts, counts, variances, freedom = {}, {}, {}, {}
    for name, sides in latencies_s.items():
        before, after = _trial_values(name, *sides)
        if paired and len(before) == len(after):
            parts, scale = [_trimmed(after - before)], 2.0
            shifts[name] = parts[0].mean
        else:
            parts, scale = [_trimmed(before), _trimmed(after)], 1.0
            shifts[name] = parts[1].mean - parts[0].mean
        counts[name] = scale * sum(1 / part.left for part in parts)
        free = sum(part.left - 1 for part in parts)
        if free:
            freedom[name] = free
            variances[name] = max(sum(part.squares for part in parts) / free / scale, spread.trial**2)
    alone = [one for one in (_trimmed(_values(latencies)) for latencies in lending) if one.left > 1]
    lent = [max(one.squares / (one.left - 1), spread.trial**2) for one in alone]
    shrunk = shrink_variances([*variances.values(), *lent], [*freedom.values(), *(one.left - 1 for one in alone)])
    known = dict(zip(variances, zip(shrunk.variances.tolist(), shrunk.df.tolist(), strict=True), strict=False))
    found = {}
    for name, (before, after) in latencies_s.items():
        variance, df = known.get(name, (math.nan, math.nan))
        trial_variance = variance * counts[name]
        found[name] = Estimate(
            shift=shifts[name],
            se=math.sqrt(trial_variance + 2 * spread.session**2),
            df=df,
            trial_se=math.sqrt(trial_variance),
            sd=math.sqrt(variance),
            median_shift=_median_shift(before, after),
            delta=float(np.mean([cliffs_delta(after[:, one], before[:, one]) for one in range(before.shape[1])])),
            trials=(len(before), len(after)),
        )
    return found


def _trial_values(name: str, before: Array, after: Array) -> tuple[Array, Array]:
    for side in (before, after):
        if side.ndim != 2 or not side.size or not (np.isfinite(side) & (side > 0)).all():
            raise ValueError(f"{name}: latencies are positive numbers, for trials and inputs")
    if before.shape[1] != after.shape[1]:
        raise ValueError(f"{name}: {before.shape[1]} inputs before and {after.shape[1]} after")
    values = _values(np.vstack([before, after]))
    return values[: len(before)], values[len(before) :]


def _values(latencies_s: Array) -> Array:
    """How slow each trial was: the mean over its faster inputs of log latency against that input's mean."""
    logs = np.log(latencies_s)
    ordered = np.sort(logs - logs.mean(axis=0), axis=1)
    values: Array = ordered[:, : math.ceil(_FASTER * ordered.shape[1])].mean(axis=1)
    return values


def _median_shift(before: Array, after: Array) -> float:
    logs = np.log(np.vstack([before, after]))
    residuals = logs - logs.mean(axis=0)
    return float(np.median(residuals[len(before) :]) - np.median(residuals[: len(before)]))


def _trimmed(values: Array) -> _Trimmed:
    """The mean of what is left, and the winsorized sum of squares, which over `left - 1` estimates the variance."""
    ordered = np.sort(values)
    out = int(TRIALS_LEFT_OUT * len(ordered))
    kept = ordered[out : len(ordered) - out]
    winsorized = np.clip(ordered, kept[0], kept[-1])
    return _Trimmed(float(kept.mean()), float(np.square(winsorized - winsorized.mean()).sum()), len(kept))
