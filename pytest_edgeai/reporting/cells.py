"""Numbers as the cells of all tables have them; a dash where there is none."""

from __future__ import annotations

import math

from pytest_edgeai.subjects.figures import amount, signed_points

NONE = "–"


def number(value: float | None) -> float:
    """NaN for the null of JSON."""
    return math.nan if value is None else value


def count(value: int | None) -> str:
    """A whole number, for example of parameters."""
    return NONE if value is None else f"{value:,}"


def megabytes(size_bytes: int | None) -> str:
    """The size of files."""
    return NONE if size_bytes is None else f"{size_bytes / 1e6:.2f} MB"


def millions(value: float | None) -> str:
    """Multiply-accumulates."""
    return NONE if value is None else f"{value / 1e6:.1f} M"


def percent(share: float | None) -> str:
    """A share."""
    return NONE if share is None else f"{share:.1%}"


def signed_percent(change: float | None) -> str:
    """A relative change."""
    return NONE if change is None else f"{change:+.1%}"


def metric_value(value: float | None, unit: str) -> str:
    """A value of a metric, with the digits of a difference."""
    return NONE if value is None else amount(value, unit, digits=2)


def metric_change(difference: float | None, unit: str) -> str:
    """A difference of two values of a metric, with its sign."""
    return NONE if difference is None else signed_points(difference, unit)


def trial_counts(valid: int, trials: int, tries: int) -> str:
    """How many of the trials are valid, and how many tries it took where that is more."""
    return f"{valid}/{trials}" + (f", {tries} tries" if tries > trials else "")
