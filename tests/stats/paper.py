"""The paper's published measurements and the results they must give; `reference/paper/README.md` names the source."""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

PAPER = Path(__file__).parent / "reference" / "paper"


def paper_text(name: str) -> str:
    """Return the text of `latencies.csv`, `accuracy.csv` or `golden.json`, which are stored compressed."""
    return gzip.decompress((PAPER / f"{name}.gz").read_bytes()).decode("utf-8")


@dataclass(frozen=True)
class Measurements:
    """Tidy columns, and the same latencies by strategy in the order of their rows."""

    model: list[str] = field(default_factory=list)
    operator: list[str] = field(default_factory=list)
    tier: list[str] = field(default_factory=list)
    run: list[int] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, str]]) -> "Measurements":
        columns = cls()
        for row in rows:
            columns.model.append(row["model"])
            columns.operator.append(row["operator"])
            columns.tier.append(row["tier"])
            columns.run.append(int(row["run"]))
            columns.latency_s.append(float(row["latency_s"]))
        return columns

    @cached_property
    def by_strategy(self) -> dict[tuple[str, str, str], npt.NDArray[np.float64]]:
        found: dict[tuple[str, str, str], list[float]] = {}
        for model, operator, tier, latency in zip(self.model, self.operator, self.tier, self.latency_s, strict=True):
            found.setdefault((model, operator, tier), []).append(latency)
        return {strategy: np.array(latencies) for strategy, latencies in found.items()}

    def of(self, model: str, operator: str, tier: str) -> npt.NDArray[np.float64]:
        return self.by_strategy[model, operator, tier]
