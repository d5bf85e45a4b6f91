"""Names of operators that take cuts of a graph by their numbers: `partition.3`, or `partition.3+7` for three parts.

Pure functions on names, which settings, the matrix and the statistics share.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

_NUMBERED = re.compile(r"(?P<family>.+)\.(?P<numbers>\d+(\+\d+)*)")


def numbered(family: str, numbers: Sequence[int]) -> str:
    """The name of the operator that takes cuts of these numbers."""
    return f"{family}.{'+'.join(map(str, numbers))}"


def numbers_of(name: str) -> tuple[int, ...]:
    """The numbers in a name; none where it has no such ending."""
    match = _NUMBERED.fullmatch(name)
    return () if match is None else tuple(map(int, match["numbers"].split("+")))


def family_of(name: str) -> str:
    """The name without its numbers, such as `partition`; itself where it has none."""
    match = _NUMBERED.fullmatch(name)
    return name if match is None else match["family"]


def abbreviated(names: Iterable[str]) -> list[str]:
    """Names for people: neighbours of one family are told by the first, the last and how many they are."""
    told = []
    for (family, _), group in itertools.groupby(names, key=lambda name: (family_of(name), bool(numbers_of(name)))):
        members = list(group)
        few = len(members) < 4 or family == members[0]
        told += members if few else [f"{members[0]} … {members[-1]} ({len(members)})"]
    return told
