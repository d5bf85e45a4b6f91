"""Accuracy metrics against counting by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import SettingsError
from pytest_edgeai.measure.accuracy import score
from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectModel
from pytest_edgeai.subjects.metric_registry import merged, with_metrics
from pytest_edgeai.subjects.metrics import METRICS, Metric, f1, top_k
from pytest_edgeai.subjects.predictions import MetricError, Predictions

Rows = list[tuple[list[int], int]]
rows = st.lists(st.tuples(st.permutations(range(6)).map(lambda order: order[:5]), st.integers(0, 5)), min_size=1)


def _arrays(given_rows: Rows) -> tuple[Array, Array]:
    return np.array([ranked for ranked, _ in given_rows]), np.array([truth for _, truth in given_rows])


@given(rows, st.integers(1, 5))
def test_top_k_counts_samples_whose_label_is_among_the_first_k(given_rows: Rows, k: int) -> None:
    hits = sum(truth in ranked[:k] for ranked, truth in given_rows)
    assert top_k(*_arrays(given_rows), k) == pytest.approx(100 * hits / len(given_rows))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs: list[tuple[int, int]]) -> None:
    predicted, truth = (np.array(column) for column in zip(*pairs, strict=True))
    hits = sum(p == t == 1 for p, t in pairs)
    precision = hits / max(1, int(predicted.sum()))
    recall = hits / max(1, int(truth.sum()))
    expected = 200 * precision * recall / (precision + recall) if hits else 0.0
    assert f1(predicted[:, None], truth) == pytest.approx(expected)


def classified(ranked: Array) -> Predictions:
    return Predictions({"labels": ranked, "scores": np.ones(ranked.shape)}, has_classes=True)


@given(st.sampled_from(("top1", "top5", "f1")), rows)
def test_a_metric_is_the_ratio_of_the_sums_of_its_parts(name: str, given_rows: Rows) -> None:
    ranked, truth = _arrays(given_rows)
    metric = METRICS[name]
    assert metric.parts is not None
    numerator, denominator = metric.parts(classified(ranked), truth)
    expected = 100 * numerator.sum() / denominator.sum() if denominator.sum() else 0.0
    assert metric.score(classified(ranked), truth) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["top1", "top5", "f1"])
def test_no_examples_have_no_accuracy(name: str) -> None:
    with pytest.raises(MetricError):
        METRICS[name].score(classified(np.empty((0, 5), int)), np.empty(0, int))


def test_top_5_of_fewer_labels_is_refused() -> None:
    with pytest.raises(MetricError, match="5 labels"):
        METRICS["top5"].score(classified(np.zeros((3, 2), int)), np.zeros(3, int))


numbers = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=20)


def _regression(pairs: list[tuple[float, float]]) -> tuple[Predictions, Array]:
    found, truth = (np.array(column) for column in zip(*pairs, strict=True))
    return Predictions({"y": found[:, None]}), truth


@given(numbers)
def test_errors_of_numbers_are_those_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    predictions, truth = _regression(pairs)
    found = predictions.numbers
    assert METRICS["mae"].score(predictions, truth) == pytest.approx(sklearn.mean_absolute_error(truth, found))
    assert METRICS["rmse"].score(predictions, truth) == pytest.approx(sklearn.root_mean_squared_error(truth, found))
    assert METRICS["r2"].score(predictions, truth) == pytest.approx(sklearn.r2_score(truth, found), rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2))
def test_the_area_under_the_curve_counts_pairs(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    truth = np.array([int(positive) for _, positive in pairs])
    versus = [(a, b) for a in scores[truth == 1] for b in scores[truth == 0]]
    expected = 100 * np.mean([0.5 + 0.5 * np.sign(a - b) for a, b in versus]) if versus else 50.0
    logits = np.stack([-scores, scores], axis=1)
    for predictions in (Predictions({"p": scores[:, None]}), Predictions({"logits": logits})):
        assert METRICS["auroc"].score(predictions, truth) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "wanted", "percent"),
    [
        (["a b c"], ["a b c"], 0),
        (["a x c"], ["a b c"], 100 / 3),
        (["a c", "d"], ["a b c", "d"], 25),
        (["a b b c"], ["a b c"], 100 / 3),
        ([""], ["a b"], 100),
    ],
)
def test_the_word_error_rate_counts_edits(said: list[str], wanted: list[str], percent: float) -> None:
    predictions = Predictions({"text": np.array(said)[:, None]})
    assert METRICS["wer"].score(predictions, wanted) == pytest.approx(percent)


def test_accuracy_of_sequences_leaves_out_positions_that_do_not_count() -> None:
    logits = np.eye(3)[[[0, 1, 2], [2, 2, 0]]]
    metric = METRICS["accuracy"]
    assert metric.score(Predictions({"logits": logits}), [[0, 1, 1], [2, -100, 0]]) == pytest.approx(80)
    assert metric.parts is not None
    rights, counts = metric.parts(Predictions({"logits": logits}), [[0, 1, 1], [2, -100, 0]])
    assert (rights.tolist(), counts.tolist()) == ([2, 2], [3, 2])


def test_perplexity_of_a_uniform_guess_is_the_size_of_the_vocabulary() -> None:
    predictions = Predictions({"logits": np.zeros((2, 4, 7))})
    assert METRICS["perplexity"].score(predictions, [[0, 1, 2, -1], [6, 5, 4, 3]]) == pytest.approx(7)


def test_agreement_is_the_cosine_with_the_baselines_output() -> None:
    predictions = Predictions({"y": np.array([[1.0, 0.0], [1.0, 1.0]])})
    assert METRICS["cosine"].score(predictions, np.array([[2.0, 0.0], [0.0, 3.0]])) == pytest.approx(
        50 * (1 + np.sqrt(0.5))
    )
    assert METRICS["cosine"].compares_with_baseline


BOXES = {"boxes": [[0, 0, 10, 10], [20, 20, 40, 40]], "labels": [0, 1]}


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "percent"),
    [
        ([[0, 0, 10, 10], [20, 20, 40, 40]], [0.9, 0.8], [0, 1], 100),
        ([[0, 0, 10, 10]], [0.9], [0], 50),
        ([[0, 0, 10, 10], [20, 20, 40, 40]], [0.9, 0.8], [1, 0], 0),
        # A surer box beside the right one: precision is a half wherever the box is found.
        ([[50, 50, 60, 60], [0, 0, 10, 10], [20, 20, 40, 40]], [0.95, 0.9, 0.8], [0, 0, 1], 75),
        # An overlap of 0.8 counts at seven of ten thresholds.
        ([[0, 0, 10, 8], [20, 20, 40, 40]], [0.9, 0.8], [0, 1], 85),
        ([], [], [], 0),
    ],
)
def test_mean_average_precision(
    boxes: list[list[float]], scores: list[float], labels: list[int], percent: float
) -> None:
    predictions = Predictions(
        {"boxes": [np.array(boxes).reshape(-1, 4)], "scores": [np.array(scores)], "labels": [np.array(labels)]}
    )
    assert METRICS["map"].score(predictions, [BOXES]) == pytest.approx(percent, abs=0.5)


def test_mean_average_precision_is_that_of_coco() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    outputs: dict[str, list[Array]] = {"boxes": [], "scores": [], "labels": []}
    references: list[dict[str, Array]] = []
    wanted, found = [], []
    for image in range(20):
        corners = rng.uniform(0, 50, (4, 2))
        truth = np.concatenate([corners, corners + rng.uniform(5, 40, (4, 2))], axis=1)
        row = {"boxes": truth + rng.normal(scale=2, size=(4, 4)), "scores": rng.uniform(size=4)}
        reference = {"boxes": truth, "labels": rng.integers(0, 2, 4)}
        row["labels"] = np.where(rng.random(4) < 0.8, reference["labels"], 1 - reference["labels"])
        for name, array in row.items():
            outputs[name].append(array)
        references.append(reference)
        for number in range(4):
            common = {"image_id": image + 1}
            wanted.append(common | _box(reference["boxes"][number], reference["labels"][number]) | {"iscrowd": 0})
            wanted[-1]["id"] = len(wanted)
            found.append(common | _box(row["boxes"][number], row["labels"][number]) | {"score": row["scores"][number]})
    theirs = COCO()
    theirs.dataset = {
        "info": {},
        "images": [{"id": image + 1} for image in range(20)],
        "annotations": wanted,
        "categories": [{"id": 1}, {"id": 2}],
    }
    theirs.createIndex()
    judged = COCOeval(theirs, theirs.loadRes(found), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    expected = 100 * judged.stats[0]
    assert 20 < expected < 90
    assert METRICS["map"].score(Predictions(outputs), references) == pytest.approx(expected, abs=0.01)
    assert METRICS["map50"].score(Predictions(outputs), references) == pytest.approx(100 * judged.stats[1], abs=0.01)


def _box(corners: Array, label: int) -> dict[str, Any]:
    left, top, right, bottom = corners.tolist()
    size = [right - left, bottom - top]
    return {"bbox": [left, top, *size], "area": size[0] * size[1], "category_id": int(label) + 1}


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"wer"}))  # to it, everything is a sequence of words
def test_a_metric_that_does_not_fit_says_so(name: str) -> None:
    predictions = Predictions({"nothing": np.zeros((2, 3, 4, 5))})
    with pytest.raises(MetricError, match=f"^metric {name}"):
        score(METRICS[name], predictions, ["one", {"two": 2}])


@pytest.mark.parametrize(
    ("name", "higher", "value"),
    [
        ("sklearn.metrics.max_error", False, 0.5),
        ("sklearn.metrics.r2_score", True, 0.625),
        ("torchmetrics.regression.MeanAbsoluteError", False, 0.5),
    ],
)
def test_metrics_of_other_libraries_are_taken_as_they_are(name: str, higher: bool, value: float) -> None:
    pytest.importorskip(name.partition(".")[0])
    found = with_metrics(subject(name), METRICS).metrics[0]
    assert isinstance(found, Metric)
    assert found.higher_is_better == higher
    truth = [0.0, 1.0, 2.0]
    assert found.score(Predictions({"y": np.array([[0.5], [1.5], [1.5]])}), truth) == pytest.approx(value)


def no_examples(split: Split) -> list[Example]:  # the same call for all
    return []


def subject(*metrics: str | Metric) -> SubjectModel:
    return SubjectModel(
        name="toy", task="", graph=Path(__file__), examples=ExampleSource("none", no_examples, ()), metrics=metrics
    )


def test_a_metric_of_a_project_is_known_by_the_file_that_it_is_in() -> None:
    own = Metric("own", "own", constant)
    assert merged([own])["own"].sources == (Path(__file__),)
    with pytest.raises(SettingsError, match="there is a metric 'top1' already"):
        merged([Metric("top1", "mine", constant)])
    with pytest.raises(SettingsError, match="which is not a pytest_edgeai"):
        merged([constant])  # type: ignore[list-item]  # what a user may do
    with pytest.raises(SettingsError, match="subject model toy: there is no metric 'mine'"):
        with_metrics(subject("mine"), METRICS)


def constant(predictions: Predictions, references: object) -> float:  # the same call for all
    return 1.0


def test_summaries_give_resamples_what_the_metric_itself_gives() -> None:
    rng = np.random.default_rng(7)
    truth = rng.uniform(0, 40, (12, 2, 2))
    boxes = np.concatenate([truth, truth + 10], axis=2)
    outputs = {
        "boxes": boxes + rng.normal(scale=2, size=boxes.shape),
        "scores": rng.uniform(size=(12, 2)),
        "labels": rng.integers(0, 2, (12, 2)),
    }
    references = [{"boxes": one, "labels": [0, 1]} for one in boxes]
    quick = score(replace(METRICS["map"], resamples=20), Predictions(outputs), references)
    slow = score(replace(METRICS["map"], resamples=20, summaries=None), Predictions(outputs), references)
    assert quick.replicates is not None
    assert slow.replicates is not None
    assert len({*quick.replicates.tolist()}) > 10
    assert quick.replicates == pytest.approx(slow.replicates)
