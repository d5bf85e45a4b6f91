"""By how much a strategy's latency changed between two versions, and how sure that is: numbers, not decisions.

A trial has a value for each view of it (`pytest_edgeai.verdicts.views`). Trials of two versions that were made one
right after the other are compared in pairs, so that what the machine did to both drops out. Now and then a whole trial
takes half as long again: the largest and the smallest fifth of the differences are left out (Yuen 1974). And a few
values say little about how they vary, so strategies lend each other what they have in common (Smyth 2004).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.stats.trimmed import Trimmed, trimmed
from pytest_edgeai.verdicts.views import View, residuals_of, trial_values, views_of

_CLIPPED_AT = 0.8
"""Share of the differences of pairs, by size, that count as they are; what is larger counts as the largest of them."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A strategy's change, each array of shape (views,).

    Parameters
    ----------
    views
        What the arrays are about.
    shift
        Difference of log latency, later less earlier.
    se, df
        Its standard error and degrees of freedom; NaN where there are too few trials for any.
    trial_se
        The part of the standard error that more trials would make smaller.
    sd
        Of the log latency of a trial.
    delta
        Cliff's delta: of the typical view within inputs, averaged over them, else between trials; positive is slower.
    median_shift
        Difference of the medians over all inputs and trials of log latency against each input's mean.
    mean_shift
        Difference of the logarithm of the plain mean of requests, each against its input's mean, over all trials but
        the one with the largest mean on each side: a single pause is the machine's.
    trials
        How many there are on each side.
    differences
        Of each pair of trials, shape (views, pairs); None where they are not pairs.
    lent_variance, lent_df
        What the strategies lend each other in a view, for single trials.
    """

    views: tuple[View, ...]
    shift: Array
    se: Array
    df: Array
    trial_se: Array
    sd: Array
    delta: Array
    median_shift: float
    mean_shift: float
    trials: tuple[int, int]
    differences: Array | None
    lent_variance: Array
    lent_df: Array

    def statistics(self, differences: Array, spread: Spread) -> Array:
        """Studentized means of the differences of the pairs, or of what exchanging members of pairs makes of them.

        What is larger than most counts as the largest of those: an odd trial has a sign, but no more weight than
        others. Unlike leaving it out, that lets all signs count.

        Parameters
        ----------
        differences
            Those of this estimate with any signs, shape (..., views, pairs).
        spread
            As the estimate was made with.

        Returns
        -------
        array
            Shape (..., views).
        """
        assert self.differences is not None
        most = np.quantile(np.abs(self.differences), _CLIPPED_AT, axis=-1)[:, None]
        clipped = np.clip(differences, -most, most)
        pairs = clipped.shape[-1]
        means = clipped.mean(axis=-1)
        # Sizes are the same whatever the signs, so that the mean of squares is.
        squares = np.square(np.minimum(np.abs(self.differences), most)).mean(axis=-1)
        own = np.maximum((squares - np.square(means)) * pairs / (pairs - 1) / 2, spread.trial**2)
        variances = (self.lent_df * self.lent_variance + (pairs - 1) * own) / (self.lent_df + pairs - 1)
        statistics: Array = means / np.sqrt(2 * variances / pairs)
        return statistics


@dataclass(frozen=True, slots=True)
class _Sides:
    """The values of a strategy's trials, before they are set against the others'."""

    parts: tuple[Trimmed, ...]
    scale: float
    shift: Array
    differences: Array | None

    @property
    def count(self) -> float:
        """By which a variance of single trials becomes that of the shift."""
        return self.scale * sum(1 / part.left for part in self.parts)

    @property
    def df(self) -> int:
        return sum(part.df for part in self.parts)

    def variances(self, spread: Spread) -> Array:
        """Of single trials by view; only where there are degrees of freedom."""
        squares = np.sum([part.squares for part in self.parts], axis=0)
        found: Array = np.maximum(squares / (self.df * self.scale), spread.trial**2)
        return found


def estimate_changes(
    latencies_s: Mapping[str, tuple[Array, Array]], spread: Spread, *, paired: bool, lending: Sequence[Array] = ()
) -> dict[str, Estimate]:
    """The change of every strategy.

    Parameters
    ----------
    latencies_s
        By strategy, latencies before and after, each of shape (trials, inputs, passes).
    spread
        How much latency varies without any change.
    paired
        Whether the trials of both sides were made one right after the other.
    lending
        Latencies of strategies with one side only, each of shape (trials, inputs, passes).

    Raises
    ------
    ValueError
        The sides have different inputs, no trials, or latencies that are not positive numbers.
    """
    values = {name: _trial_values(name, *sides) for name, sides in latencies_s.items()}
    sides = {name: _sides(*both, paired=paired) for name, both in values.items()}
    lenders = [_sides(trial_values(one)) for one in lending if len(one) > 1]
    variances, dfs, lent = _moderated(list(sides.values()), lenders, spread)
    found = {}
    for number, (name, side) in enumerate(sides.items()):
        before, after = latencies_s[name]
        trial_variance = variances[number] * side.count
        found[name] = Estimate(
            views=views_of(before.shape[1]),
            shift=side.shift,
            se=np.sqrt(trial_variance + 2 * spread.session**2),
            df=dfs[number],
            trial_se=np.sqrt(trial_variance),
            sd=np.sqrt(variances[number]),
            delta=_deltas(before, after, *values[name]),
            median_shift=_median_shift(before, after),
            mean_shift=_mean_shift(before, after),
            trials=(len(before), len(after)),
            differences=side.differences,
            lent_variance=lent[number][0],
            lent_df=lent[number][1],
        )
    return found


def _trial_values(name: str, before: Array, after: Array) -> tuple[Array, Array]:
    for side in (before, after):
        if side.ndim != 3 or not side.size or not (np.isfinite(side) & (side > 0)).all():
            raise ValueError(f"{name}: latencies are positive numbers, for trials, inputs and passes")
    if before.shape[1:] != after.shape[1:]:
        was, now = (f"{side.shape[1]} inputs, each sent {side.shape[2]} times," for side in (before, after))
        raise ValueError(f"{name}: {was} before and {now} after")
    values = trial_values(np.vstack([before, after]))
    return values[: len(before)], values[len(before) :]


def _sides(before: Array, after: Array | None = None, *, paired: bool = False) -> _Sides:
    if after is None:
        part = trimmed(before.T)
        return _Sides((part,), 1.0, part.means, None)
    if paired and len(before) == len(after):
        differences = (after - before).T
        # In an order of their own, so that draws do not depend on that of the replicates.
        differences = differences[:, np.argsort(np.abs(differences[0]), kind="stable")]
        part = trimmed(differences)
        return _Sides((part,), 2.0, part.means, differences)
    parts = trimmed(before.T), trimmed(after.T)
    return _Sides(parts, 1.0, parts[1].means - parts[0].means, None)


def _moderated(
    sides: Sequence[_Sides], lenders: Sequence[_Sides], spread: Spread
) -> tuple[list[Array], list[Array], list[tuple[Array, Array]]]:
    """Variances of single trials and their degrees of freedom, by strategy and view, and what is lent to each.

    Views lend to the same view of other strategies, inputs to all inputs.
    """
    from pytest_edgeai.stats.shrinkage import shrink_variances

    shared = len(views_of(1)) - 1  # views before those of single inputs
    every = [*sides, *lenders]
    own = [side.variances(spread) if side.df else None for side in every]
    variances = [np.full_like(side.shift, np.nan) for side in sides]
    dfs = [np.full_like(side.shift, np.nan) for side in sides]
    lent = [(np.zeros_like(side.shift), np.zeros_like(side.shift)) for side in sides]
    for group in (*(slice(view, view + 1) for view in range(shared)), slice(shared, None)):
        members = [
            (number, one[group], side.df)
            for number, (side, one) in enumerate(zip(every, own, strict=True))
            if one is not None
        ]
        if not members:
            continue
        sizes = [len(one) for _, one, _ in members]
        shrunk = shrink_variances(
            np.concatenate([one for _, one, _ in members]), np.repeat([df for *_, df in members], sizes)
        )
        ends = np.cumsum(sizes)[:-1]
        for (number, *_), variance, df in zip(
            members, np.split(shrunk.variances, ends), np.split(shrunk.df, ends), strict=True
        ):
            if number < len(sides):
                variances[number][group], dfs[number][group] = variance, df
                lent[number][0][group], lent[number][1][group] = shrunk.common, shrunk.prior_df
    return variances, dfs, lent


def _deltas(before: Array, after: Array, values_before: Array, values_after: Array) -> Array:
    from pytest_edgeai.stats import cliffs_delta

    within = float(
        np.mean([cliffs_delta(after[:, one].ravel(), before[:, one].ravel()) for one in range(before.shape[1])])
    )
    between = [cliffs_delta(values_after[:, view], values_before[:, view]) for view in range(1, values_after.shape[1])]
    return np.array([within, *between])


def _mean_shift(before: Array, after: Array) -> float:
    typical = np.median(np.vstack([before, after]), axis=(0, 2), keepdims=True)
    means = [np.sort((side / typical).mean(axis=(1, 2))) for side in (before, after)]
    was, now = (side[:-1] if len(side) > 1 else side for side in means)
    return float(np.log(now.mean() / was.mean()))


def _median_shift(before: Array, after: Array) -> float:
    residuals = residuals_of(np.vstack([before, after]))
    return float(np.median(residuals[len(before) :]) - np.median(residuals[: len(before)]))
