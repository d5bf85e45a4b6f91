"""What `edgeai clean` removes from a store: entries that a manifest of ours names, and nothing else.

Symbolic links are never followed. A folder that is not marked as a store is touched only where it holds nothing but
entries, as a store of an earlier version does.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.store import KINDS, MANIFEST, MARKER, PARTIAL, Kind, Store

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOCK = re.compile(r"[0-9a-f]{64}\.lock")
_LOGS = "logs"


class NotOursError(EdgeAIError):
    """A folder that `edgeai clean` does not touch; one sentence."""


@dataclass(frozen=True, slots=True)
class Removable:
    """An entry, or what a build that was killed left of one.

    Parameters
    ----------
    kind, digest
        Its shelf and the digest of its recipe.
    folder
        Where it is.
    what
        Model and operator, where its recipe has these; else empty.
    size_bytes
        Of its files.
    used_at
        When it was last read, in seconds since the epoch.
    """

    kind: Kind
    digest: str
    folder: Path
    what: str
    size_bytes: int
    used_at: float


def refuse_what_is_not_ours(store: Store) -> str:
    """Refuse a folder that is not a store.

    Returns
    -------
    str
        A sentence where the folder is not marked and holds nothing but entries; empty where it is marked or not there.

    Raises
    ------
    NotOursError
        It is not marked as a store and holds something else.
    """
    if store.marked or not store.root.exists():
        return ""
    if not store.root.is_dir():
        raise NotOursError(f"{store.root} is not a folder")
    foreign = next(_foreign(store), None)
    if foreign is not None:
        raise NotOursError(
            f"{store.root} is not an artifact store: it has no {MARKER}, and {foreign} is none of a store's entries"
        )
    return f"{store.root} has no {MARKER} but holds nothing except entries: it is taken for a store"


def removable(store: Store, *, used_before: float | None = None) -> tuple[Removable, ...]:
    """What may be removed from a store, in the order of its shelves.

    Parameters
    ----------
    store
        The store.
    used_before
        Only what was last read before this time (seconds since the epoch), or None for all.
    """
    found = []
    for kind in KINDS:
        for folder in _folders(store.root / kind):
            digest = folder.name.removeprefix(PARTIAL)
            manifest = _manifest(folder)
            if _DIGEST.fullmatch(digest) is None or (manifest is None and digest == folder.name):
                continue
            used_at = folder.stat().st_mtime
            if used_before is None or used_at < used_before:
                found.append(Removable(kind, digest, folder, _what(manifest), _size_bytes(folder), used_at))
    return tuple(found)


def remove(one: Removable) -> bool:
    """Remove an entry; False where a process is building it."""
    try:
        with FileLock(one.folder.parent / f"{one.digest}.lock", timeout=0):
            shutil.rmtree(one.folder)
    except (Timeout, FileNotFoundError):  # or another process has removed it meanwhile
        return False
    return True


def _foreign(store: Store) -> Iterator[Path]:
    """Whatever a store would not have."""
    for path in sorted(store.root.iterdir()):
        if path.is_symlink() or not path.is_dir() or path.name not in (*KINDS, _LOGS):
            yield path
        elif path.name != _LOGS:
            yield from (inner for inner in sorted(path.iterdir()) if not _is_ours(inner))


def _is_ours(path: Path) -> bool:
    if path.is_symlink():
        return False
    if not path.is_dir():
        return _LOCK.fullmatch(path.name) is not None
    if path.name.startswith(PARTIAL):
        return _DIGEST.fullmatch(path.name.removeprefix(PARTIAL)) is not None
    return _DIGEST.fullmatch(path.name) is not None and _manifest(path) is not None


def _folders(shelf: Path) -> list[Path]:
    if shelf.is_symlink() or not shelf.is_dir():
        return []
    return sorted(path for path in shelf.iterdir() if path.is_dir() and not path.is_symlink())


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    try:
        manifest = None if path.is_symlink() else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(manifest, dict) and {"recipe", "provenance", "files"} <= manifest.keys()
    return manifest if ours else None


def _what(manifest: dict[str, Any] | None) -> str:
    try:
        recipe = {} if manifest is None else manifest["recipe"]
        return f"{recipe['subject']['name']}-{recipe['operator']['name']}"
    except (KeyError, TypeError):
        return ""


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())
