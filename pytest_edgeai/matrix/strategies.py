"""Strategies and planned trials: the matrix model × operator × placement, and its ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_edgeai.tiers.placements import Placement


@dataclass(frozen=True, slots=True, order=True)
class Strategy:
    """One cell of the matrix."""

    model: str
    operator: str
    placement: Placement

    @property
    def id(self) -> str:
        """The name in reports and, with the replicate, in test ids."""
        return f"{self.model}-{self.operator}-{self.placement}"

    @property
    def artifact(self) -> tuple[str, str]:
        """The model and operator, whose artifact all placements share."""
        return self.model, self.operator


@dataclass(frozen=True, slots=True, order=True)
class PlannedTrial:
    """One trial to be made.

    Parameters
    ----------
    strategy, replicate
        The cell of the matrix, and how often it was tried before.
    version
        Empty, or the git revision whose artifact it is.
    """

    strategy: Strategy
    replicate: int
    version: str = ""

    @property
    def id(self) -> str:
        """The test id."""
        return f"{self.strategy.id}-r{self.replicate}" + (f"@{self.version}" if self.version else "")

    @property
    def own(self) -> PlannedTrial:
        """The same of this version."""
        return replace(self, version="")
