"""What the receiver makes of the nodes' answers, beside slow and obvious references."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.arrays import Array
from pytest_edgeai.parallel.aggregation import Aggregation, AggregationError


@st.composite
def variants(draw: st.DrawFn) -> tuple[Aggregation, list[dict[str, Array] | None]]:
    """Answers of a few nodes to a batch, each with its best classes; some may be missing."""
    classes, nodes = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    batch, best = draw(st.integers(1, 3)), draw(st.integers(1, classes))
    answers: list[dict[str, Array] | None] = []
    for _ in range(nodes):
        labels = [draw(st.permutations(range(classes)))[:best] for _ in range(batch)]
        # Few different scores, so that there are ties.
        scores = [[draw(st.sampled_from([0.125, 0.25, 0.5])) for _ in range(best)] for _ in range(batch)]
        answer: dict[str, Array] = {
            "labels": np.array(labels, dtype=np.int64),
            "scores": np.array(scores, dtype=np.float32),
        }
        answers.append(answer if draw(st.booleans()) else None)
    return Aggregation("variants", nodes, classes, draw(st.integers(1, classes))), answers


@given(variants())
def test_scores_are_summed_by_class_over_the_nodes_that_answered(
    case: tuple[Aggregation, list[dict[str, Array] | None]],
) -> None:
    aggregation, answers = case
    arrived = [answer for answer in answers if answer is not None]
    if not arrived:
        with pytest.raises(AggregationError, match="no node has answered"):
            aggregation(answers)
        return
    outputs = aggregation(answers)
    for row in range(len(arrived[0]["labels"])):
        sums = dict.fromkeys(range(aggregation.classes), 0.0)
        for answer in arrived:
            for label, score in zip(answer["labels"][row].tolist(), answer["scores"][row].tolist(), strict=True):
                sums[label] += score
        expected = sorted(sums, key=lambda one, sums=sums: (-sums[one], one))[: aggregation.k]  # type: ignore[misc]
        assert outputs["labels"][row].tolist() == expected
        assert outputs["scores"][row].tolist() == pytest.approx([sums[one] / len(arrived) for one in expected])


@given(variants(), st.randoms(use_true_random=False))
def test_the_order_in_which_variants_are_counted_does_not_matter(
    case: tuple[Aggregation, list[dict[str, Array] | None]], random: Any
) -> None:
    aggregation, answers = case
    if all(answer is None for answer in answers):
        return
    shuffled = list(answers)
    random.shuffle(shuffled)
    one, other = aggregation(answers), aggregation(shuffled)
    assert one["labels"].tolist() == other["labels"].tolist()
    assert one["scores"] == pytest.approx(other["scores"])


@given(st.data())
def test_groups_of_classes_give_what_the_whole_gives(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 9))
    order = data.draw(st.permutations(range(classes)))
    ends = sorted(data.draw(st.sets(st.integers(1, classes - 1), max_size=3)))
    groups = tuple(tuple(order[a:b]) for a, b in itertools.pairwise((0, *ends, classes)))
    logits = np.array(data.draw(st.lists(st.floats(-5, 5, width=32), min_size=classes, max_size=classes)), np.float32)
    k = data.draw(st.integers(1, classes))
    aggregation = Aggregation("classes", len(groups), classes, k, groups=groups)
    answers: list[dict[str, Array] | None] = [{"logits": logits[None, list(group)]} for group in groups]

    outputs = aggregation(answers)
    raised = [float(np.exp(np.float64(one))) for one in logits]
    scores = [one / sum(raised) for one in raised]
    assert outputs["scores"][0] == pytest.approx(sorted(scores, reverse=True)[:k], rel=1e-4)
    assert [scores[label] for label in outputs["labels"][0]] == pytest.approx(outputs["scores"][0].tolist(), rel=1e-4)

    missing = data.draw(st.integers(0, len(groups) - 1))
    with pytest.raises(AggregationError, match=f"node {missing} has not answered" if len(groups) > 1 else "no node"):
        aggregation([None if number == missing else answer for number, answer in enumerate(answers)])


def test_of_copies_the_one_answer_counts() -> None:
    answer = {"labels": np.array([[3, 1]]), "scores": np.array([[0.6, 0.4]])}
    assert Aggregation("copies", 3, 4, 2)([None, answer, None]) == answer


def test_an_aggregation_is_read_back_as_it_is_written(tmp_path: Path) -> None:
    for one in (
        Aggregation("variants", 5, 100, 5, deadline_s=0.25),
        Aggregation("classes", 2, 4, 2, groups=((0, 3), (1, 2))),
        Aggregation("copies", 3, 10, 5),
    ):
        one.write(tmp_path)
        assert Aggregation.read(tmp_path) == one
