"""What the valid trials of a strategy tell a budget: a value of each trial, by its replicate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.decisions.candidates import peak_bytes

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
    from pytest_edgeai.measure.records import TrialRecord
    from pytest_edgeai.measured import Measured
    from pytest_edgeai.settings_budgets import Ratio


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a strategy.

    Parameters
    ----------
    latencies_s
        Latencies of the requests of each trial, by replicate.
    values
        By what a budget can limit, a value of each trial that tells it, by replicate; in s, bytes and J.
    size_bytes
        Of the artifact, or None where there is none.
    link_error_s
        By how many seconds links may have changed a request.
    energy_unknown
        Why a trial does not tell the energy of its requests, as a sentence goes on; empty where all do.
    """

    latencies_s: Mapping[int, Array]
    values: Mapping[Ratio, Mapping[int, float]] = field(default_factory=dict)
    size_bytes: int | None = None
    link_error_s: float = 0.0
    energy_unknown: str = ""

    def of(self, quantity: Ratio) -> Mapping[int, float] | None:
        """The values of all trials by replicate; None where one does not tell it."""
        found = self.values.get(quantity, {})
        return found if found and len(found) == len(self.latencies_s) else None

    def middle(self, quantity: Ratio) -> float | None:
        """The median over trials, or the highest where it is memory; None where one does not tell it."""
        found = self.of(quantity)
        if found is None:
            return None
        return max(found.values()) if quantity == "memory" else float(np.median(list(found.values())))


def strategy_figures(strategy: Strategy, measured: Measured) -> Figures | None:
    """What the valid trials of a strategy tell its budgets; None where there is none.

    Parameters
    ----------
    strategy
        Which.
    measured
        What the session has measured by now.
    """
    valid = valid_records([trial for trial in measured.plan.trials if trial.strategy == strategy], measured)
    if not valid:
        return None
    tell: dict[Ratio, Callable[[TrialRecord], float | None]] = {
        "latency": lambda one: float(np.median(one.latencies_s)),
        "memory": lambda one: peak_bytes([{"tiers": one.tiers}], str(strategy.placement)),
        "load": lambda one: sum(one.load_s.values()) if one.load_s else None,
        "cold_start": lambda one: one.cold_start_s,
        "energy": lambda one: one.energy.request_j,
    }
    values: dict[Ratio, dict[int, float]] = {}
    for quantity, told in tell.items():
        found = {record.trial.replicate: told(record) for record in valid}
        values[quantity] = {replicate: value for replicate, value in found.items() if value is not None}
    artifact = measured.prepared.get(strategy.artifact)
    return Figures(
        {record.trial.replicate: record.latencies_s for record in valid},
        values,
        None if artifact is None else artifact.artifact.graph_bytes,
        link_error_s(valid) or 0.0,
        next((record.energy.unknown for record in valid if record.energy.unknown), ""),
    )


def valid_records(planned: Sequence[PlannedTrial], measured: Measured) -> list[TrialRecord]:
    """The valid records of some trials."""
    made = [measured.records[trial] for trial in planned if trial in measured.records]
    return [record for record in made if record.status == "valid"]


def link_error_s(valid: Sequence[TrialRecord]) -> float | None:
    """By how much links could have changed any request, or None where they cross none."""
    errors_s = [abs(record.link_errors.largest_s) for record in valid if record.link_errors is not None]
    return max(errors_s, default=None)
