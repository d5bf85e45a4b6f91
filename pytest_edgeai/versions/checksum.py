"""The checksum of a saved session: what tells that nobody has changed it, and that it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from pytest_edgeai.errors import VersionError

_OURS: Final = "edgeai"
_FIELD: Final = "checksum"
_KIND: Final = "sha256:"


class ChecksumError(VersionError):
    """A saved session that is not what was saved; one sentence."""


def sign(document: dict[str, Any]) -> dict[str, Any]:
    """Put the checksum into the document of a session, in the place of one that is there; returns the document.

    Parameters
    ----------
    document
        The content of a file of pytest-benchmark, with our part.
    """
    from pytest_benchmark.utils import SafeJSONEncoder

    written = json.loads(
        json.dumps(_content(document), cls=SafeJSONEncoder)
    )  # as it is in the file: keys of any type are texts there
    document[_OURS][_FIELD] = _checksum(written)
    return document


def is_signed(document: Mapping[str, Any]) -> bool:
    """Whether a session has a checksum; those that were saved before there were any have none."""
    ours = document.get(_OURS)
    return isinstance(ours, Mapping) and _FIELD in ours


def verify(document: Mapping[str, Any], name: str) -> str:
    """Refuse a session that was changed after it was saved.

    Parameters
    ----------
    document
        The content of a file of pytest-benchmark.
    name
        Of the file, for messages.

    Returns
    -------
    str
        What is to be said of it, where it has no checksum; or empty.

    Raises
    ------
    ChecksumError
        Its content is not that of its checksum.
    """
    if not isinstance(document.get(_OURS), Mapping):
        return ""  # no session of ours, which whoever reads it says
    if not is_signed(document):
        return f"{name} was saved before sessions had checksums: whether it was changed since is not known"
    if document[_OURS][_FIELD] != _checksum(_content(document)):
        raise ChecksumError(
            f"{name} is not what was saved: its checksum does not fit its content, so it was edited or damaged; "
            "restore the file from where it was kept, or delete it and measure that commit again"
        )
    return ""


def _content(document: Mapping[str, Any]) -> dict[str, Any]:
    """All that comparisons and the history read."""
    benchmarks = document.get("benchmarks")
    trials = [
        [one.get("fullname"), one["extra_info"][_OURS]]
        for one in (benchmarks if isinstance(benchmarks, list) else ())
        if isinstance(one, Mapping) and isinstance(one.get("extra_info"), Mapping) and _OURS in one["extra_info"]
    ]
    return {
        "commit_info": document.get("commit_info"),
        "datetime": document.get("datetime"),
        _OURS: {key: value for key, value in document[_OURS].items() if key != _FIELD},
        "trials": trials,
    }


def _checksum(content: Mapping[str, Any]) -> str:
    """Of JSON values, whatever the layout of the file that they are from."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return _KIND + hashlib.sha256(canonical.encode("ascii")).hexdigest()
