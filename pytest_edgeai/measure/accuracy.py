"""Accuracy of an artifact: its predictions on the validation examples, computed locally and kept one by one.

It runs the exported graph through the very code that a tier runs, so predictions that come back through the tiers
can be compared with these (parity).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.combinations import Combination, combinations_of
from pytest_edgeai.measure.host import Host
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.parallel.in_process import NodesInProcess
from pytest_edgeai.serving.repository import Execution, Model, infer_chain, part_folders
from pytest_edgeai.store import Artifact, Entry, Recipe, Store, library_versions, source_digest
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.examples import Examples
from pytest_edgeai.subjects.figures import amount
from pytest_edgeai.subjects.metrics import PERCENT, Metric, metric_of
from pytest_edgeai.subjects.predictions import MetricError, Output, Predictions, References, gathered

_PREDICTIONS = "predictions.npz"
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Score:
    """What a metric says about an artifact.

    Parameters
    ----------
    name, label, unit, higher_is_better
        As the metric has them.
    value
        In that unit.
    parts
        What each example adds to the numerator and to the denominator of a ratio, shape [n] each; None for a metric
        that is no ratio.
    replicates
        Of a metric that is no ratio: its values on bootstrap resamples, shape [resamples], NaN where it has none. Those
        of two artifacts on the same examples are of the same resamples.
    correct
        Which examples are right, shape [n]; None where there is no right and wrong.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    value: float
    parts: tuple[Array, Array] | None = None
    replicates: Array | None = None
    correct: Array | None = None

    @property
    def scale(self) -> float:
        """What the ratio of the parts is multiplied by."""
        return 100.0 if self.unit == PERCENT else 1.0

    def __str__(self) -> str:
        """For example `top-1 95.8 %` or `MAE 0.0412`."""
        return f"{self.label} {amount(self.value, self.unit)}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Predictions on the validation examples and the accuracy they amount to.

    Parameters
    ----------
    predictions
        The answers.
    scores
        By metric; none where accuracy is not measured.
    examples
        The digest of the examples' content.
    unmeasured
        Why accuracy is not measured, or empty; see `SubjectModel`.
    combinations
        Of an artifact for several nodes, the first metric of some of them.
    """

    predictions: Predictions
    scores: Mapping[str, Score]
    examples: str = ""
    unmeasured: str = ""
    combinations: tuple[Combination, ...] = ()

    @property
    def metrics(self) -> dict[str, float]:
        """Values by metric."""
        return {name: score.value for name, score in self.scores.items()}

    @property
    def first(self) -> Score:
        """The score that budgets are about."""
        return next(iter(self.scores.values()))


def recipe(
    artifact: Artifact, validation: Examples, subject: SubjectModel, host: Host, baseline: Artifact | None = None
) -> Recipe:
    """What decides an evaluation; the host does because int8 kernels round differently on different processors."""
    return Recipe(
        "evaluations",
        {
            "evaluation": _FORMAT,
            "artifact": artifact.entry.content,
            "samples": validation.content,
            "metrics": [_identity(metric) for metric in metrics_of(subject)],
            "processor": [host.processor, *host.instructions],
            "libraries": library_versions(("onnxruntime", "numpy", "pillow", "tokenizers")),
            **({"unmeasured": subject.unmeasured} if subject.unmeasured else {}),
            **({"baseline": baseline.entry.content} if baseline is not None else {}),
            **({"combinations": 1} if node_folders(artifact.entry.folder) else {}),
        },
    )


def metrics_of(subject: SubjectModel) -> tuple[Metric, ...]:
    """The metrics of a subject model."""
    return tuple(map(metric_of, subject.metrics))


def needs_baseline(subject: SubjectModel) -> bool:
    """Whether a metric compares answers with those of the baseline."""
    return any(metric.compares_with_baseline for metric in metrics_of(subject))


def _identity(metric: Metric) -> Any:
    digests = [source_digest(path) for path in metric.sources]
    return [metric.name, *digests] if digests else metric.name


def evaluate(
    store: Store,
    artifact: Artifact,
    validation: Examples,
    subject: SubjectModel,
    host: Host,
    check: Callable[[Evaluation, References], None],
    baseline: tuple[Artifact, Evaluation] | None = None,
) -> Evaluation:
    """The evaluation of an artifact, computed now if the store does not have it.

    Parameters
    ----------
    store, artifact, validation, subject, host
        As in `recipe`.
    check
        Raises where the artifact cannot be used, given the references; its evaluation is not kept then.
    baseline
        What metrics compare with that need a baseline; the artifact itself where it is None.

    Raises
    ------
    MetricError
        A metric does not fit the answers or the references.
    """

    def build(folder: Path) -> Mapping[str, Any]:
        answers, by_node, aggregation = _answers(artifact.entry.folder, validation)
        predictions = gathered(answers, has_classes=subject.has_classes)
        usual = predictions if baseline is None else baseline[1].predictions
        metrics = () if subject.unmeasured else metrics_of(subject)
        truths = [usual.values if metric.compares_with_baseline else references for metric in metrics]
        scores = {metric.name: score(metric, predictions, truth) for metric, truth in zip(metrics, truths, strict=True)}
        combinations: tuple[Combination, ...] = ()
        if aggregation is not None and metrics:
            combinations = combinations_of(aggregation, by_node, lambda told: _value(metrics[0], told, truths[0]))
        found = Evaluation(predictions, scores, validation.content, subject.unmeasured, combinations)
        if not subject.unmeasured:
            check(found, references)
        return _write(folder, found)

    references = validation.references
    other = None if baseline is None else baseline[0]
    return load(store.find_or_build(recipe(artifact, validation, subject, host, other), build))


def score(metric: Metric, predictions: Predictions, references: References) -> Score:
    """What a metric says about predictions.

    Parameters
    ----------
    metric
        The metric.
    predictions, references
        Of n examples each.

    Raises
    ------
    MetricError
        It does not fit them, fails, or gives no finite number.
    """
    value = _value(metric, predictions, references)
    with _blamed_on(metric):
        parts = None if metric.parts is None else metric.parts(predictions, references)
        correct = None if metric.correct is None else metric.correct(predictions, references)
    replicates = _replicates(metric, predictions, references) if parts is None else None
    return Score(metric.name, metric.label, metric.unit, metric.higher_is_better, value, parts, replicates, correct)


def _value(metric: Metric, predictions: Predictions, references: References) -> float:
    with _blamed_on(metric):
        value = float(metric.score(predictions, references))
    if not np.isfinite(value):
        raise MetricError(f"metric {metric.name} is {value}, which is not a number to compare")
    return value


@contextlib.contextmanager
def _blamed_on(metric: Metric) -> Iterator[None]:
    """Name the metric in every failure of it."""
    try:
        yield
    except MetricError as error:
        raise MetricError(f"metric {metric.name}: {error}") from None
    except Exception as error:
        raise MetricError(f"metric {metric.name} fails: {type(error).__name__}: {error}") from error


def _replicates(metric: Metric, predictions: Predictions, references: References) -> Array:
    """The metric on resamples of the examples; two artifacts have the same, since the seed is fixed."""
    random = np.random.default_rng(0)
    count = len(predictions)
    found = np.full(metric.resamples, np.nan)
    computed = _resampled(metric, predictions, references)
    for number in range(metric.resamples):
        drawn = random.integers(0, count, count)
        try:
            found[number] = computed(drawn)
        except Exception:  # noqa: BLE001  # a resample may lack what the metric needs, such as one of the classes
            continue
    return found


def _resampled(metric: Metric, predictions: Predictions, references: References) -> Callable[[Array], float]:
    """What computes the metric on some of the examples, by their numbers."""
    if metric.summaries is not None and metric.combined is not None:
        summaries, combined = metric.summaries(predictions, references), metric.combined
        return lambda drawn: combined([summaries[number] for number in drawn])

    def compute(drawn: Array) -> float:
        taken = references[drawn] if isinstance(references, np.ndarray) else [references[number] for number in drawn]
        return metric.score(predictions.take(drawn), taken)

    return compute


def _answers(
    folder: Path, validation: Examples
) -> tuple[list[dict[str, Array]], list[list[dict[str, Array]]], Aggregation | None]:
    """What an artifact's graphs answer in this process, and of several nodes what each does, and what is made of it."""
    if node_folders(folder):
        nodes = NodesInProcess(folder)
        by_node = [nodes.answers(one.inputs) for one in validation]
        return [nodes.aggregation(told) for told in by_node], by_node, nodes.aggregation
    parts = [Model(part, Execution()) for part in part_folders(folder)]
    return [infer_chain(parts, one.inputs) for one in validation], [], None


