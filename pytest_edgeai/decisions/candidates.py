"""Strategies as a choice sees them: latencies of their trials, drop, size and memory, and what rules them out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.decisions.quantiles import Interval

_NOT_MEASURED: Final = ("invalid", "missing", "incomparable")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy that can be chosen, or the reason why it cannot.

    Parameters
    ----------
    id, model, operator, tier
        Which.
    trials
        Latencies of the requests of each valid trial, in seconds.
    link_error_s
        By how much links may have changed them.
    drop
        Of the model's first metric below the baseline, or None where accuracy was not measured.
    drop_unit
        `pp` for percentage points, else the metric's unit.
    size_bytes
        Of the artifact.
    memory_bytes
        The highest peak of any of its tiers in any trial, or None where a tier does not tell it.
    verdict
        Of the session.
    excluded
        Why it is never chosen, or empty.
    """

    id: str
    model: str
    operator: str
    tier: str
    trials: tuple[Array, ...]
    link_error_s: float = 0.0
    drop: Interval | None = None
    drop_unit: str = "pp"
    size_bytes: int | None = None
    memory_bytes: int | None = None
    verdict: str = "pass"
    excluded: str = ""


def candidates(strategies: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """The strategies of a session.

    Parameters
    ----------
    strategies, trials
        As `results.json` has them.
    """
    valid: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for trial in trials:
        if trial["status"] == "valid" and trial["latency_s"]:
            valid.setdefault((trial["model"], trial["operator"], trial["tier"]), []).append(trial)
    return tuple(_candidate(one, valid.get((one["model"], one["operator"], one["tier"]), [])) for one in strategies)


def _candidate(strategy: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> Candidate:
    accuracy = strategy["accuracy"]
    return Candidate(
        id=strategy["id"],
        model=strategy["model"],
        operator=strategy["operator"],
        tier=strategy["tier"],
        trials=tuple(np.array(trial["latency_s"], dtype=float) for trial in trials),
        link_error_s=strategy["link_error_s"] or 0.0,
        drop=None if accuracy is None else _drop(accuracy, strategy["operator"]),
        drop_unit="pp" if accuracy is None or accuracy["unit"] == "%" else accuracy["unit"],
        size_bytes=strategy["size_bytes"],
        memory_bytes=peak_bytes(trials, strategy["tier"]),
        verdict=strategy["verdict"],
        excluded=_exclusion(strategy, trials),
    )


def _drop(accuracy: Mapping[str, Any], operator: str) -> Interval | None:
    if operator == accuracy["baseline"]:
        return Interval(0.0, 0.0, 0.0)
    if accuracy["drop"] is None:
        return None
    low, high = accuracy["drop_low"], accuracy["drop_high"]
    return Interval(accuracy["drop"], -math.inf if low is None else low, math.inf if high is None else high)


def peak_bytes(trials: Sequence[Mapping[str, Any]], placement: str) -> int | None:
    """The highest peak of the tiers or nodes that compute; None where one of them does not tell it."""
    computing = placement.split("*")[0].split("+")
    peaks: list[int | None] = [
        state["after"].get("peak_memory_bytes")
        for trial in trials
        for place, state in trial["tiers"].items()
        if place.partition("[")[0] in computing
    ]
    known = [peak for peak in peaks if peak is not None]
    return max(known) if known and len(known) == len(peaks) else None


def _exclusion(strategy: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
    if strategy["verdict"] in _NOT_MEASURED or not trials:
        return f"{strategy['verdict']}: {strategy['reason']}" if strategy["reason"] else "no trial of it is valid"
    unproven = dict.fromkeys(what for trial in trials for what in trial["unproven"])
    return f"unproven: {', '.join(unproven)}" if unproven else ""
