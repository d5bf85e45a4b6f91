"""P-values of changes in each direction, adjusted for all strategies and views of a session.

In one session the order of the two trials of a replicate is drawn at random, so that the test exchanges them and needs
nothing but that. Sessions apart are no pairs: there the moderated t distribution has to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.stats.exchange import DRAWS, exchanges, stepdown
from pytest_edgeai.verdicts.estimates import Estimate, Spread

_LEAST_P = 1e-300
_AT_ONCE = 200_000  # numbers; what is drawn for many inputs comes in portions


@dataclass(frozen=True, slots=True, eq=False)
class Significance:
    """P-values of one strategy by view, shape (views,).

    Parameters
    ----------
    p
        Of the moderated t-test, two-sided.
    slower, faster
        Adjusted, each for its direction.
    """

    p: Array
    slower: Array
    faster: Array


def significances(estimates: Mapping[str, Estimate], spread: Spread, p_adjust: str) -> dict[str, Significance]:
    """P-values of all strategies that have standard errors.

    Parameters
    ----------
    estimates
        By strategy.
    spread
        As the estimates were made with.
    p_adjust
        How to adjust where trials are no pairs.
    """
    from scipy.special import stdtr

    slower = {name: stdtr(one.df, -one.shift / one.se) for name, one in estimates.items()}
    faster = {name: stdtr(one.df, one.shift / one.se) for name, one in estimates.items()}
    if all(one.differences is not None for one in estimates.values()):
        adjusted = _by_exchange(estimates, spread)
    else:
        adjusted = {
            name: (up, down)
            for name, up, down in zip(
                estimates,
                _by_method(estimates, slower, p_adjust),
                _by_method(estimates, faster, p_adjust),
                strict=True,
            )
        }
    return {name: Significance(2 * np.minimum(slower[name], faster[name]), *adjusted[name]) for name in estimates}


def _by_exchange(estimates: Mapping[str, Estimate], spread: Spread) -> dict[str, tuple[Array, Array]]:
    drawn = {name: _largest_scores(name, one, spread) for name, one in estimates.items()}
    # Draws come with their opposites, so that one distribution serves both directions.
    both = [
        stepdown({name: _signed_scores(one, sign, spread) for name, one in estimates.items()}, drawn)
        for sign in (1.0, -1.0)
    ]
    return {name: (both[0][name], both[1][name]) for name in estimates}


def _by_method(estimates: Mapping[str, Estimate], p_of: Mapping[str, Array], p_adjust: str) -> list[Array]:
    """Views by Bonferroni with their weights, strategies as asked for."""
    from pytest_edgeai.stats import adjust_p

    weighted = [np.minimum(p_of[name] / _weights(one), 1.0) for name, one in estimates.items()]
    smallest = adjust_p([float(p.min()) for p in weighted], p_adjust)
    return [
        np.maximum(least, np.minimum(len(weighted) * p, 1.0)) if p_adjust != "none" else p
        for least, p in zip(smallest, weighted, strict=True)
    ]


def _largest_scores(name: str, one: Estimate, spread: Spread) -> Array:
    """The largest score of any view under each exchange, shape (draws,)."""
    assert one.differences is not None
    signs = exchanges(one.differences.shape[1], name)
    portion = max(1, _AT_ONCE // one.differences.size)
    largest = [
        _signed_scores(one, part[:, None, :], spread).max(axis=1)
        for part in np.array_split(signs, -(-DRAWS // portion))
    ]
    return np.concatenate(largest)


def _signed_scores(one: Estimate, signs: Array | float, spread: Spread) -> Array:
    """How extreme the differences are with these signs, by view: logarithms of p-values with the views' weights.

    All views have the degrees of freedom of the view with the fewest. With their own, those with more would have the
    largest scores of any large change, whatever its signs: exchanges would hide it in the views with fewer.
    """
    from scipy.special import stdtr

    assert one.differences is not None
    p = stdtr(one.df.min(), -one.statistics(one.differences * signs, spread))
    scores: Array = -np.log(np.maximum(p, _LEAST_P) / _weights(one))
    return scores


def _weights(one: Estimate) -> Array:
    return np.array([view.weight for view in one.views])
