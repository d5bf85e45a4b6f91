"""The content-addressed store: what was built is found again by what it was built from.

An entry is a folder named by the digest of its recipe (everything that decides its content). It is complete or it is
not there: files are written elsewhere, the manifest with their checksums last, and the folder is then renamed into
place. Whoever reads an entry gets it verified: its manifest is that of the folder's name, and it holds the manifest's
files and no others. What a recipe holds is decided by those who build; what `edgeai clean` removes, by
`pytest_edgeai.commands.cleaning`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeAlias

from filelock import FileLock, Timeout

from pytest_edgeai.errors import EdgeAIError

Kind: TypeAlias = Literal["artifacts", "networks", "samples", "evaluations", "cuts"]
KINDS: tuple[Kind, ...] = ("artifacts", "networks", "samples", "evaluations", "cuts")
MANIFEST = "manifest.json"
MARKER = ".edgeai-store"
"""A file that says that a folder is a store; `edgeai clean` touches no other."""
PARTIAL = ".partial-"
"""What the name of an entry that is being written begins with."""
_MARKER_TEXT = "The artifact store of pytest-edgeai. `edgeai clean` removes entries.\n"
_FORMAT = 1


class StoreError(EdgeAIError, RuntimeError):
    """The store cannot be used; names the folder and the mend."""


class _Corrupt(Exception):  # noqa: N818  # leads to a rebuild, not to an error
    """Why an entry cannot be used."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the content of an entry.

    Parameters
    ----------
    kind
        Which shelf the entry is on.
    ingredients
        JSON values: names, parameters, digests of sources and inputs, library versions.
    """

    kind: Kind
    ingredients: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the canonical JSON."""
        text = json.dumps({"format": _FORMAT, "kind": self.kind, **self.ingredients}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A verified entry.

    Parameters
    ----------
    folder
        Where its files are; not to be written to.
    digest
        Of the recipe.
    content
        Digest of the files' names and content: entries built twice from one recipe may be compared by it.
    provenance
        What its builder had to say: engine, durations, versions.
    files
        Size in bytes by name.
    checksums
        Hexadecimal SHA-256 by name.
    """

    folder: Path
    digest: str
    content: str
    provenance: Mapping[str, Any]
    files: Mapping[str, int]
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an operator made of a subject model.

    Parameters
    ----------
    model, operator
        Their names.
    entry
        Its files: `model.onnx`, `pipeline.json` and what they need, in a folder for each part where it has several.
    """

    model: str
    operator: str
    entry: Entry

    @property
    def name(self) -> str:
        """As tiers serve it and builds are announced."""
        return f"{self.model}-{self.operator}"

    @property
    def graph_bytes(self) -> int:
        """Size of its graphs with their weights, wherever these are."""
        return sum(size for name, size in self.entry.files.items() if _is_of_graph(name))

    @property
    def graph_digests(self) -> tuple[Mapping[str, str], ...]:
        """SHA-256 of the files of each of its graphs, by their names: a tier has to have loaded one of these."""
        graphs: dict[Path, dict[str, str]] = {}
        for name, digest in self.entry.checksums.items():
            if _is_of_graph(name):
                graphs.setdefault(Path(name).parent, {})[Path(name).name] = digest
        return tuple(graphs.values())


class Store:
    """Entries under a folder, shared by any number of processes.

    Parameters
    ----------
    root
        The folder; made when needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, recipe: Recipe) -> Entry | None:
        """The entry of a recipe, or None where there is none that is whole."""
        return self.get(recipe.kind, recipe.digest)

    def get(self, kind: Kind, digest: str) -> Entry | None:
        """The entry of a recipe that somebody else has, by its digest."""
        with contextlib.suppress(_Corrupt):
            return self._read(kind, digest)
        return None

    def find_or_build(
        self,
        recipe: Recipe,
        build: Callable[[Path], Mapping[str, Any]],
        note: Callable[[str], None] | None = None,
    ) -> Entry:
        """The entry of a recipe, built now if there is none that is whole.

        Parameters
        ----------
        recipe
            What to find or build.
        build
            Writes files into the folder that it is given and returns the provenance (JSON values).
        note
            Is told in a sentence (or nobody is) when another process is waited for or a corrupted entry is built again.

        Raises
        ------
        StoreError
            The store's folder cannot be written.
        Exception
            Whatever `build` raises; nothing is kept then.
        """
        shelf = self.root / recipe.kind
        try:
            shelf.mkdir(parents=True, exist_ok=True)
            self.mark()
        except OSError as error:
            raise StoreError(f"the artifact store {self.root} cannot be made: {error.strerror}") from None
        with self._locked(shelf / f"{recipe.digest}.lock", note):
            try:
                entry = self._read(recipe.kind, recipe.digest)
            except _Corrupt as corrupt:
                if note is not None:
                    note(f"{recipe.kind}/{recipe.digest[:12]} is corrupted ({corrupt}): it is built again")
                entry = None
            if entry is None:
                self._build(recipe, build, shelf)
                entry = self._read(recipe.kind, recipe.digest)
        if entry is None:
            raise StoreError(f"{shelf / recipe.digest} vanished while it was used")
        return entry

    @property
    def marked(self) -> bool:
        """Whether the folder is marked as a store."""
        return (self.root / MARKER).is_file()

    def mark(self) -> None:
        """Mark the folder as a store, unless it is.

        Raises
        ------
        OSError
            It cannot be written.
        """
        if not self.marked:
            (self.root / MARKER).write_text(_MARKER_TEXT, encoding="utf-8")

    def _read(self, kind: Kind, digest: str) -> Entry | None:
        folder = self.root / kind / digest
        try:
            if folder.is_symlink():
                raise _Corrupt("it is a symbolic link")
            if not folder.is_dir():
                return None
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files: Mapping[str, Mapping[str, Any]] = manifest["files"]
            provenance = manifest["provenance"]
            expected = {name: described["sha256"] for name, described in files.items()}
            if Recipe(kind, manifest["recipe"]).digest != digest:
                raise _Corrupt("its manifest is that of another entry")
        except OSError:
            raise _Corrupt("it has no manifest") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _Corrupt("its manifest is broken") from None
        try:
            _verify(folder, expected)
            sizes = {name: (folder / name).stat().st_size for name in expected}
        except OSError as error:
            raise _Corrupt(f"{error.filename} cannot be read: {error.strerror}") from None
        with contextlib.suppress(OSError):  # a store may be mounted read-only
            os.utime(folder)  # tells `edgeai clean` that it is in use
        return Entry(folder, digest, _content(expected), provenance, sizes, expected)

    def _build(self, recipe: Recipe, build: Callable[[Path], Mapping[str, Any]], shelf: Path) -> None:
        final = shelf / recipe.digest
        partial = shelf / f"{PARTIAL}{recipe.digest}"
        for leftover in (final, partial):  # we hold the lock, so nobody is at work in them
            if leftover.is_symlink():
                leftover.unlink()  # where it leads to is not ours
            elif leftover.exists():
                shutil.rmtree(leftover)
        partial.mkdir()
        try:
            started = time.perf_counter()
            provenance = {**build(partial), "total_s": time.perf_counter() - started, "built_at": time.time()}
            files = {
                str(path.relative_to(partial)): {"size": path.stat().st_size, "sha256": file_digest(path)}
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            }
            manifest = {"recipe": dict(recipe.ingredients), "provenance": provenance, "files": files}
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def _locked(self, path: Path, note: Callable[[str], None] | None = None) -> Iterator[None]:
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            if note is not None:
                note(f"another process is building {path.stem[:12]}: waiting for it")
            lock.acquire()
        except OSError as error:
            raise StoreError(f"{path} cannot be locked ({error.strerror}): remove it") from None
        try:
            yield
        finally:
            lock.release()


def default_root() -> Path:
    """The store's folder where no setting names one: EDGEAI_STORE, else in the user's cache folder."""
    named = os.environ.get("EDGEAI_STORE")
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("pytest-edgeai") / "store"


def file_digest(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_digest(path: Path) -> str:
    """Digest of a source file, or of all files in a folder with their names.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    """
    if path.is_dir():
        inner = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return _content({str(file.relative_to(path)): file_digest(file) for file in inner})
    return file_digest(path)


def library_versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Versions of distributions, None for those that are not installed; nothing is imported."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _is_of_graph(name: str) -> bool:
    """Whether a file is a graph, or holds its weights."""
    return Path(name).name.startswith("model.onnx")


def _verify(folder: Path, expected: Mapping[str, str]) -> None:
    """Check that a folder has exactly the files of a manifest, with their content, and no symbolic links."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            raise _Corrupt(f"{name} is a symbolic link")
        if not path.is_dir() and name != MANIFEST and name not in expected:
            raise _Corrupt(f"{name} is not in its manifest")
    for name, checksum in expected.items():
        if not (folder / name).is_file() or file_digest(folder / name) != checksum:
            raise _Corrupt(f"{name} is missing or differs")


def _content(checksums: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(checksums.items())).encode()).hexdigest()
