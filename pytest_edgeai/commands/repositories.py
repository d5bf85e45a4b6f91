"""Model repositories of our own server and of Triton, written from an artifact: each folder whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_edgeai.commands import mlserver
from pytest_edgeai.commands.export import CLIENT
from pytest_edgeai.commands.triton import FILE_NAME, configuration
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.serving.pipeline import Pipeline
from pytest_edgeai.serving.repository import GRAPH_NAME, part_folders
from pytest_edgeai.store import MANIFEST, Artifact
from pytest_edgeai.subjects.graphs import weight_files


class ExportError(EdgeAIError):
    """An artifact that cannot be written as asked; one sentence."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A graph of an artifact: all of it, a part, or what a node has.

    Parameters
    ----------
    folder
        Where it is in the store.
    label
        `part0`, `node-0`, …; empty where the artifact has only this one.
    is_node
        Whether it is what a node has.
    shared
        Files of the artifact that belong to all of its pieces.
    """

    folder: Path
    label: str
    is_node: bool = False
    shared: tuple[Path, ...] = ()

    @property
    def graph_files(self) -> tuple[Path, ...]:
        """The graph, and the files beside it that hold its weights."""
        return (self.folder / GRAPH_NAME, *weight_files(self.folder / GRAPH_NAME))

    @property
    def other_files(self) -> tuple[Path, ...]:
        """The pipeline, and what it needs."""
        own = set(self.graph_files)
        inner = (path for path in sorted(self.folder.iterdir()) if path.is_file() and path not in own)
        return (*(path for path in inner if path.name != MANIFEST), *self.shared)


@dataclass(frozen=True, slots=True)
class Written:
    """A piece that was written.

    Parameters
    ----------
    piece
        What it is in the store.
    folder
        The model's folder in the repository.
    pipeline
        The steps around its graph.
    """

    piece: Piece
    folder: Path
    pipeline: Pipeline


def export(artifact: Artifact, target: Path, layout: str, batch: int, *, force: bool = False) -> tuple[Written, ...]:
    """Write an artifact as a model repository, each folder whole or not at all.

    Parameters
    ----------
    artifact
        What to write.
    target
        The repository; made when needed. Other models in it stay.
    layout
        `plain` or `triton`.
    batch
        `max_batch_size` for Triton, of a graph that takes any batch.
    force
        Whether folders of the artifact that are there already are replaced.

    Returns
    -------
    tuple of Written
        What was written, in the order in which it runs.

    Raises
    ------
    ExportError
        Something is in the way.
    GraphError
        Triton cannot be told what the graph takes.
    OSError
        A file cannot be written.
    """
    found = pieces(artifact)
    if layout == "triton":
        dotted = [piece.label and f".{piece.label.replace('-', '')}" for piece in found]
        names = [f"{artifact.name}{label}" for label in dotted]
    else:
        names = [str(Path(piece.label, artifact.name)) for piece in found]
    written = tuple(
        Written(piece, target / name, Pipeline.read(piece.folder) or Pipeline())
        for piece, name in zip(found, names, strict=True)
    )
    if target.exists() and not target.is_dir():
        raise ExportError(f"{target} is not a folder")
    for one in written:
        _refuse_what_is_there(one.folder, force=force)

    def write(piece: Piece, folder: Path) -> None:
        if layout == "triton":
            _write_for_triton(piece, folder, batch, artifact)
        else:
            _copy((*piece.graph_files, *piece.other_files), folder)

    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".edgeai-export-", dir=target) as temporary:
        made = [(Path(temporary, "new", one.folder.relative_to(target)), one) for one in written]
        for folder, one in made:  # elsewhere first, so that a failure leaves what is there as it was
            folder.mkdir(parents=True)
            write(one.piece, folder)
        for folder, one in made:
            _put(folder, one.folder, Path(temporary, f"old{one.piece.label}"))
    return written


def pieces(artifact: Artifact) -> tuple[Piece, ...]:
    """The graphs of an artifact, in the order in which they run."""
    root = artifact.entry.folder
    folders = node_folders(root) or part_folders(root)
    if folders == (root,):
        return (Piece(root, ""),)
    shared = tuple(path for path in sorted(root.iterdir()) if path.is_file() and path.name != MANIFEST)
    is_node = folders == node_folders(root)
    return tuple(Piece(folder, folder.name, is_node, shared) for folder in folders)


def _write_for_triton(piece: Piece, folder: Path, batch: int, artifact: Artifact) -> None:
    remark = f"{artifact.name}, artifact {artifact.entry.digest}, written by edgeai export"
    text = configuration(folder.name, piece.folder / GRAPH_NAME, batch, remark)
    (folder / FILE_NAME).write_text(text, encoding="utf-8", newline="\n")
    text = mlserver.settings(folder.name, piece.folder / GRAPH_NAME, f"1/{GRAPH_NAME}")
    (folder / mlserver.FILE_NAME).write_text(text, encoding="utf-8", newline="\n")
    _copy(piece.graph_files, folder / "1")
    if piece.other_files:
        _copy(piece.other_files, folder / CLIENT)


def _put(made: Path, final: Path, old: Path) -> None:
    """Move a folder to where it belongs, and what is there out of the way."""
    final.parent.mkdir(exist_ok=True)
    replaces = final.exists()
    if replaces:
        final.rename(old)
    try:
        made.rename(final)
    except OSError:
        if replaces:
            old.rename(final)
        raise


def _refuse_what_is_there(folder: Path, *, force: bool) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{folder} is in the way and not a folder: remove it")
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise ExportError(f"{folder} is there already and not empty: --force replaces it")


def _copy(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)
