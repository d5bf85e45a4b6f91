"""Metrics by name: those built in, a project's own, and those of scikit-learn and torchmetrics as they are."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.metrics import METRICS, Metric, classes_of, numbers_of
from pytest_edgeai.subjects.predictions import Predictions, References, integers

GROUP = "pytest_edgeai.metrics"
_LIBRARIES = ("sklearn", "torchmetrics")
_LOWER_IS_BETTER = ("_error", "_loss", "_deviance", "_distance", "_percentage_error")
"""How scikit-learn names functions that return something to minimize."""


def merged(registered: Iterable[Metric]) -> dict[str, Metric]:
    """The metrics that are built in, those of entry points, and those of the hook.

    Raises
    ------
    SettingsError
        One is not a metric, or two have one name.
    """
    found = dict(METRICS)
    for point in metadata.entry_points(group=GROUP):
        try:
            _add(found, point.load(), f"the entry point {point.name} of {GROUP}")
        except (ImportError, AttributeError) as error:
            raise SettingsError(f"the entry point {point.name} = {point.value} of {GROUP} fails: {error}") from None
    for metric in registered:
        _add(found, metric, "the hook pytest_edgeai_metrics")
    return found


def with_metrics(subject: SubjectModel, known: Mapping[str, Metric]) -> SubjectModel:
    """A subject model whose metrics are all `Metric`.

    Raises
    ------
    SettingsError
        A name is unknown.
    """
    metrics = tuple(
        with_sources(one) if isinstance(one, Metric) else _named(one, known, subject.name) for one in subject.metrics
    )
    return replace(subject, metrics=metrics)


def with_sources(metric: Metric) -> Metric:
    """A metric of a project with the file that its function is in, so that a change of it is seen."""
    function: Any = metric.score
    while isinstance(function, functools.partial):
        function = function.func
    if metric.sources or METRICS.get(metric.name) == metric:
        return metric
    try:
        file = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
    except TypeError:
        file = None
    return metric if file is None else replace(metric, sources=(Path(file),))


def _add(found: dict[str, Metric], metric: object, where: str) -> None:
    if not isinstance(metric, Metric):
        raise SettingsError(f"{where} returned {metric!r}, which is not a pytest_edgeai.Metric")
    if metric.name in found:
        raise SettingsError(f"{where}: there is a metric {metric.name!r} already")
    found[metric.name] = with_sources(metric)


def _named(name: str, known: Mapping[str, Metric], model: str) -> Metric:
    if name in known:
        return known[name]
    library = name.partition(".")[0]
    if library not in _LIBRARIES:
        raise SettingsError(f"subject model {model}: {unknown('metric', name, tuple(known))}")
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"subject model {model}: metric {name!r} cannot be imported: {error}") from None
    if library == "sklearn":
        higher = not attribute.endswith(_LOWER_IS_BETTER)
        return Metric(name, attribute, SklearnScore(name), unit="", higher_is_better=higher)
    direction = getattr(found, "higher_is_better", None)
    if direction is None:
        raise SettingsError(
            f"subject model {model}: metric {name!r} does not say whether higher is better; wrap it in a "
            "pytest_edgeai.Metric"
        )
    return Metric(name, attribute, TorchmetricsScore(name), unit="", higher_is_better=direction, resamples=200)


@dataclass(frozen=True, slots=True)
class SklearnScore:
    """Calls a function of scikit-learn with references and predictions.

    Parameters
    ----------
    path
        Of the function, for example `sklearn.metrics.max_error`.
    """

    path: str

    def __call__(self, predictions: Predictions, references: References) -> float:
        """The function's value."""
        return float(_imported(self.path)(*reversed(_plain(predictions, references))))


@dataclass(frozen=True, slots=True)
class TorchmetricsScore:
    """Computes a metric of torchmetrics that can be made without arguments.

    Parameters
    ----------
    path
        Of the class, for example `torchmetrics.regression.SpearmanCorrCoef`.
    """

    path: str

    def __call__(self, predictions: Predictions, references: References) -> float:
        """The metric's value."""
        import torch

        found, wanted = (torch.from_numpy(np.ascontiguousarray(one)) for one in _plain(predictions, references))
        return float(_imported(self.path)()(found, wanted))


def _imported(path: str) -> Any:
    module, _, attribute = path.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _plain(predictions: Predictions, references: References) -> tuple[Array, Array]:
    """One prediction and one reference for each example: classes where references are, else numbers."""
    values = predictions.values
    is_classifier = predictions.has_classes or (isinstance(values, np.ndarray) and values.size != len(values))
    if integers(references) is not None and is_classifier:
        return predictions.ranked[:, 0], classes_of(references)
    return predictions.numbers, numbers_of(references)
