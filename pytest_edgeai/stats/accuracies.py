"""Accuracies of operators compared over models and metrics, as the paper does, with what that comparison hides."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_edgeai.stats.adjust import adjust_p
from pytest_edgeai.stats.effect import Magnitude, cliffs_delta, magnitude
from pytest_edgeai.stats.order import ordered_operators
from pytest_edgeai.stats.paired import Wilcoxon, wilcoxon_signed_rank

# Model, metric, tier.
Value = tuple[str, str, str]


@dataclass(frozen=True)
class AccuracyPair:
    """Two operators compared over the accuracies that both have.

    `repeated` is the paper's test: each tier's value counts, though tiers run the same artifact. `once` takes each
    model and metric once, by its mean over the tiers. `p_bonferroni` adjusts the p of `repeated` for the number of
    pairs of operators. `delta_a_b` is positive where `a` tends to be more accurate.
    """

    a: str
    b: str
    n: int
    repeated: Wilcoxon
    p_bonferroni: float
    n_once: int
    once: Wilcoxon
    delta_a_b: float
    magnitude: Magnitude

    @property
    def smallest_p_once(self) -> float:
        """The smallest two-sided p that `n_once` pairs of values can give."""
        return float(2.0 ** (1 - self.n_once))

    def as_json(self) -> dict[str, Any]:
        """Return the pair as JSON has it."""
        return {
            "a": self.a,
            "b": self.b,
            "n": self.n,
            "t": self.repeated.t,
            "p": self.repeated.p,
            "p_bonferroni": self.p_bonferroni,
            "n_once": self.n_once,
            "t_once": self.once.t,
            "p_once": self.once.p,
            "smallest_p_once": self.smallest_p_once,
            "delta_a_b": self.delta_a_b,
            "magnitude": self.magnitude,
        }


def compare_accuracies(percents: Mapping[str, Mapping[Value, float]]) -> tuple[AccuracyPair, ...]:
    """Compare every two operators by Wilcoxon's signed-rank test over models, metrics and tiers.

    Parameters
    ----------
    percents : mapping
        By operator, its accuracies in percent by model, metric and tier.

    Returns
    -------
    tuple of AccuracyPair
        One for each two operators that have accuracies in common, in the paper's order.

    Raises
    ------
    StatisticsInputError
        If an accuracy is not a finite number.

    References
    ----------
    Singh, Adams, Hassan, On the impact of white-box deployment strategies for edge AI on latency and model
    performance, sections 4.1 to 4.4.
    """
    found = []
    for a, b in itertools.combinations(ordered_operators(percents), 2):
        shared = [value for value in percents[a] if value in percents[b]]
        if not shared:
            continue
        first, second = ([percents[side][value] for value in shared] for side in (a, b))
        once = [_means(percents[side], shared) for side in (a, b)]
        delta = cliffs_delta(first, second)
        found.append((a, b, len(shared), wilcoxon_signed_rank(first, second), once, delta))
    adjusted = adjust_p([repeated.p for _, _, _, repeated, _, _ in found], "bonferroni").tolist()
    return tuple(
        AccuracyPair(a, b, n, repeated, p, len(once[0]), wilcoxon_signed_rank(*once), delta, magnitude(delta))
        for (a, b, n, repeated, once, delta), p in zip(found, adjusted, strict=True)
    )


def _means(percents: Mapping[Value, float], shared: list[Value]) -> list[float]:
    """One value for each model and metric."""
    by_name: dict[tuple[str, str], list[float]] = {}
    for value in shared:
        by_name.setdefault(value[:2], []).append(percents[value])
    return [sum(values) / len(values) for values in by_name.values()]
