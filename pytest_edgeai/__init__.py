"""Which model-compression operator, on which tier, is fast enough and still accurate enough.

This package is a pytest plugin; `pytest_edgeai.plugin` is its entry point. `__all__` is what other projects may import
from here; everything else is internal and may move. Names are imported when they are used, so that importing this
module costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_edgeai.collection.state import settings_of
    from pytest_edgeai.errors import EdgeAIError, SettingsError
    from pytest_edgeai.measure.records import MeasuredRequest, TrialRecord
    from pytest_edgeai.operators import BuildError, Job, NetworkOperator, NoParameters, Operator
    from pytest_edgeai.operators.composition import Composition
    from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline, TextPreprocess
    from pytest_edgeai.settings import Settings
    from pytest_edgeai.stats import analyze
    from pytest_edgeai.subjects import Example, ExampleSource, SubjectError, SubjectModel, Training
    from pytest_edgeai.subjects.metrics import Metric
    from pytest_edgeai.subjects.predictions import MetricError, Predictions
    from pytest_edgeai.tiers.backend import (
        Backend,
        BackendContext,
        BackendFactory,
        Deployment,
        DeploymentSpec,
        TierError,
        TierState,
    )

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendContext",
    "BackendFactory",
    "BuildError",
    "Classification",
    "Composition",
    "Deployment",
    "DeploymentSpec",
    "EdgeAIError",
    "Example",
    "ExampleSource",
    "ImagePreprocess",
    "Job",
    "MeasuredRequest",
    "Metric",
    "MetricError",
    "NetworkOperator",
    "NoParameters",
    "Operator",
    "Pipeline",
    "Predictions",
    "Settings",
    "SettingsError",
    "SubjectError",
    "SubjectModel",
    "TextPreprocess",
    "TierError",
    "TierState",
    "Training",
    "TrialRecord",
    "__version__",
    "analyze",
    "settings_of",
]

_HOMES: Final = {
    "collection.state": ("settings_of",),
    "errors": ("EdgeAIError", "SettingsError"),
    "measure.records": ("MeasuredRequest", "TrialRecord"),
    "operators": ("BuildError", "Job", "NetworkOperator", "NoParameters", "Operator"),
    "operators.composition": ("Composition",),
    "serving.pipeline": ("Classification", "ImagePreprocess", "Pipeline", "TextPreprocess"),
    "settings": ("Settings",),
    "stats": ("analyze",),
    "subjects": ("Example", "ExampleSource", "SubjectError", "SubjectModel", "Training"),
    "subjects.metrics": ("Metric",),
    "subjects.predictions": ("MetricError", "Predictions"),
    "tiers.backend": (
        "Backend",
        "BackendContext",
        "BackendFactory",
        "Deployment",
        "DeploymentSpec",
        "TierError",
        "TierState",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
