"""What a strategy has to keep, and what the best has least of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Objective: TypeAlias = Literal["latency", "size", "accuracy"]
Quantity: TypeAlias = Literal["latency", "drop", "size", "memory"]


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a strategy has to keep; None is no limit.

    Parameters
    ----------
    max_latency_s
        Of the percentile of latency.
    percentile
        Of the requests; latencies are compared by it, too.
    max_drop
        Of the model's first metric, in percentage points where it is a percentage, else in its unit.
    max_size_bytes
        Of the artifact.
    max_memory_bytes
        Of the peak of each tier that computes.
    """

    max_latency_s: float | None = None
    percentile: float = 50.0
    max_drop: float | None = None
    max_size_bytes: float | None = None
    max_memory_bytes: float | None = None

    def limits(self) -> dict[Quantity, float]:
        """The limits that there are."""
        given: dict[Quantity, float | None] = {
            "latency": self.max_latency_s,
            "drop": self.max_drop,
            "size": self.max_size_bytes,
            "memory": self.max_memory_bytes,
        }
        return {name: limit for name, limit in given.items() if limit is not None}
