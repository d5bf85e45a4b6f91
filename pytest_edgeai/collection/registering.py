"""What there is to measure: what settings declare, what is installed, and what hooks add."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pytest_edgeai.collection.declared import subject_of
from pytest_edgeai.errors import SettingsError

if TYPE_CHECKING:
    from pytest_edgeai.operators import Operator
    from pytest_edgeai.settings import Settings
    from pytest_edgeai.subjects import SubjectModel
    from pytest_edgeai.subjects.metrics import Metric


def subject_models(
    settings: Settings, hooked: Iterable[SubjectModel] = (), metrics: Iterable[Metric] = ()
) -> dict[str, SubjectModel]:
    """Subject models by name, those of hooks before those of the settings; their metrics are known.

    Parameters
    ----------
    settings
        With the declared ones.
    hooked, metrics
        What the hooks of a project add.

    Raises
    ------
    SettingsError
        A subject model or a metric cannot be used, or two have one name.
    """
    from pytest_edgeai.subjects import metric_registry

    known = metric_registry.merged(metrics)
    where = settings.origins.of
    declared = [subject_of(name, table, where(f"subjects.{name}")) for name, table in settings.subjects.items()]
    subjects: dict[str, SubjectModel] = {}
    for subject in itertools.chain(hooked, declared):
        if subject.name in subjects:
            raise SettingsError(f"two subject models are named {subject.name!r}")
        try:
            subjects[subject.name] = metric_registry.with_metrics(subject, known)
        except SettingsError as error:
            said_in = f"{where(f'subjects.{subject.name}.metrics')}: " if subject.name in settings.subjects else ""
            raise SettingsError(f"{said_in}{error}") from None
    return subjects


def operators(settings: Settings, hooked: Iterable[type[Operator[Any]]] = ()) -> dict[str, Operator[Any]]:
    """Operators by name with their parameters, and the chains that the settings name.

    Parameters
    ----------
    settings
        With the parameters.
    hooked
        What the hooks of a project add to the installed ones.

    Raises
    ------
    SettingsError
        An operator, a parameter or a chain cannot be used.
    """
    from pytest_edgeai.operators import chains, registry

    where = settings.origins.of
    known = registry.instantiate(registry.merged(hooked), settings.operator_parameters, where("operator_parameters"))
    known = chains.with_chains(known, ())
    for name, setting in settings.operator_names.items():
        try:
            known = chains.with_chains(known, (name,))
        except SettingsError as error:
            raise SettingsError(f"{where(setting)}: {error}") from None
    return known
