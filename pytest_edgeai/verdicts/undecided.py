"""Which strategies need more trials until the gate can decide, and at which level it may look before it has them all.

Whoever looks more than once, and stops as soon as something is significant, raises more false alarms than the level
says. Each look has its own part of the level, half of what is left, so that together they never exceed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_edgeai.verdicts.regression import LatencyChange, Rule


def rule_of_look(rule: Rule, look: int, *, last: bool) -> Rule:
    """The rule for one look at the trials that there are.

    Parameters
    ----------
    rule
        Of the session as a whole.
    look
        Its number, from 0.
    last
        Whether no more trials can be made: then all that is left of the level is spent.
    """
    return replace(rule, alpha=rule.alpha / 2 ** (look if last else look + 1))


def more_trials(changes: Mapping[str, LatencyChange], most: int) -> dict[str, int]:
    """How many more trials a side the undecided strategies are to get.

    Parameters
    ----------
    changes
        What a look found, by strategy.
    most
        The largest number of trials a side.

    Returns
    -------
    dict
        Only of strategies that get any: as many as they need by the spread of their trials, no more than they have
        (the spread is not known that well), and no more than there may be. Where nothing looks slower, and even the
        most would not show whether it is, they are spared.
    """
    wanted = {}
    for name, change in changes.items():
        if change.outcome != "inconclusive" or change.trials_needed is None:
            continue
        if change.trials_needed > most and not change.slower:
            continue
        have = min(change.trials)
        more = min(change.trials_needed, 2 * have, most) - have
        if more > 0:
            wanted[name] = more
    return wanted
