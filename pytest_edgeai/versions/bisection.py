"""The search for the first commit that is worse, by answers that may be noisy. Pure functions.

Commits are numbered from 0, which is known to be good, in the order of their history. A bisection trusts each answer,
and one that is wrong leads it to a wrong commit. Two answers decide what is found in the end: that about the commit,
and that about the last good one before it. So these two are compared with each other, also where commits between them
cannot be judged, and where they do not differ, both are asked about again, with more effort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Mark: TypeAlias = Literal["good", "bad", "undecided", "broken"]
"""What is known of a commit; nobody can tell where it is undecided or broken, and it is skipped."""
Judge: TypeAlias = Callable[[int, int, int], Mark]
"""Says whether a commit is worse than an earlier one, with an effort from 0 on."""

MOST_EFFORT: Final = 3
"""The largest effort that anything is asked with."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Parameters
    ----------
    outcome
        `found`; `not worse`, where the last commit is as good as the first; `undecided`, where nobody can tell that;
        `skipped`, where the commits that cannot be judged keep it from being one.
    suspects
        The numbers of the commits among which is the first one that is worse; one if it is found.
    confirmed
        Whether the commit found, or the last of the suspects, is also worse than the last good one before it.
    marks
        What is known of each commit that was looked at.
    """

    outcome: Literal["found", "not worse", "undecided", "skipped"]
    suspects: tuple[int, ...] = ()
    confirmed: bool = False
    marks: Mapping[int, Mark] | None = None


def bounds(last: int, marks: Mapping[int, Mark]) -> tuple[int, int]:
    """The last commit that is good before the first that is bad, and that one.

    Parameters
    ----------
    last
        The number of the last commit.
    marks
        What is known.
    """
    high = min((number for number, mark in marks.items() if mark == "bad"), default=last)
    low = max((number for number, mark in marks.items() if mark == "good" and number < high), default=0)
    return low, high


def next_commit(last: int, marks: Mapping[int, Mark]) -> int | None:
    """The commit to judge next, or None where no other one says more.

    It is the one in the middle. Where commits there cannot be judged, it is near other places of what is left, one
    after the other (1/4, 3/4, 1/8, …), since those beside a broken commit are often broken by the same.
    """
    low, high = bounds(last, marks)
    left = [number for number in range(low + 1, high) if number not in marks]
    if not left:
        return None
    share = _van_der_corput(high - low - len(left))
    return min(left, key=lambda number: abs(number - (low + share * (high - low))))


def _van_der_corput(number: int) -> float:
    """The sequence 1/2, 1/4, 3/4, 1/8, … from number 1: its binary digits, mirrored at the point."""
    digits = f"{number:b}"[::-1]
    return int(digits, 2) / (1 << len(digits))


def find_first_worse(last: int, judge: Judge) -> Found:
    """Find the first commit that is worse than the good one.

    Parameters
    ----------
    last
        The number of the last commit, which is expected to be worse.
    judge
        Is asked about commits.
    """
    marks: dict[int, Mark] = {last: _asked(judge, last, 0, 0)}
    effort = 0
    while "bad" in marks.values():
        while (number := next_commit(last, marks)) is not None:
            marks[number] = _asked(judge, number, 0, effort)
        low, high = bounds(last, marks)
        outcome: Literal["found", "skipped"] = "found" if high - low == 1 else "skipped"
        suspects = tuple(range(low + 1, high + 1))
        # Against the good commit it was asked about before: only more effort can give another answer.
        if _asked(judge, high, low, effort if low else min(effort + 1, MOST_EFFORT)) == "bad":
            return Found(outcome, suspects, confirmed=True, marks=marks)
        effort += 1
        if effort > MOST_EFFORT:
            return Found(outcome, suspects, marks=marks)
        for number in (high, low):
            if number:
                marks[number] = _asked(judge, number, 0, effort)
    return Found("undecided" if marks[last] in ("undecided", "broken") else "not worse", marks=marks)


def _asked(judge: Judge, number: int, base: int, effort: int) -> Mark:
    """What is said of a commit, with as much more effort as it takes to decide."""
    mark: Mark = "undecided"
    for more in range(effort, MOST_EFFORT + 1):
        mark = judge(number, base, more)
        if mark != "undecided":
            break
    return mark


def most_steps(last: int) -> int:
    """How many comparisons it takes where every answer is right and none is missing.

    They are of the last commit, of the halves of what is before it, and of the commit found with the one before.

    Parameters
    ----------
    last
        The number of the last commit.
    """
    return (last - 1).bit_length() + 2
