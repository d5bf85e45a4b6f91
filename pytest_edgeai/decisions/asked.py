"""The settings' table `[decide]`: which strategy is asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from pytest_edgeai.decisions.constraints import Constraints, Objective
from pytest_edgeai.tiers.quantities import parse_quantity
from pytest_edgeai.tiers.specs import Spec


def or_quantity(dimension: str) -> BeforeValidator:
    """A number in the base unit, or a quantity with its unit."""
    return BeforeValidator(lambda value: parse_quantity(value, dimension) if isinstance(value, str) else value)


class Decide(Spec):
    """Which strategy is to be chosen at the end of a session, and by `edgeai recommend`.

    Parameters
    ----------
    max_latency_s
        Limit of the percentile of latency, in seconds or written `"50 ms"`.
    percentile
        Of the requests.
    max_drop
        Limit of the drop of the model's first metric: in percentage points, or in the metric's own unit where it is no
        percentage.
    max_size_bytes, max_memory_bytes
        Limits of the artifact's size and of the peak memory of each tier that computes, in bytes or written `"50 MB"`.
    tier, model
        Choose among the strategies of this placement and of this model only; None is all.
    objective
        What the best has least of.
    """

    max_latency_s: Annotated[float, or_quantity("time")] | None = Field(default=None, gt=0)
    percentile: float = Field(default=50.0, gt=0, lt=100)
    max_drop: float | None = None
    max_size_bytes: Annotated[float, or_quantity("memory")] | None = Field(default=None, gt=0)
    max_memory_bytes: Annotated[float, or_quantity("memory")] | None = Field(default=None, gt=0)
    tier: str | None = None
    model: str | None = None
    objective: Objective = "latency"

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers of the placement that is asked for; none where any is."""
        return () if self.tier is None else tuple(self.tier.split("*")[0].split("+"))

    @property
    def scope(self) -> str:
        """What is chosen from, in words."""
        parts = [f"of {self.model}"] if self.model else []
        return " ".join([*parts, f"on {self.tier}"] if self.tier else parts) or "there"

    def takes(self, model: str, tier: str) -> bool:
        """Whether a strategy is among those to choose from."""
        return self.model in (None, model) and self.tier in (None, tier)

    @property
    def constraints(self) -> Constraints:
        """The limits."""
        return Constraints(
            self.max_latency_s, self.percentile, self.max_drop, self.max_size_bytes, self.max_memory_bytes
        )
