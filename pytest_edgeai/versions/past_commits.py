"""The commits between two revisions, one after the other, and the log of a bisection over them as git writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pytest_edgeai.errors import VersionError
from pytest_edgeai.measured import Commit
from pytest_edgeai.versions.bisection import Mark
from pytest_edgeai.versions.checkouts import git

_FORMAT = "%H%x00%an <%ae>%x00%aI%x00%s"


@dataclass(frozen=True, slots=True)
class PastCommit:
    """A commit of a history.

    Parameters
    ----------
    digest, author, date, subject
        As git has them; the date is that of the author, in ISO 8601.
    """

    digest: str
    author: str
    date: str
    subject: str

    @property
    def label(self) -> str:
        """What to call it on a line."""
        return f"{self.digest[:10]} {self.subject}"

    def as_json(self) -> dict[str, str]:
        """A JSON object."""
        return asdict(self)


def commits_between(good: Commit, bad: Commit) -> tuple[PastCommit, ...]:
    """The commits after a good one up to a bad one, the earliest first; of a merge, its first parents.

    Raises
    ------
    VersionError
        The good one is not before the bad one.
    """
    if good.digest == bad.digest:
        raise VersionError(f"{good.label} and {bad.label} are one commit: there is nothing between them")
    if git(good.repository, "merge-base", "--all", good.digest, bad.digest).split() != [good.digest]:
        raise VersionError(f"{good.label} is not an ancestor of {bad.label}: give the good commit first, then the bad")
    span = f"{good.digest}..{bad.digest}"
    lines = git(good.repository, "log", "--first-parent", "--reverse", f"--format={_FORMAT}", span).split("\n")
    return tuple(PastCommit(*line.split("\0", 3)) for line in lines)


def bisection_log(good: Commit, commits: Sequence[PastCommit], marks: Mapping[int, Mark], guilty: int | None) -> str:
    """The log that `git bisect replay` takes.

    Parameters
    ----------
    good
        The commit before the first.
    commits
        Those after it; the first has the number 1.
    marks
        What is known of them, by number, in the order in which it was found out.
    guilty
        The number of the first one that is worse, if it is known.
    """
    lines = [f"git bisect start '--first-parent' '{commits[-1].digest}' '{good.digest}'"]
    for number, mark in marks.items():
        commit, word = commits[number - 1], mark if mark in ("good", "bad") else "skip"
        lines += [f"# {word}: [{commit.digest}] {commit.subject}", f"git bisect {word} {commit.digest}"]
    if guilty is not None:
        lines.append(f"# first bad commit: [{commits[guilty - 1].digest}] {commits[guilty - 1].subject}")
    return "\n".join(lines) + "\n"
