"""The settings of budgets that are limits of resources, and of ratios to another operator, each a frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from pytest_edgeai.decisions.asked import or_quantity
from pytest_edgeai.tiers.specs import Spec

Seconds: TypeAlias = Annotated[float, or_quantity("time")]
Bytes: TypeAlias = Annotated[float, or_quantity("memory")]
Resource: TypeAlias = Literal["size", "memory", "load", "cold_start", "energy"]
"""What a budget of resources can limit."""
Ratio: TypeAlias = Literal["latency", "size", "memory", "load", "cold_start", "energy"]
"""What a relative budget can limit."""


class ResourceBudget(Spec):
    """What strategies that a pattern names may take besides latency; at least one limit is given.

    Parameters
    ----------
    strategies
        A pattern of strategy ids, for example `bert-*-edge`.
    max_size_bytes, max_memory_bytes
        Limits of the artifact's size and of the peak memory of each tier that computes, in bytes or written `"50 MB"`.
    max_load_s, max_cold_start_s
        Limits of the median time until the artifact is loaded, and of that with the first request, in seconds or
        written `"800 ms"`.
    max_energy_j
        Limit of the median energy of a request, in joules.
    """

    strategies: str
    max_size_bytes: Bytes | None = Field(default=None, gt=0)
    max_memory_bytes: Bytes | None = Field(default=None, gt=0)
    max_load_s: Seconds | None = Field(default=None, gt=0)
    max_cold_start_s: Seconds | None = Field(default=None, gt=0)
    max_energy_j: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> ResourceBudget:
        if not self.limits:
            raise ValueError(
                "it has no limit: give max_size_bytes, max_memory_bytes, max_load_s, max_cold_start_s or max_energy_j"
            )
        return self

    @property
    def limits(self) -> Mapping[Resource, float]:
        """The limits that there are."""
        given: dict[Resource, float | None] = {
            "size": self.max_size_bytes,
            "memory": self.max_memory_bytes,
            "load": self.max_load_s,
            "cold_start": self.max_cold_start_s,
            "energy": self.max_energy_j,
        }
        return {name: limit for name, limit in given.items() if limit is not None}


class RelativeBudget(Spec):
    """How much strategies that a pattern names may take, as ratios to another operator; at least one limit is given.

    Parameters
    ----------
    strategies
        A pattern of strategy ids, for example `*-sptq-*`.
    max_ratio_to
        The operator that they are compared with, of the same model on the same placement.
    latency, size, memory, load, cold_start, energy
        The largest ratios: of the median latency, and of what `ResourceBudget` limits.
    """

    strategies: str
    max_ratio_to: str
    latency: float | None = Field(default=None, gt=0)
    size: float | None = Field(default=None, gt=0)
    memory: float | None = Field(default=None, gt=0)
    load: float | None = Field(default=None, gt=0)
    cold_start: float | None = Field(default=None, gt=0)
    energy: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> RelativeBudget:
        if not self.limits:
            raise ValueError("it has no limit: give latency, size, memory, load, cold_start or energy")
        return self

    @property
    def limits(self) -> Mapping[Ratio, float]:
        """The limits that there are."""
        given: dict[Ratio, float | None] = {
            "latency": self.latency,
            "size": self.size,
            "memory": self.memory,
            "load": self.load,
            "cold_start": self.cold_start,
            "energy": self.energy,
        }
        return {name: limit for name, limit in given.items() if limit is not None}
