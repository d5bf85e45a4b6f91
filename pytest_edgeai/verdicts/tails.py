"""Tail budgets: whether a percentile of a strategy's latency is within a limit, and how many requests would show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_edgeai.stats.looks import LEAST_TRIALS, Looks
from pytest_edgeai.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_edgeai.arrays import Array

_ONE_LOOK: Final = Looks()


def judge_tail(
    trials_s: Sequence[Array], percentile: int, limit_s: float, error_s: float = 0.0, looks: Looks = _ONE_LOOK
) -> Verdict:
    """Judge a budget of a percentile by the share of requests that take longer.

    Parameters
    ----------
    trials_s
        Latencies by valid trial, shape [requests] each.
    percentile
        95 for `max_p95_s`.
    limit_s
        The budget.
    error_s
        By how many seconds a request may be off either way, because links were.
    looks
        How often it is judged while trials are added.

    Returns
    -------
    Verdict
        Pass where fewer requests than the percentile allows take longer, beyond doubt; fail where more do; else
        inconclusive, with how many requests are missing.

    Notes
    -----
    The p-th percentile is within the limit if and only if at most 1 - p of all requests take longer; see
    `stats.exceedance` for the bounds. A pass is false in at most 1 % of sessions, requests that depend on each other
    and all looks included.
    """
    from pytest_edgeai.stats import exceedance, requests_needed

    share = 1 - percentile / 100
    limit = f"{limit_s * 1e3:g} ms"
    name = f"the {percentile}th percentile"
    if len(trials_s) < LEAST_TRIALS:
        return Verdict(
            "inconclusive",
            f"{len(trials_s)} trials cannot show that {name} is within {limit}: it takes {LEAST_TRIALS} at least, "
            "which show how much requests of a trial have in common",
        )
    strict = exceedance(trials_s, limit_s - error_s, looks.confidence)
    if strict.high <= share:
        return Verdict("pass")
    lenient = exceedance(trials_s, limit_s + error_s, looks.confidence) if error_s else strict
    found = f"{strict.exceeding} of {strict.n} requests take longer than {limit}"
    if lenient.low > share:
        found = f"{lenient.exceeding} of {lenient.n} requests take longer"
        return Verdict("fail", f"{name} is above {limit}: {found}, {lenient.low:.1%} of all at least")
    observed = strict.exceeding / strict.n
    if observed >= share:
        return Verdict("inconclusive", f"{name} is near {limit}: {found}, which leaves it open on which side it is")
    needed = requests_needed(share, looks.confidence, exceeding=strict.exceeding / strict.effect)
    more = max(1, math.ceil(needed * strict.effect) - strict.n)
    each = strict.n / len(trials_s)
    most = "" if looks.limit is None else f"; budgets.max_tail_requests is {looks.limit}"
    like = f", as {strict.effect:.1f} of these tell as much as an independent one" if strict.effect > 1 else ""
    return Verdict(
        "inconclusive",
        f"{strict.n} requests cannot show that {name} is within {limit}: about {more} more can, that is "
        f"{math.ceil(more / each)} trials like these{like} ({found}){most}",
    )


def tail_interval(
    trials_s: Sequence[Array], percentile: int, error_s: float = 0.0, looks: Looks = _ONE_LOOK
) -> tuple[float, float]:
    """Between which limits a budget of the percentile would be inconclusive.

    Parameters
    ----------
    trials_s, percentile, error_s, looks
        As for `judge_tail`.

    Returns
    -------
    low, high
        Of the latencies that were measured; infinite where they cannot show it.
    """
    from pytest_edgeai.stats import exceedance

    share = 1 - percentile / 100
    if len(trials_s) < LEAST_TRIALS:
        return -math.inf, math.inf
    ordered = np.unique(np.concatenate(trials_s))

    def first(holds: Callable[[float], bool]) -> int:
        """The place of the first latency for which something holds, which then holds for all larger ones."""
        low, high = 0, len(ordered)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(float(ordered[middle])) else (middle + 1, high)
        return low

    above = first(lambda limit: exceedance(trials_s, limit, looks.confidence).high <= share)
    below = first(lambda limit: exceedance(trials_s, limit, looks.confidence).low <= share) - 1
    return (
        float(ordered[below]) - error_s if below >= 0 else -math.inf,
        float(ordered[above]) + error_s if above < len(ordered) else math.inf,
    )
