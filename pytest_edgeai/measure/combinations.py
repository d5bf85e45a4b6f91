"""What some of an artifact's nodes answer without the others: the accuracy of combinations of nodes.

Pure functions of what each node answered to the validation examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.parallel.aggregation import Aggregation, AggregationError
from pytest_edgeai.subjects.predictions import MetricError, Predictions

_MOST_NODES: Final = 8
"""Of so many nodes every combination is looked at, 255 of them."""


@dataclass(frozen=True, slots=True)
class Combination:
    """Some of an artifact's nodes.

    Parameters
    ----------
    nodes
        Their numbers, in their order.
    value
        The first metric of what the receiver makes of their answers; None where that is no answer.
    """

    nodes: tuple[int, ...]
    value: float | None


def chosen(nodes: int) -> Iterator[tuple[int, ...]]:
    """Every combination of a few nodes; of more, each node alone, all but one, and all."""
    numbers = tuple(range(nodes))
    sizes = numbers if nodes <= _MOST_NODES else sorted({0, nodes - 2, nodes - 1})
    for size in sizes:
        yield from itertools.combinations(numbers, size + 1)


def combinations_of(
    aggregation: Aggregation,
    answers: Sequence[Sequence[Mapping[str, Array]]],
    score: Callable[[Predictions], float],
) -> tuple[Combination, ...]:
    """The accuracy of combinations of nodes; none where each node answers for all by itself.

    Parameters
    ----------
    aggregation
        What the receiver makes of the nodes' answers.
    answers
        By example, what each node answers, each a batch of one.
    score
        The value of the metric.
    """
    if aggregation.kind == "copies" or not answers:
        return ()
    by_node = [
        {name: np.concatenate([one[name] for one in told]) for name in told[0]} for told in zip(*answers, strict=True)
    ]
    return tuple(Combination(some, _value(aggregation, by_node, some, score)) for some in chosen(len(by_node)))


def _value(
    aggregation: Aggregation,
    by_node: Sequence[Mapping[str, Array]],
    some: Sequence[int],
    score: Callable[[Predictions], float],
) -> float | None:
    arrived = [answer if number in some else None for number, answer in enumerate(by_node)]
    try:
        value = float(score(Predictions(aggregation(arrived), has_classes=True)))
    except (AggregationError, MetricError):
        return None
    return value if np.isfinite(value) else None
