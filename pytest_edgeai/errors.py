"""Errors for users: each text is one sentence that names what happened, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"
