"""What `edgeai doctor` reports: one finding for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["fine", "limited", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    what
        What it is, in a word or two.
    level
        `limited` works less well or less; `broken` does not work.
    sentence
        What was found.
    figures
        What was measured, with the unit in each name.
    """

    what: str
    level: Level
    sentence: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """A JSON object with the fields of this class."""
        return asdict(self)
