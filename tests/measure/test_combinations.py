"""The accuracy of some of an artifact's nodes, beside a slow and obvious reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.combinations import chosen, combinations_of
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.subjects.metrics import metric_of
from pytest_edgeai.subjects.predictions import Predictions

CLASSES = 4
TRUTH = np.random.default_rng(1).integers(0, CLASSES, 60)


def top1(predictions: Predictions) -> float:
    return metric_of("top1").score(predictions, TRUTH)


def answers_of(nodes: int) -> list[list[dict[str, Array]]]:
    """By example, each node's two best classes; the first node guesses, the others know more and more."""
    random = np.random.default_rng(2)
    told = []
    for right in TRUTH:
        by_node: list[dict[str, Array]] = []
        for node in range(nodes):
            best = right if random.random() < node / nodes else random.integers(0, CLASSES)
            labels = np.array([[best, (best + 1) % CLASSES]])
            by_node.append({"labels": labels, "scores": np.array([[0.6, 0.3]], dtype=np.float32)})
        told.append(by_node)
    return told


def test_each_combination_of_variants_is_right_where_its_summed_scores_are() -> None:
    answers = answers_of(3)
    found = {one.nodes: one.value for one in combinations_of(Aggregation("variants", 3, CLASSES, 2), answers, top1)}
    assert set(found) == {(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)}
    for some, value in found.items():
        right = 0
        for told, truth in zip(answers, TRUTH, strict=True):
            sums = [0.0] * CLASSES
            for node in some:
                for label, score in zip(told[node]["labels"][0], told[node]["scores"][0], strict=True):
                    sums[label] += score
            right += max(range(CLASSES), key=lambda label, sums=sums: (sums[label], -label)) == truth  # type: ignore[misc]
        assert value == pytest.approx(100 * right / len(TRUTH))
    assert found[2,] is not None
    assert found[0,] is not None
    assert found[2,] > found[0,] + 10


def test_groups_of_classes_have_no_answer_without_one_of_them_and_copies_nothing_to_combine() -> None:
    logits = np.eye(CLASSES, dtype=np.float32)
    answers = [[{"logits": logits[[right], :2]}, {"logits": logits[[right], 2:]}] for right in TRUTH]
    groups = Aggregation("classes", 2, CLASSES, 2, groups=((0, 1), (2, 3)))
    found = {one.nodes: one.value for one in combinations_of(groups, answers, top1)}
    assert found == {(0,): None, (1,): None, (0, 1): 100.0}
    assert combinations_of(Aggregation("copies", 2, CLASSES, 2), answers_of(1), top1) == ()


def test_of_many_nodes_each_alone_all_but_one_and_all_are_looked_at() -> None:
    numbers = tuple(range(9))
    expected = [*((one,) for one in numbers), *itertools.combinations(numbers, 8), numbers]
    assert list(chosen(9)) == expected
    assert len(list(chosen(8))) == 2**8 - 1
    assert list(chosen(2)) == [(0,), (1,), (0, 1)]