def _write(folder: Path, evaluation: Evaluation) -> Mapping[str, Any]:
    """Write the arrays of an evaluation; the rest of it as JSON values."""
    arrays: dict[str, Array] = {}
    outputs = []
    for number, (name, output) in enumerate(evaluation.predictions.outputs.items()):
        rows = {f"output{number}": output} if isinstance(output, np.ndarray) else _numbered(number, output)
        arrays.update(rows)
        outputs.append({"name": name, "arrays": list(rows), "stacked": isinstance(output, np.ndarray)})
    scores = []
    for number, one in enumerate(evaluation.scores.values()):
        kept = {"replicates": one.replicates, "correct": one.correct}
        if one.parts is not None:
            kept |= {"numerator": one.parts[0], "denominator": one.parts[1]}
        arrays.update({f"score{number}.{what}": array for what, array in kept.items() if array is not None})
        described = {"name": one.name, "label": one.label, "unit": one.unit, "higher_is_better": one.higher_is_better}
        scores.append({**described, "value": one.value})
    np.savez(folder / _PREDICTIONS, **arrays)
    return {
        "metrics": evaluation.metrics,
        "scores": scores,
        "outputs": outputs,
        "has_classes": evaluation.predictions.has_classes,
        "samples": len(evaluation.predictions),
        "examples": evaluation.examples,
        "unmeasured": evaluation.unmeasured,
        "combinations": [{"nodes": list(one.nodes), "value": one.value} for one in evaluation.combinations],
    }


def _numbered(number: int, rows: Sequence[Array]) -> dict[str, Array]:
    return {f"output{number}.{place}": row for place, row in enumerate(rows)}


def load(entry: Entry) -> Evaluation:
    """Read an evaluation from its entry."""
    provenance = entry.provenance
    with np.load(entry.folder / _PREDICTIONS) as arrays:
        outputs: dict[str, Output] = {}
        for one in provenance["outputs"]:
            rows = [arrays[name] for name in one["arrays"]]
            outputs[one["name"]] = rows[0] if one["stacked"] else rows
        scores = {}
        for number, one in enumerate(provenance["scores"]):
            kept = {what: arrays.get(f"score{number}.{what}") for what in ("replicates", "correct")}
            numerator = arrays.get(f"score{number}.numerator")
            parts = None if numerator is None else (numerator, arrays[f"score{number}.denominator"])
            scores[one["name"]] = Score(**one, parts=parts, **kept)
    predictions = Predictions(outputs, provenance["has_classes"])
    combinations = tuple(Combination(tuple(one["nodes"]), one["value"]) for one in provenance.get("combinations", ()))
    return Evaluation(predictions, scores, provenance["examples"], provenance.get("unmeasured", ""), combinations)
