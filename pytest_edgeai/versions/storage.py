"""All saved sessions of pytest-benchmark's storage as summaries, with an index so that each file is read once."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_edgeai.errors import VersionError
from pytest_edgeai.versions.checksum import verify
from pytest_edgeai.versions.recording import KEY
from pytest_edgeai.versions.summaries import Summary, summarize

INDEX: Final = "edgeai-history.index"
PRUNED: Final = "edgeai-history.pruned"
"""Files in the storage; pytest-benchmark lists everything that ends in .json there."""
_FORMAT: Final = 1
_SCHEME: Final = "file://"
_PATTERN: Final = "*/[0-9]*_*.json"
Stamp: TypeAlias = tuple[int, int]
"""Size in bytes, and when it was changed, in nanoseconds: a file with the same ones is taken to be the same."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a storage holds.

    Parameters
    ----------
    sessions
        Summaries of saved sessions, and of pruned ones, in no order.
    refused
        A sentence for each file that cannot be used.
    """

    sessions: tuple[Summary, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the index knows of a file: its state when it was read, and the session, if it holds one of this plugin."""

    stamp: Stamp
    summary: Summary | None


def storage_folder(storage: str, root: Path) -> Path:
    """The folder of a storage.

    Parameters
    ----------
    storage
        As pytest-benchmark's option `--benchmark-storage` takes it.
    root
        Where relative paths start.

    Raises
    ------
    VersionError
        It is not a folder.
    """
    if "://" in storage and not storage.startswith(_SCHEME):
        raise VersionError(f"sessions are found in files only, not at {storage}: name a folder")
    folder = root / storage.removeprefix(_SCHEME)
    if not folder.is_dir():
        raise VersionError(f"no session is saved in {folder}: save one by pytest … --benchmark-autosave")
    return folder


def session_files(folder: Path) -> list[Path]:
    """The files of saved sessions, of this plugin or not."""
    return sorted(folder.glob(_PATTERN))


def read_storage(folder: Path, tell: Callable[[str], object] = lambda _sentence: None) -> Stored:
    """Read all saved sessions; those that the index knows are not opened.

    Parameters
    ----------
    folder
        Of the storage. The index is written there, if that is possible.
    tell
        Is given a sentence before many files are read.
    """
    known = _read_index(folder / INDEX)
    entries: dict[str, _Entry] = {}
    sessions: dict[str, Summary] = {one.file: one for one in pruned_sessions(folder)}
    refused: list[str] = []
    unknown: list[tuple[str, Path, Stamp]] = []
    for path in session_files(folder):
        name = path.relative_to(folder).as_posix()
        with contextlib.suppress(FileNotFoundError):  # pruned meanwhile
            state = path.stat()
            stamp = (state.st_size, state.st_mtime_ns)
            entry = known.get(name)
            if entry is None or entry.stamp != stamp:
                unknown.append((name, path, stamp))
            else:
                entries[name] = entry
    if len(unknown) > 100:
        tell(f"reading {len(unknown)} sessions that the index does not have yet …")
    for name, path, stamp in unknown:
        try:
            entries[name] = _Entry(stamp, read_session(path, name))
        except VersionError as error:
            refused.append(str(error))
    sessions |= {name: entry.summary for name, entry in entries.items() if entry.summary is not None}
    if entries != known:
        _write_index(folder / INDEX, entries)
    return Stored(tuple(sessions.values()), tuple(refused))


def read_session(path: Path, name: str) -> Summary | None:
    """The summary of a file; None where it holds no session of this plugin.

    Parameters
    ----------
    path, name
        As for `read_document`.

    Raises
    ------
    VersionError
        It cannot be read, or is not what was saved.
    """
    document = read_document(path, name)
    if not isinstance(document.get(KEY), dict):
        return None
    verify(document, name)
    return summarize(document, name)


def read_document(path: Path, name: str) -> dict[str, Any]:
    """What pytest-benchmark has saved in a file.

    Parameters
    ----------
    path
        The file.
    name
        What to call it.

    Raises
    ------
    VersionError
        It cannot be read, or is no such file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VersionError(f"{name} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise VersionError(
            f"{name} is no JSON ({error}): if it was cut off, restore it, or delete it and measure that commit again"
        ) from None
    if not isinstance(document, dict):
        raise VersionError(f"{name} is not a file of pytest-benchmark")
    return document


def pruned_sessions(folder: Path) -> Iterator[Summary]:
    """What is kept of sessions whose files were pruned.

    Raises
    ------
    VersionError
        The file that keeps them is damaged.
    """
    path = folder / PRUNED
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield Summary.from_json(json.loads(line))
        except (KeyError, TypeError, ValueError):
            raise VersionError(
                f"line {number} of {path} is damaged: restore the file, or delete the line and that session with it"
            ) from None


def _read_index(path: Path) -> Mapping[str, _Entry]:
    """What is known of files by name; nothing where the index is missing, damaged or of another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            return {}
        found = {}
        for name, (size_bytes, changed_ns, summary) in document["files"].items():
            found[name] = _Entry((size_bytes, changed_ns), None if summary is None else Summary.from_json(summary))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _write_index(path: Path, entries: Mapping[str, _Entry]) -> None:
    """Write it whole or not at all; a storage that cannot be written is read again next time."""
    files = {
        name: (*entry.stamp, None if entry.summary is None else entry.summary.as_json())
        for name, entry in entries.items()
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps({"format": _FORMAT, "files": files}, separators=(",", ":")), encoding="utf-8")
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
