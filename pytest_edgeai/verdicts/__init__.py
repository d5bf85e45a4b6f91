"""Verdicts: what the measurements mean for a commit. Pure functions on values; nothing is measured or printed here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Outcome: TypeAlias = Literal[
    "pass",
    "improvement",
    "new",
    "no benefit",
    "inconclusive",
    "fail",
    "regression",
    "missing",
    "incomparable",
    "invalid",
]
"""Every outcome there is, of budgets and of comparisons, from the best to the gravest."""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
_GREEN: Final[frozenset[Outcome]] = frozenset(("pass", "improvement", "new", "no benefit"))


def is_green(outcome: Outcome) -> bool:
    """Whether an outcome is green: the only definition of it."""
    return outcome in _GREEN


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reason.

    Parameters
    ----------
    outcome
        What it is; `is_green` says which are green.
    reason
        A sentence; empty when there is nothing to say.
    tolerated
        Whether it does not fail the session although it is not green, as the settings have it.
    """

    outcome: Outcome
    reason: str = ""
    tolerated: bool = False

    @property
    def green(self) -> bool:
        """Whether it is green."""
        return is_green(self.outcome)

    @property
    def fails(self) -> bool:
        """Whether the session ends with exit code 1 for it."""
        return not self.green and not self.tolerated


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest verdict, with the reasons of all that are as grave; pass where there are none.

    A measurement that is not valid is graver than a broken budget: it says nothing about the budget.
    """
    given = list(verdicts)
    if not given:
        return Verdict("pass")
    outcome = max((verdict.outcome for verdict in given), key=OUTCOMES.index)
    alike = [verdict for verdict in given if verdict.outcome == outcome]
    reasons = dict.fromkeys(verdict.reason for verdict in alike if verdict.reason)
    return Verdict(outcome, "; ".join(reasons), all(verdict.tolerated for verdict in alike))
