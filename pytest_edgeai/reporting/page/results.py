"""What the page reads of `results.json`: strategies in their order, and the requests of their valid trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from pytest_edgeai.stats.order import ordered_operators, ordered_placements
from pytest_edgeai.stats.samples import FloatArray

Document: TypeAlias = Mapping[str, Any]
"""An object of `results.json`."""
StrategyName: TypeAlias = tuple[str, str, str]
"""Model, operator and placement."""


@dataclass(frozen=True)
class Results:
    """A session's results.

    Parameters
    ----------
    document
        The content of `results.json`.
    """

    document: Document
    strategies: Sequence[Document] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "strategies", self.document["strategies"])

    @cached_property
    def models(self) -> list[str]:
        """In the order of reports."""
        return list(dict.fromkeys(one["model"] for one in self.strategies))

    @cached_property
    def operators(self) -> list[str]:
        """Likewise."""
        return ordered_operators(one["operator"] for one in self.strategies)

    @cached_property
    def tiers(self) -> list[str]:
        """Likewise; chains and several nodes are placements of their own."""
        return ordered_placements(one["tier"] for one in self.strategies)

    @property
    def baseline(self) -> str:
        """The baseline operator."""
        return str(self.document["settings"].get("baseline", "identity"))

    @cached_property
    def valid_trials(self) -> Mapping[StrategyName, Sequence[Document]]:
        """By strategy, in the order of replicates."""
        found = _valid(self.document["trials"])
        return {name: found[name] for name in map(name_of, self.strategies) if name in found}

    @cached_property
    def latencies_s(self) -> Mapping[StrategyName, FloatArray]:
        """All requests of the valid trials of each strategy that has any."""
        return {
            name: np.concatenate([latencies_of(trial) for trial in trials])
            for name, trials in self.valid_trials.items()
        }

    def of_model(self, model: str) -> list[StrategyName]:
        """A model's strategies that were measured, tier by tier."""
        return [
            (model, operator, tier)
            for tier in self.tiers
            for operator in self.operators
            if (model, operator, tier) in self.latencies_s
        ]


def _valid(trials: Sequence[Document]) -> dict[StrategyName, list[Document]]:
    found: dict[StrategyName, list[Document]] = {}
    for trial in sorted(trials, key=lambda trial: (trial["replicate"], trial["order"])):
        if trial["status"] == "valid" and trial["latency_s"]:
            found.setdefault(name_of(trial), []).append(trial)
    return found


def name_of(one: Document) -> StrategyName:
    """Model, operator and placement of a strategy or a trial."""
    return one["model"], one["operator"], one["tier"]


def keys_of(name: StrategyName) -> dict[str, str]:
    """By which the page filters what belongs to a strategy."""
    return dict(zip(("model", "operator", "tier"), name, strict=True))


def latencies_of(trial: Document) -> FloatArray:
    """The latencies of a trial in seconds, in their order."""
    return np.array(trial["latency_s"], dtype=np.float64)


def spans_of(trials: Sequence[Document]) -> dict[str, float]:
    """The mean of each span over all requests, in seconds; where a request lacks one, it took none of its time."""
    requests = sum(len(trial["latency_s"]) for trial in trials)
    sums: dict[str, float] = {}
    for trial in trials:
        for name, column in trial["spans_s"].items():
            sums[name] = sums.get(name, 0.0) + sum(value for value in column if value is not None)
    return {name: total_s / requests for name, total_s in sums.items()}


def again(results: Results) -> Iterator[Document]:
    """Attempts that were not valid."""
    yield from (trial for trial in results.document["trials"] if trial["status"] != "valid")
