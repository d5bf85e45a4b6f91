"""Hooks by which a project or another plugin adds to the matrix.

They are ordinary pytest hooks: define a function of the name in `conftest.py` or in a plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_edgeai.operators import Operator
    from pytest_edgeai.subjects import SubjectModel
    from pytest_edgeai.subjects.metrics import Metric
    from pytest_edgeai.tiers.backend import BackendFactory


@pytest.hookspec
def pytest_edgeai_subjects(config: pytest.Config) -> Sequence[SubjectModel]:  # type: ignore[empty-body]  # a hook has none
    """Return subject models; the matrix has a row for each.

    ::

        from models import resnet


        def pytest_edgeai_subjects(config):
            return [resnet.SUBJECT]

    The session's settings are in `pytest_edgeai.settings_of(config)` by then.
    """


@pytest.hookspec
def pytest_edgeai_operators(config: pytest.Config) -> Sequence[type[Operator[Any]]]:  # type: ignore[empty-body]  # a hook has none
    """Return operator classes, beside those of the entry points `pytest_edgeai.operators`.

    ::

        from my_operators import Halved


        def pytest_edgeai_operators(config):
            return [Halved]

    The class has to be at the top of an importable module, because artifacts are built in another process.
    """


@pytest.hookspec
def pytest_edgeai_metrics(config: pytest.Config) -> Sequence[Metric]:  # type: ignore[empty-body]  # a hook has none
    """Return metrics, beside those that are built in and those of the entry points `pytest_edgeai.metrics`.

    ::

        from my_metrics import within_a_degree  # (predictions, references) -> float


        def pytest_edgeai_metrics(config):
            return [pytest_edgeai.Metric("within", "within a degree", within_a_degree)]
    """


@pytest.hookspec
def pytest_edgeai_tiers(config: pytest.Config) -> Mapping[str, object] | None:
    """Return a topology in the form of the settings' table `topology`; the settings file wins over it.

    ::

        def pytest_edgeai_tiers(config):
            return {
                "origin": "sensor",
                "tiers": {"sensor": {"cores": 1, "memory": "1 GiB"}, "hub": {"cores": 4, "memory": "8 GiB"}},
                "links": {"sensor-hub": {"rate": "5 Mbit/s"}},
            }
    """


@pytest.hookspec
def pytest_edgeai_backends(config: pytest.Config) -> Mapping[str, BackendFactory] | None:
    """Return ways to run tiers, by the name that `--edgeai-backend` takes.

    ::

        def pytest_edgeai_backends(config):
            return {"lab": LabBackend}
    """
