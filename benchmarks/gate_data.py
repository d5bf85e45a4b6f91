"""Measured sessions of two equal versions, as `gate_sessions.py` records them, and slowdowns to add to one version."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
Slowdown: TypeAlias = Callable[[np.random.Generator, FloatArray, FloatArray], FloatArray]
"""From latencies and their larger part, each of shape (replicates, inputs), to slower latencies."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The trials of one strategy that are valid in both versions.

    Parameters
    ----------
    latency_s, larger_s
        Round trips, and the larger of compute (stretched) and transmit, shape (sides, replicates, inputs).
    memory_bytes
        Peak memory of the server, shape (sides, replicates); NaN where it is not known.
    reference_s
        By tier, the reference computation, of both sides; empty where it was not measured.
    """

    latency_s: FloatArray
    larger_s: FloatArray
    memory_bytes: FloatArray
    reference_s: Mapping[str, tuple[float, ...]]

    @property
    def replicates(self) -> int:
        """How many trials a side."""
        return int(self.latency_s.shape[1])


@dataclass(frozen=True, slots=True)
class Measured:
    """A session: what is known about it, and its strategies."""

    name: str
    about: Mapping[str, Any]
    strategies: Mapping[str, Pairs]


def read(folder: Path) -> list[Measured]:
    """The sessions of a folder, in the order of their names."""
    return [_session(path) for path in sorted(folder.glob("*.csv.gz"))]


def _session(path: Path) -> Measured:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        about = json.loads(file.readline().removeprefix("#"))
        rows = list(csv.DictReader(file))
    by_strategy: dict[str, dict[tuple[int, int], dict[str, str]]] = {}
    for row in rows:
        by_strategy.setdefault(row["strategy"], {})[int(row["side"]), int(row["replicate"])] = row
    found = {name: _pairs(trials) for name, trials in sorted(by_strategy.items()) if _shared(trials)}
    return Measured(path.name, about, found)


def _shared(trials: Iterable[tuple[int, int]]) -> list[int]:
    """The replicates that are valid in both versions."""
    keys = list(trials)
    return sorted({place for side, place in keys if side == 0} & {place for side, place in keys if side == 1})


def _pairs(trials: Mapping[tuple[int, int], Mapping[str, str]]) -> Pairs:
    shared = _shared(trials)
    both = [[trials[side, place] for place in shared] for side in (0, 1)]
    references: dict[str, list[float]] = {}
    for row in trials.values():
        for tier, value_us in json.loads(row["reference_us"] or "{}").items():
            references.setdefault(tier, []).append(value_us / 1e6)
    return Pairs(
        _numbers(both, "latency_us") / 1e6,
        _numbers(both, "larger_us") / 1e6,
        np.array([[float(row["peak_memory_bytes"] or "nan") for row in side] for side in both]),
        {tier: tuple(values) for tier, values in references.items()},
    )


def _numbers(both: Iterable[Iterable[Mapping[str, str]]], column: str) -> FloatArray:
    return np.array([[[float(word) for word in row[column].split()] for row in side] for side in both])


def joined(parts: Iterable[Pairs]) -> Pairs:
    """The trials of one strategy in several sessions, one session after the other."""
    every = list(parts)
    return Pairs(
        np.concatenate([one.latency_s for one in every], axis=1),
        np.concatenate([one.larger_s for one in every], axis=1),
        np.concatenate([one.memory_bytes for one in every], axis=1),
        {},
    )


def constant(factor: float) -> Slowdown:
    """The larger part of every request takes longer."""
    return lambda _, latency_s, larger_s: latency_s + factor * larger_s


def of_requests(share: float, times: float) -> Slowdown:
    """Each request takes so many times as long with some probability."""
    return lambda rng, latency_s, _: np.where(rng.random(latency_s.shape) < share, times * latency_s, latency_s)


def of_inputs(count: int, times: float) -> Slowdown:
    """So many of the inputs take longer in every trial."""

    def slowed(rng: np.random.Generator, latency_s: FloatArray, _: FloatArray) -> FloatArray:
        chosen = rng.permutation(latency_s.shape[1])[:count]
        return np.where(np.isin(np.arange(latency_s.shape[1]), chosen), times * latency_s, latency_s)

    return slowed


def of_trials(share: float, times: float) -> Slowdown:
    """Each trial takes longer as a whole with some probability."""
    return lambda rng, latency_s, _: np.where(rng.random((len(latency_s), 1)) < share, times * latency_s, latency_s)


SLOWDOWNS: Final[Mapping[str, Slowdown]] = {
    "all requests, larger part + 3 %": constant(0.03),
    "all requests, larger part + 5 %": constant(0.05),
    "all requests, larger part + 10 %": constant(0.10),
    "all requests, larger part + 20 %": constant(0.20),
    "half of the requests × 2": of_requests(0.5, 2),
    "a fifth of the requests × 2": of_requests(0.2, 2),
    "a tenth of the requests × 4": of_requests(0.1, 4),
    "a tenth of the requests × 20": of_requests(0.1, 20),
    "one of ten inputs × 1.3": of_inputs(1, 1.3),
    "one of ten inputs × 2": of_inputs(1, 2),
    "two of ten inputs × 10": of_inputs(2, 10),
    "half of the trials × 1.5": of_trials(0.5, 1.5),
    "a third of the trials × 2": of_trials(1 / 3, 2),
}
