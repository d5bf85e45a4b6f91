"""Sessions apart: what of a shift the machine explains, and how sure the rest is by the spread between sessions.

The session is the unit: its trials share a state of the machine, so that more of them say little about the next one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError
from pytest_edgeai.stats.shrinkage import shrink_variances

FEWEST_SESSIONS = 3
"""Earlier sessions of a series that tell anything about its spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Shifts:
    """The last session against the earlier ones, each array of shape (series,); NaN where a series tells nothing.

    Parameters
    ----------
    shift
        Difference of the logarithm, less what the controls explain of it.
    raw
        The same with that.
    sd
        Between sessions, as far as the controls do not explain it; drawn towards what the series have in common.
    se, df
        Standard error and degrees of freedom of the shift.
    sessions
        How many earlier ones a series has.
    share
        By how much a series moves where its controls move by 1, learned from the earlier sessions of all series.
    """

    shift: FloatArray
    raw: FloatArray
    sd: FloatArray
    se: FloatArray
    df: FloatArray
    sessions: npt.NDArray[np.int64]
    share: float

    def p_slower(self) -> FloatArray:
        """One-sided p-values of a larger value than before; 1 where a series tells nothing."""
        return _tail(self.df, -self.shift / self.se)

    def p_faster(self) -> FloatArray:
        """The same of a smaller value."""
        return _tail(self.df, self.shift / self.se)


def _tail(df: FloatArray, t: FloatArray) -> FloatArray:
    from scipy.special import stdtr

    return np.nan_to_num(np.asarray(stdtr(df, t), dtype=np.float64), nan=1.0)


def shifts_apart(
    values: npt.ArrayLike,
    controls: npt.ArrayLike,
    *,
    least_sd: float,
    noise: npt.ArrayLike = 1.0,
) -> Shifts:
    """Judge the last of several sessions by the spread between the others: a difference in differences.

    Parameters
    ----------
    values : array_like of shape (sessions, series)
        Logarithms; the last row is the session that is judged. NaN where a session does not have a series.
    controls : array_like of the same shape
        Of each series, the mean of what did not change; NaN where there is none, which explains nothing then.
    least_sd : float
        The spread between sessions is at least this.
    noise : array_like of shape (series,)
        How many times the variance of an earlier session the last one has, because it has fewer trials.

    Returns
    -------
    Shifts
        Of series with fewer than `FEWEST_SESSIONS` earlier sessions nothing is known but the raw shift.

    Raises
    ------
    StatisticsInputError
        The arrays do not fit each other, or there are no earlier sessions.

    Notes
    -----
    A series is its own mean, a share of what its controls move by, and a remainder. The share is least squares over
    the earlier sessions of all series, within 0 and 1: where the controls are noise, or the machine acts on each
    artifact in its own way, subtracting all of them would add to the spread. The variance of the shift is that of a
    prediction by this regression, s² (noise + 1 / n + c² / Σ c²), with s² moderated over the series.

    References
    ----------
    Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3(1), for the moderated variances.
    """
    given, beside = np.asarray(values, dtype=np.float64), np.asarray(controls, dtype=np.float64)
    if given.ndim != 2 or given.shape != beside.shape or len(given) < 2:
        raise StatisticsInputError("values and controls must have one shape: two sessions or more, and series.")
    if least_sd <= 0:
        raise StatisticsInputError("least_sd must be positive.")
    sessions = np.count_nonzero(np.isfinite(given[:-1]), axis=0)
    moved, explained = _centred(given, given), np.nan_to_num(_centred(beside, given))
    share, squares = _share(moved[:-1], explained[:-1])
    rest = moved - share * explained
    known = (sessions >= FEWEST_SESSIONS) & np.isfinite(rest[-1])
    unknown = np.full(given.shape[1], np.nan)
    sd, se, df = unknown.copy(), unknown.copy(), unknown.copy()
    if known.any():
        freedom = sessions[known] - 1
        own = np.nansum(np.square(rest[:-1, known]), axis=0) / freedom
        shrunk = shrink_variances(np.maximum(own, least_sd**2), freedom)
        leverage = np.square(explained[-1, known]) / squares if squares else 0.0
        more = np.broadcast_to(np.asarray(noise, dtype=np.float64), given.shape[1:])[known]
        sd[known], df[known] = np.sqrt(shrunk.variances), shrunk.df
        se[known] = np.sqrt(shrunk.variances * (more + 1 / sessions[known] + leverage))
    return Shifts(rest[-1], moved[-1], sd, se, df, sessions, share)


def _centred(values: FloatArray, present: FloatArray) -> FloatArray:
    """Values less their mean over the earlier sessions that have both; NaN where there are none."""
    used = np.where(np.isfinite(values) & np.isfinite(present), values, np.nan)
    counts = np.count_nonzero(np.isfinite(used[:-1]), axis=0)
    means = np.nansum(used[:-1], axis=0) / np.where(counts, counts, np.nan)
    centred: FloatArray = used - means
    return centred


def _share(moved: FloatArray, explained: FloatArray) -> tuple[float, float]:
    """The share by least squares, and the sum of squares that it rests on."""
    there = np.isfinite(moved)
    squares = float(np.square(explained[there]).sum())
    if squares <= 0:
        return 1.0, 0.0  # controls that never moved have nothing to tell, and correct by nothing but what is new
    return float(np.clip((moved[there] * explained[there]).sum() / squares, 0.0, 1.0)), squares
