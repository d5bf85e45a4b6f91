"""Deleting the files of old saved sessions; what the history shows of them is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_edgeai.versions.history import in_order
from pytest_edgeai.versions.storage import PRUNED, Stored
from pytest_edgeai.versions.summaries import Summary


@dataclass(frozen=True, slots=True)
class Removable:
    """A file that can go.

    Parameters
    ----------
    path
        The file.
    size_bytes
        Its size.
    summary
        What is kept of it.
    """

    path: Path
    size_bytes: int
    summary: Summary


def removable(folder: Path, stored: Stored, keep: int) -> list[Removable]:
    """The files of all but the newest sessions, oldest first; sessions of each machine are counted apart.

    Parameters
    ----------
    folder
        Of the storage.
    stored
        What it holds. Files that are not of this plugin, or damaged, are not in it and stay.
    keep
        How many sessions stay in each folder of the storage.
    """
    by_machine: dict[Path, list[Removable]] = {}
    for one in in_order(stored.sessions):
        path = folder / one.file
        if path.is_file():  # else it was pruned before
            by_machine.setdefault(path.parent, []).append(Removable(path, path.stat().st_size, one))
    return [one for found in by_machine.values() for one in found[: max(len(found) - keep, 0)]]


def prune(folder: Path, found: Sequence[Removable]) -> None:
    """Delete files, after what is kept of them is on the disk.

    Raises
    ------
    OSError
        Something cannot be written or deleted.
    """
    with (folder / PRUNED).open("a", encoding="utf-8") as kept:
        for one in found:
            kept.write(json.dumps(one.summary.as_json(), separators=(",", ":")) + "\n")
        kept.flush()
        os.fsync(kept.fileno())
    for one in found:
        one.path.unlink(missing_ok=True)
