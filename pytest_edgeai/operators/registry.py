"""The operators that are installed: entry points of the group `pytest_edgeai.operators`, and those of the hook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from pytest_edgeai.errors import SettingsError, unknown, wrong_value
from pytest_edgeai.operators import Operator

GROUP = "pytest_edgeai.operators"
_STUDYS_ORDER = ("identity", "sptq", "qat", "pruned", "distilled", "dsptq", "partition", "sptq_partition")


def installed() -> dict[str, type[Operator[Any]]]:
    """The classes that entry points name.

    Raises
    ------
    SettingsError
        An entry point does not lead to an operator.
    """
    classes: dict[str, type[Operator[Any]]] = {}
    for point in metadata.entry_points(group=GROUP):
        try:
            classes[point.name] = _checked(point.load())
        except (ImportError, AttributeError, TypeError) as error:
            raise SettingsError(f"the entry point {point.name} = {point.value} of {GROUP} fails: {error}") from None
    return classes


def merged(registered: Iterable[type[Operator[Any]]]) -> dict[str, type[Operator[Any]]]:
    """The installed operators in the study's order, then those of the hook, which win over installed ones.

    Raises
    ------
    SettingsError
        What a hook returned is not an operator.
    """
    classes = installed()
    order = {name: number for number, name in enumerate(_STUDYS_ORDER)}
    classes = dict(sorted(classes.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    for one in registered:
        try:
            classes[_checked(one).name] = one
        except TypeError as error:
            raise SettingsError(f"the hook pytest_edgeai_operators returned {one!r}: {error}") from None
    return classes


def instantiate(
    classes: Mapping[str, type[Operator[Any]]],
    parameters: Mapping[str, Mapping[str, Any]],
    where: str = "operator_parameters",
) -> dict[str, Operator[Any]]:
    """Operators with their parameters from the settings.

    Parameters
    ----------
    classes
        By name.
    parameters
        Values that are not the default, by operator.
    where
        Where they come from, for the message.

    Raises
    ------
    SettingsError
        A parameter is unknown or wrong, or its operator is unknown.
    """
    for name in parameters:
        if name not in classes:
            raise SettingsError(f"{where}: {unknown('operator', name, classes)}")
    operators = {}
    for name, one in classes.items():
        try:
            operators[name] = one(one.parameters_type.model_validate(parameters.get(name, {})))
        except ValidationError as error:
            lines = [_describe(where, name, one, detail) for detail in error.errors()]
            raise SettingsError("\n".join(lines)) from None
    return operators


def _checked(one: Any) -> type[Operator[Any]]:
    if not (isinstance(one, type) and issubclass(one, Operator) and isinstance(getattr(one, "name", None), str)):
        raise TypeError("it is not a class derived from pytest_edgeai.operators.Operator with a name")
    return one


def _describe(where: str, name: str, one: type[Operator[Any]], detail: Any) -> str:
    location = ".".join([where, name, *map(str, detail["loc"])])
    if detail["type"] == "extra_forbidden":
        return f"{location}: {unknown('parameter', str(detail['loc'][-1]), tuple(one.parameters_type.model_fields))}"
    return f"{location}: {wrong_value(detail)}"
