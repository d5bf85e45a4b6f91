"""The tables of an analysis as plain values, and their JSON; how they come to be is said in `analysis`."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pytest_edgeai.stats.blocked import Friedman, PairedDifference
from pytest_edgeai.stats.describe import ShapiroWilk
from pytest_edgeai.stats.effect import Magnitude
from pytest_edgeai.stats.ranks import KruskalWallis

Dimension = Literal["operator", "tier"]


@dataclass(frozen=True)
class Group:
    """One strategy in a table. `label` is unique there, and what the pairs call it."""

    label: str
    model: str
    operator: str
    tier: str
    n: int
    median_s: float

    def as_json(self) -> dict[str, Any]:
        """Return the group as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Pair:
    """Two groups of a table compared. A positive delta and a positive t both say that `a` is slower."""

    a: str
    b: str
    conover_t: float
    p: float
    p_adjusted: float
    log10_p: float
    delta_a_b: float
    magnitude: Magnitude
    significant: bool
    delta_low: float
    delta_high: float

    def as_json(self) -> dict[str, Any]:
        """Return the pair as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class BlockedPair:
    """Per-input difference a - b of two groups, in seconds."""

    a: str
    b: str
    difference: PairedDifference

    def as_json(self) -> dict[str, Any]:
        """Return the pair as JSON has it."""
        return {
            "a": self.a,
            "b": self.b,
            "median_s": self.difference.median,
            "low_s": self.difference.low,
            "high_s": self.difference.high,
            "coverage": self.difference.coverage,
        }


@dataclass(frozen=True)
class Blocked:
    """The same table compared within inputs.

    `input_share` is the share of the variance that the input explains beyond chance: the median over the groups,
    or, where a group has no input that was measured twice, the groups' concordance about the inputs. `words` is one
    sentence where the input explains most of the variance and the unblocked test sees nothing, else None.
    """

    friedman: Friedman
    pairs: tuple[BlockedPair, ...]
    input_share: float
    words: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the blocked comparison as JSON has it."""
        pairs = [pair.as_json() for pair in self.pairs]
        return asdict(self) | {"friedman": self.friedman.as_json(), "pairs": pairs}


@dataclass(frozen=True)
class Table:
    """Comparison of the operators within one tier (`operator` is None) or of the tiers within one operator.

    `blocked` is None where the inputs are not known, or fewer than two of them were measured in every group.
    """

    dimension: Dimension
    model: str
    operator: str | None
    tier: str | None
    groups: tuple[Group, ...]
    kruskal: KruskalWallis
    pairs: tuple[Pair, ...]
    blocked: Blocked | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the table as JSON has it; `blocked` is left out where there is none."""
        table: dict[str, Any] = {
            "dimension": self.dimension,
            "model": self.model,
            "operator": self.operator,
            "tier": self.tier,
            "groups": [group.as_json() for group in self.groups],
            "kruskal": self.kruskal.as_json(),
            "pairs": [pair.as_json() for pair in self.pairs],
        }
        if self.blocked is not None:
            table["blocked"] = self.blocked.as_json()
        return table


@dataclass(frozen=True)
class StrategySummary:
    """What one strategy's latencies look like, in seconds."""

    model: str
    operator: str
    tier: str
    n: int
    median_s: float
    p95_s: float
    iqr_s: float
    shapiro: ShapiroWilk

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON has it."""
        document = asdict(self) | {"shapiro": {"w": self.shapiro.w, "p": self.shapiro.p}}
        del document["iqr_s"]  # the verdict table has it
        return document


@dataclass(frozen=True)
class Settings:
    """What an analysis was asked for."""

    alpha: float
    p_adjust: str
    inputs: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return asdict(self)


@dataclass(frozen=True)
class Analysis:
    """All tables and strategies of one set of measurements."""

    tables: tuple[Table, ...]
    strategies: tuple[StrategySummary, ...]
    settings: Settings

    def as_json(self) -> dict[str, Any]:
        """Return what `edgeai analyze --json` writes: plain dictionaries, lists and finite numbers."""
        return {
            "tables": [table.as_json() for table in self.tables],
            "strategies": [strategy.as_json() for strategy in self.strategies],
            "settings": self.settings.as_json(),
        }
