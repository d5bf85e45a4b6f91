"""At how many trials a tail budget is looked at: fixed before the first request, so that looking again proves no less.

Whoever looks several times, and stops as soon as a budget passes, passes more of them falsely than one look does. Each
look therefore has an equal part of the risk (Bonferroni), and numbers of trials at which nothing could pass anyway are
no looks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_edgeai.stats.exceedance import requests_needed

RISK: Final = 0.01
"""Of a false pass, and of a false failure, over all looks."""
LEAST_TRIALS: Final = 3
"""Trials that show how much the requests of a trial have in common."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The looks at the tail budgets of a strategy.

    Parameters
    ----------
    trials
        How many trials there are at each, in ascending order; empty where there is one look, at whatever there is.
    limit
        The most requests that may be measured, or None where only what is planned is.
    """

    trials: tuple[int, ...] = ()
    limit: int | None = None

    @property
    def confidence(self) -> float:
        """Of the bounds at each look, each bound by itself."""
        return 1 - RISK / max(1, len(self.trials))

    def after(self, made: int) -> int | None:
        """At how many trials the next look is, or None where that was the last one."""
        return next((one for one in self.trials if one > made), None)


def plan_looks(planned: int, requests: int, percentiles: Sequence[int], limit: int) -> Looks:
    """The looks at the tail budgets of a strategy.

    Parameters
    ----------
    planned
        Trials that are made in any case.
    requests
        Of a trial.
    percentiles
        What is limited, for example 99.
    limit
        The most requests that may be measured; where more are planned, those.

    Returns
    -------
    Looks
        At the planned trials, at the first number with which one of the budgets can pass, at twice as many from look to
        look, and at the most that there may be.

    Notes
    -----
    A first number with which nothing can pass depends on the confidence, and that on how many looks there are: the
    fewest looks are taken for which both hold.
    """
    most = max(planned, limit // requests)
    for looks in itertools.count(1):
        needed = min(requests_needed(1 - rank / 100, 1 - RISK / looks, exceeding=0) for rank in percentiles)
        trials = _stages(planned, max(LEAST_TRIALS, math.ceil(needed / requests)), most)
        if len(trials) <= looks:
            return Looks(trials, limit)
    raise AssertionError("more looks need more requests for the first, so that there are fewer of them")


def _stages(planned: int, least: int, most: int) -> tuple[int, ...]:
    if least > most:
        return (planned,)
    found, following = [planned], max(least, planned + 1) if least > planned else 2 * planned
    while found[-1] < most:
        # A last step of less than half as many again would cost a look and hardly show more.
        found.append(most if following * 1.5 > most else following)
        following = 2 * found[-1]
    return tuple(found)
