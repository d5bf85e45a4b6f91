"""Verdicts: what the measurements mean for a commit. Pure functions on values; nothing is measured or printed here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["pass", "no benefit", "inconclusive", "fail", "invalid"]
GREEN: tuple[Outcome, ...] = ("pass", "no benefit")
_FROM_BEST: tuple[Outcome, ...] = (*GREEN, "inconclusive", "fail", "invalid")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reason.

    Parameters
    ----------
    outcome
        Only those of `GREEN` are green.
    reason
        A sentence; empty when there is nothing to say.
    """

    outcome: Outcome
    reason: str = ""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest verdict, with the reasons of all that are as grave; pass where there are none.

    A measurement that is not valid is graver than a broken budget: it says nothing about the budget.
    """
    given = list(verdicts)
    if not given:
        return Verdict("pass")
    outcome = max((verdict.outcome for verdict in given), key=_FROM_BEST.index)
    reasons = dict.fromkeys(verdict.reason for verdict in given if verdict.outcome == outcome and verdict.reason)
    return Verdict(outcome, "; ".join(reasons))
