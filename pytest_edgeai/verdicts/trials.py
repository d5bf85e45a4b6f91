"""Whether a strategy has the trials to be judged by, and whether the host let the session measure at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pytest_edgeai.measure.attempts import InvalidTrial, void_strategy
from pytest_edgeai.verdicts import Verdict


def judge_trials(invalid: Sequence[InvalidTrial], planned: int, tries: int) -> Verdict:
    """Fail closed: every trial has to be there and valid, or at least three where the host is to blame for the rest.

    Parameters
    ----------
    invalid
        The trials that are not valid, or not there.
    planned
        How many trials there should be.
    tries
        How many attempts were made at them.
    """
    if not void_strategy(invalid, planned - len(invalid)):
        return Verdict("pass")
    first = min(invalid, key=lambda one: one.cause == "host")  # what is the product's fault says more
    after = f" after {tries} tries" if tries > planned else ""
    return Verdict(
        "invalid", f"{len(invalid)} of {planned} trials are invalid{after}, the first because {first.reason}"
    )


def short_of_trials(strategy: str, invalid: Sequence[InvalidTrial], planned: int, tries: int) -> str:
    """A sentence about a strategy that is judged by fewer trials than planned; empty where it is not."""
    if not invalid or void_strategy(invalid, planned - len(invalid)):
        return ""
    return (
        f"{strategy} is judged by its {planned - len(invalid)} valid trials of {planned}: after {tries} tries "
        f"{len(invalid)} {'is' if len(invalid) == 1 else 'are'} still invalid, the last because {invalid[-1].reason}"
    )


def blame_host(short: Sequence[str], strategies: int, reasons: Sequence[str]) -> str:
    """A sentence about a host that cannot be measured on; empty where no more than one strategy suffered.

    Parameters
    ----------
    short
        Strategies whose retries did not suffice, because of the host.
    strategies
        How many there are.
    reasons
        Of all attempts that the host spoiled, in their order.
    """
    if len(short) < 2:
        return ""
    # Reasons are the same where only their figures differ.
    kinds = Counter(_without_figures(reason) for reason in reasons)
    (commonest, count), *_ = kinds.most_common(1)
    example = next(reason for reason in reversed(reasons) if _without_figures(reason) == commonest)
    return (
        f"this host is too busy or too unsteady to measure on: the retries of {len(short)} of {strategies} strategies "
        f"were not enough; the reason of {count} of {len(reasons)} spoiled attempts was like this: {example}"
    )


def _without_figures(reason: str) -> str:
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", reason)
