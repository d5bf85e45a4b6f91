"""Quantities as settings files write them, with their unit: "1 Mbit/s", "10 ms", "4 GiB"."""

from __future__ import annotations

import re
from collections.abc import Mapping

_UNITS: Mapping[str, Mapping[str, float]] = {
    "rate": {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9},
    "time": {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    "duration": {"s": 1, "m": 60, "min": 60, "h": 3600},
    "memory": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ/]+)\s*")


def parse_quantity(text: object, dimension: str) -> float:
    """A quantity written with its unit, in the base unit of its dimension.

    Parameters
    ----------
    text
        For example `"200 Mbit/s"`.
    dimension
        `rate` (bit/s), `time` (s), `duration` (s, written in s, m or h) or `memory` (B).

    Raises
    ------
    ValueError
        It is not a number with a known unit.
    """
    units = _UNITS[dimension]
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"expected a number with a unit ({', '.join(units)}), got {text!r}")
    return float(match[1]) * units[match[2]]
