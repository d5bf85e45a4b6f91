"""Which of several nodes requests waited for: the rows of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

HEADINGS = ("strategy", "requests", "slowest of its nodes, by share of requests")


def slowest_rows(trials: Iterable[tuple[str, Iterable[str]]]) -> list[tuple[str, ...]]:
    """A row for each strategy on several nodes.

    Parameters
    ----------
    trials
        Of each trial its strategy's id, and of each of its requests the node that was waited for longest; empty where
        there is only one.
    """
    slowest: dict[str, Counter[str]] = {}
    for name, nodes in trials:
        slowest.setdefault(name, Counter()).update(filter(None, nodes))
    return [
        (
            name,
            str(counts.total()),
            ", ".join(f"{node} {number / counts.total():.0%}" for node, number in counts.most_common()),
        )
        for name, counts in slowest.items()
        if counts
    ]
