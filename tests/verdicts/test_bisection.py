"""The search for the first commit that is worse, against a look at every commit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.versions.bisection import MOST_EFFORT, Mark, bounds, find_first_worse, most_steps, next_commit


def first_worse(worse: list[bool]) -> int:
    """The slow reference: the number of the first commit that is worse, by a look at each of them."""
    for number, is_worse in enumerate(worse, start=1):
        if is_worse:
            return number
    raise AssertionError("none is worse")


def mark(worse: list[bool], number: int, base: int) -> Mark:
    """The right answer; the good commit, before the first one, is not worse than itself."""
    before = base > 0 and worse[base - 1]
    return "bad" if worse[number - 1] and not before else "good"


@st.composite
def histories(draw: st.DrawFn) -> list[bool]:
    """Commits of which all are worse from one on."""
    good, bad = draw(st.integers(0, 40)), draw(st.integers(1, 40))
    return [False] * good + [True] * bad


@given(histories())
def test_right_answers_find_the_commit_in_as_many_steps_as_were_said(worse: list[bool]) -> None:
    asked = []

    def judge(number: int, base: int, effort: int) -> Mark:
        asked.append((number, base, effort))
        return mark(worse, number, base)

    found = find_first_worse(len(worse), judge)
    assert (found.outcome, found.suspects, found.confirmed) == ("found", (first_worse(worse),), True)
    assert len(asked) <= most_steps(len(worse))
    assert all(effort == 0 for _, _, effort in asked[:-1])
    assert asked[-1][2] == (1 if asked[-1][1] == 0 else 0), "what was asked before is asked with more effort"


@given(histories(), st.data(), st.integers(0, MOST_EFFORT - 1))
def test_commits_that_are_broken_are_stepped_over(worse: list[bool], data: st.DataObject, wrong_answers: int) -> None:
    """Also where some first answers about others are wrong, beside broken commits or not."""
    last = len(worse)
    broken = data.draw(st.sets(st.integers(1, max(1, last - 1)), max_size=last - 1)) - {last}
    others = sorted(set(range(1, last)) - broken)
    wrong = data.draw(st.sets(st.sampled_from(others), max_size=wrong_answers)) if others else set()

    def judge(number: int, base: int, effort: int) -> Mark:
        if number in broken:
            return "broken"
        truth = mark(worse, number, base)
        return truth if effort or base or number not in wrong else "good" if truth == "bad" else "bad"

    found = find_first_worse(last, judge)
    guilty = first_worse(worse)
    # What can be known: it is after the last good commit that is not broken, and no later than the first bad such one.
    low = max((n for n in range(1, guilty) if n not in broken), default=0)
    high = min(n for n in range(guilty, last + 1) if n not in broken)
    assert found.suspects == tuple(range(low + 1, high + 1))
    assert (found.outcome, found.confirmed) == ("found" if high - low == 1 else "skipped", True)


@given(histories(), st.data())
def test_a_few_wrong_answers_do_not_lead_to_a_wrong_commit(worse: list[bool], data: st.DataObject) -> None:
    """Answers may be wrong or undecided, as often as they can be asked again with more effort."""
    last = len(worse)
    wrong = (
        data.draw(st.dictionaries(st.integers(1, last - 1), st.booleans(), max_size=MOST_EFFORT - 1))
        if last > 1
        else {}
    )

    def judge(number: int, base: int, effort: int) -> Mark:
        truth = mark(worse, number, base)
        if effort or base or number not in wrong:
            return truth
        return "undecided" if wrong[number] else "good" if truth == "bad" else "bad"

    found = find_first_worse(last, judge)
    assert (found.outcome, found.suspects, found.confirmed) == ("found", (first_worse(worse),), True)


def test_a_history_in_which_nothing_got_worse_is_told_from_one_that_nobody_can_judge() -> None:
    assert find_first_worse(9, lambda *_: "good").outcome == "not worse"
    assert find_first_worse(9, lambda *_: "undecided").outcome == "undecided"
    assert find_first_worse(9, lambda *_: "broken").outcome == "undecided"


def test_a_commit_that_is_not_worse_than_the_one_before_it_is_not_confirmed() -> None:
    """Each of many commits is a little slower, and one of them is the first beyond the limit."""
    found = find_first_worse(8, lambda number, base, _: "bad" if number - base >= 4 else "good")
    assert (found.outcome, found.suspects, found.confirmed) == ("found", (4,), False)


def test_answers_that_contradict_each_other_leave_the_earliest_step() -> None:
    assert bounds(9, {9: "bad", 3: "good", 5: "bad", 7: "good"}) == (3, 5)
    assert next_commit(9, {9: "bad", 3: "good", 5: "bad", 7: "good"}) == 4
    assert next_commit(5, {5: "bad", 3: "good", 4: "broken"}) is None
