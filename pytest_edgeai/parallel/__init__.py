"""Artifacts that several nodes of a tier work on at the same time: variants, groups of classes, copies.

Such an artifact has a folder `node-0`, `node-1`, … for each node (copies: one for all) and an `aggregation.json` that
says what the receiver makes of their answers.
"""

from __future__ import annotations

import itertools
from pathlib import Path

_NODE = "node-"


def node_folder(artifact: Path, number: int) -> Path:
    """The folder that a node serves, from 0, whether it is there or not."""
    return artifact / f"{_NODE}{number}"


def node_folders(artifact: Path) -> tuple[Path, ...]:
    """The folders of an artifact's nodes in their order; none where it is not for several nodes."""
    numbers = itertools.takewhile(lambda number: node_folder(artifact, number).is_dir(), itertools.count())
    return tuple(node_folder(artifact, number) for number in numbers)
