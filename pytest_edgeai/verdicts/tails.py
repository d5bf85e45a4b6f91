"""Tail budgets: whether a percentile of a strategy's latency is within a limit, and how many requests would show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_edgeai.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_edgeai.arrays import Array

CONFIDENCE: Final = 0.99
_LEAST_TRIALS: Final = 3


def judge_tail(trials_s: Sequence[Array], percentile: int, limit_s: float, error_s: float = 0.0) -> Verdict:
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

    Returns
    -------
    Verdict
        Pass where fewer requests than the percentile allows take longer, beyond doubt; fail where more do; else
        inconclusive, with how many requests are missing.

    Notes
    -----
    The p-th percentile is within the limit if and only if at most 1 - p of all requests take longer; see
    `stats.exceedance` for the bounds. A pass is false in at most 1 % of sessions, requests that depend on each other
    included.
    """
    from pytest_edgeai.stats import exceedance, requests_needed

    share = 1 - percentile / 100
    limit = f"{limit_s * 1e3:g} ms"
    name = f"the {percentile}th percentile"
    if len(trials_s) < _LEAST_TRIALS:
        return Verdict(
            "inconclusive",
            f"{len(trials_s)} trials cannot show that {name} is within {limit}: it takes {_LEAST_TRIALS} at least, "
            "which show how much requests of a trial have in common",
        )
    strict = exceedance(trials_s, limit_s - error_s, CONFIDENCE)
    if strict.high <= share:
        return Verdict("pass")
    lenient = exceedance(trials_s, limit_s + error_s, CONFIDENCE)
    found = f"{strict.exceeding} of {strict.n} requests take longer than {limit}"
    if lenient.low > share:
        found = f"{lenient.exceeding} of {lenient.n} requests take longer"
        return Verdict("fail", f"{name} is above {limit}: {found}, {lenient.low:.1%} of all at least")
    observed = strict.exceeding / strict.n
    if observed >= share:
        return Verdict("inconclusive", f"{name} is near {limit}: {found}, which leaves it open on which side it is")
    needed = requests_needed(share, CONFIDENCE, exceeding=strict.exceeding / strict.effect)
    more = max(1, math.ceil(needed * strict.effect) - strict.n)
    each = strict.n / len(trials_s)
    like = f", as {strict.effect:.1f} of these tell as much as an independent one" if strict.effect > 1 else ""
    return Verdict(
        "inconclusive",
        f"{strict.n} requests cannot show that {name} is within {limit}: about {more} more can, that is "
        f"{math.ceil(more / each)} trials like these{like} ({found})",
    )
