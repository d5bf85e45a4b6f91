"""Errors for users: each text is one sentence that names what happened, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_WANTED: Final[Mapping[str, str]] = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "greater than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "finite_number": "finite",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a string",
    "tuple_type": "an array",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "mapping_type": "a table",
}
"""What a setting must be, by the types of pydantic's errors."""


class EdgeAIError(Exception):
    """Base of all errors that a user may see; its text is a sentence without a traceback.

    Each module that raises errors of its own kind derives them from this class.
    """


class SettingsError(EdgeAIError, ValueError):
    """Settings that cannot be used; names the file or option, the setting and what to do."""


class VersionError(EdgeAIError):
    """Another version of the project, or a saved session of it, cannot be had: git failed, or a file is not usable."""


class ReportError(EdgeAIError):
    """A report that cannot be written."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """A sentence that a name is unknown, with the nearest known one.

    Parameters
    ----------
    kind
        What the name is of, for example `operator`.
    name
        What was asked for.
    known
        The names that there are, in the order in which to list them.
    """
    names = list(known)
    near = nearest(name, names)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"there is no {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"


def nearest(name: str, known: Iterable[str], *, least: float = 0.6) -> str:
    """The known name that is most like another one; empty where none is like it.

    Parameters
    ----------
    name
        What was asked for.
    known
        The names that there are.
    least
        How much of them has to agree, from 0 to 1.
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=least)), "")


def wrong_value(detail: Mapping[str, Any]) -> str:
    """A sentence about a value that pydantic has refused.

    Parameters
    ----------
    detail
        One of the errors that pydantic lists.
    """
    given = detail["input"]
    if detail["type"] == "literal_error":
        names = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        return unknown(str(detail["loc"][-1]), str(given), names)
    if detail["type"] == "value_error":
        return str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "missing":
        return "it is missing"
    wanted = _WANTED.get(detail["type"])
    said = detail["msg"] if wanted is None else f"it must be {wanted.format(**detail.get('ctx', {}))}"
    return f"{said} (got {given!r})"
