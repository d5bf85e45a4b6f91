"""Which of several nodes requests waited for: the rows of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pytest_edgeai.measure.records import TrialRecord

HEADINGS = ("strategy", "requests", "slowest of its nodes, by share of requests")


def slowest_rows(records: Iterable[TrialRecord]) -> list[tuple[str, ...]]:
    """A row for each strategy on several nodes.

    Parameters
    ----------
    records
        The trials; those that are invalid have no requests.
    """
    slowest: dict[str, Counter[str]] = {}
    for record in records:
        named = [one.slowest for one in record.measurements if one.slowest]
        if named:
            slowest.setdefault(record.trial.strategy.id, Counter()).update(named)
    return [
        (
            f"`{name}`",
            str(counts.total()),
            ", ".join(f"{node} {number / counts.total():.0%}" for node, number in counts.most_common()),
        )
        for name, counts in slowest.items()
    ]
