"""Which columns of a table fit a width, and names that are shortened to fit: plain text, without colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size

GAP: Final = 2
"""Between two columns."""
_LEAST_NAME: Final = 16
"""What a name is shortened to before a column is left out that would otherwise always be there."""
_SHARES: Final = (0.5, 0.35, 0.65, 0.2, 0.8, 0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Fit:
    """Columns of a table that fit a width.

    Parameters
    ----------
    columns
        Their numbers, in the order of the table; 0, the names, is always among them.
    names
        The cells of column 0, shortened where they have to be.
    """

    columns: tuple[int, ...]
    names: tuple[str, ...]


def fit(
    headings: Sequence[str], rows: Sequence[Sequence[str]], importance: Sequence[str], essential: int, width: int
) -> Fit:
    """Choose columns by importance; names are shortened only where the essential columns do not fit beside them.

    Parameters
    ----------
    headings, rows
        Of the whole table; column 0 is a name.
    importance
        The headings of all columns that may be shown, the most important first.
    essential
        How many of these are shown even if names have to be shortened.
    width
        Of the terminal, in cells.
    """
    widths = [max(map(cell_len, cells)) for cells in zip(headings, *rows, strict=True)]
    order = [headings.index(heading) for heading in importance]
    kept, others = order[:essential], order[essential:]
    least = min(widths[0], max(_LEAST_NAME, cell_len(headings[0])))
    while len(kept) > 2 and _beside(kept, widths) + least > width:
        kept.pop()
        others = []
    if _beside(kept, widths) + widths[0] <= width:
        for number in others:
            if _beside([*kept, number], widths) + widths[0] > width:
                break
            kept.append(number)
    room = max(1, width - _beside(kept, widths))
    return Fit(tuple(sorted(kept)), tuple(shortened([row[0] for row in rows], room)))


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names that are longer than a width without their middle, so that different ones stay different if possible."""
    tried: list[str] = []
    for share in _SHARES:
        tried = [_without_middle(name, width, share) for name in names]
        if len(set(tried)) == len(set(names)):
            return tried
    return [_without_middle(name, width, _SHARES[0]) for name in names]


def _without_middle(name: str, width: int, share: float) -> str:
    """The name in `width` cells, with this share of what is left of it before the gap."""
    if cell_len(name) <= width:
        return name
    front = round((width - 1) * share)
    back = width - 1 - front
    start = set_cell_size(name, front).rstrip(" ")
    end = set_cell_size(name[::-1], back)[::-1].lstrip(" ")
    return f"{start}…{end}"


def _beside(kept: Sequence[int], widths: Sequence[int]) -> int:
    """How wide columns are beside the names."""
    return sum(GAP + widths[number] for number in kept if number != 0)
