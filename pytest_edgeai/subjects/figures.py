"""Figures of metrics with their units, as people read them: values, differences, limits and intervals."""

from __future__ import annotations

from pytest_edgeai.subjects.metrics import PERCENT


def amount(value: float, unit: str, *, digits: int = 1) -> str:
    """A value of a metric, for example `95.8 %` or `0.0412 EUR`.

    Parameters
    ----------
    value
        The number.
    unit
        `%`, any other, or empty.
    digits
        Behind the point of percentages; other numbers have four that count.
    """
    return _with_unit(f"{value:.{digits}f}" if unit == PERCENT else f"{value:.4g}", unit)


def amount_limit(limit: float, unit: str) -> str:
    """A limit of a value, with the digits that it was given with."""
    return _with_unit(f"{limit:g}", unit)


def amount_interval(low: float, high: float, unit: str) -> str:
    """An interval of a value, for example `94.10 to 97.20 %`."""
    return _with_unit(f"{_number(low, unit)} to {_number(high, unit)}", unit)


def points(difference: float, unit: str) -> str:
    """A difference of two values of a metric: percentages differ by percentage points."""
    return _with_unit(_number(difference, unit), _unit_of_differences(unit))


def signed_points(difference: float, unit: str) -> str:
    """A difference of two values of a metric, always with its sign."""
    return _with_unit(_signed(difference, unit), _unit_of_differences(unit))


def points_limit(limit: float, unit: str) -> str:
    """A limit of a difference, with as few digits as it has."""
    return _with_unit(f"{limit:g}" if unit == PERCENT else f"{limit:.4g}", _unit_of_differences(unit))


def points_interval(low: float, high: float, unit: str) -> str:
    """An interval of a difference, for example `-0.10 to 1.30 pp`."""
    return _with_unit(f"{_number(low, unit)} to {_number(high, unit)}", _unit_of_differences(unit))


def signed_ends(low: float, high: float, unit: str) -> str:
    """An interval of a difference beside the difference itself: the ends with their signs, without the unit."""
    return f"{_signed(low, unit)} to {_signed(high, unit)}"


def _number(value: float, unit: str) -> str:
    return f"{value:.2f}" if unit == PERCENT else f"{value:.4g}"


def _signed(difference: float, unit: str) -> str:
    text = _number(difference, unit)
    return text if text.startswith("-") else f"+{text}"


def _unit_of_differences(unit: str) -> str:
    return "pp" if unit == PERCENT else unit


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}".rstrip()
