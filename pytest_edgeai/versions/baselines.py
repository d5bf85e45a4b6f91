"""Saved sessions, found again: by file, name, number or git revision among what pytest-benchmark has stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.errors import SettingsError, VersionError, unknown
from pytest_edgeai.stats.apart import FEWEST_SESSIONS
from pytest_edgeai.versions import DEFAULT_STORAGE
from pytest_edgeai.versions.checkouts import find_commit
from pytest_edgeai.versions.checksum import verify
from pytest_edgeai.versions.recording import Recording, RecordingError, read_recording
from pytest_edgeai.versions.storage import read_document, session_files, storage_folder

LATEST: Final = "latest"


def find_recording(wanted: str, root: Path, storage: str = DEFAULT_STORAGE) -> Recording:
    """The session that a word names.

    Parameters
    ----------
    wanted
        A path of a JSON file, `latest`, the number or the name that a session was saved under, or a git revision, of
        which the newest session counts.
    root
        The project; relative paths start there.
    storage
        Where pytest-benchmark keeps its files (its option `--benchmark-storage`).

    Raises
    ------
    VersionError
        There is no such session, it cannot be read, or it was changed after it was saved.
    """
    return recording_at(find_file(wanted, root, storage), wanted)


def recording_at(path: Path, wanted: str) -> Recording:
    """The session of a file.

    Parameters
    ----------
    path
        As `find_file` tells it.
    wanted
        The word that named it.

    Raises
    ------
    VersionError
        It cannot be read, or was changed after it was saved.
    """
    return _recording(path, read_document(path, str(path)), wanted if wanted != LATEST else path.stem)


def find_file(wanted: str, root: Path, storage: str = DEFAULT_STORAGE) -> Path:
    """The file of the session that a word names.

    Parameters
    ----------
    wanted, root, storage
        As for `find_recording`.

    Raises
    ------
    VersionError
        There is no such session.
    """
    path = root / wanted
    return path if path.is_file() else _stored(wanted, root, storage)


def _recording(path: Path, document: Mapping[str, Any], label: str) -> Recording:
    unsigned = verify(document, str(path))
    try:
        found = read_recording(document, label)
    except RecordingError as error:
        raise VersionError(f"{path}: {error}") from None
    remarks = [unsigned] if unsigned else []
    if _commit_of(document).get("dirty"):
        remarks.append(
            f"{label} ({path.name}) was saved with changes that were not committed: it is not of that commit alone"
        )
    return replace(found, remarks=tuple(remarks))


def _stored(wanted: str, root: Path, storage: str) -> Path:
    files = _all_stored(root, storage)
    if wanted == LATEST:
        return files[-1]
    named = [file for file in files if wanted in (_name(file), file.stem)]
    numbered = [file for file in files if wanted.isdecimal() and int(wanted) == _number(file)]
    of_commit = [] if named or numbered else _of_commit(wanted, root, files)
    found = [*numbered, *named, *of_commit]
    if not found:
        names = tuple(dict.fromkeys(_name(file) for file in files))
        raise VersionError(f"{unknown('saved session', wanted, names)}; nor is a session of such a git revision there")
    return found[-1]


def _all_stored(root: Path, storage: str) -> list[Path]:
    """Files of all sessions, the oldest first."""
    folder = storage_folder(storage, root)
    files = sorted(session_files(folder), key=lambda file: (_number(file), file.stat().st_mtime))
    if not files:
        raise VersionError(f"no session is saved in {folder}: save one by pytest … --benchmark-save NAME")
    return files


def _of_commit(wanted: str, root: Path, files: list[Path]) -> list[Path]:
    """Sessions that were saved at a commit; those of a clean working copy last, because they count more."""
    try:
        resolved = find_commit(wanted, root).digest
    except VersionError:
        return []
    commits = [(file, _commit_of(read_document(file, str(file)))) for file in files]
    saved = [(file, bool(commit.get("dirty"))) for file, commit in commits if commit.get("id") == resolved]
    return [file for file, _ in sorted(saved, key=lambda one: not one[1])]


def _commit_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document.get("commit_info") or {}


def _number(file: Path) -> int:
    digits = file.stem.partition("_")[0]
    return int(digits) if digits.isdecimal() else -1


def _name(file: Path) -> str:
    return file.stem.partition("_")[2]


def find_window(
    wanted: str, root: Path, storage: str = DEFAULT_STORAGE, sessions: int = 1, before: Path | None = None
) -> Recording:
    """The last session of a branch or a name, with the sessions before it.

    Parameters
    ----------
    wanted, root, storage
        As for `find_recording`. Sessions of a branch are those that were saved with nothing uncommitted.
    sessions
        How many at most, the last one included.
    before
        The file of a stored session: only earlier ones count. None for all.

    Raises
    ------
    VersionError
        There is no such session, one cannot be read, or the word names a single session.
    SettingsError
        So few sessions do not tell how sessions differ.
    """
    if sessions == 1:
        return find_recording(wanted, root, storage)
    if sessions < FEWEST_SESSIONS:
        raise SettingsError(
            f"a window of {sessions} sessions does not tell how sessions differ: it takes {FEWEST_SESSIONS} or more, "
            "for example 10"
        )
    if (root / wanted).is_file() or wanted.isdecimal() or wanted == LATEST:
        raise VersionError(f"{wanted} is one session, and a window takes {sessions}: give a branch or a name")
    files = _all_stored(root, storage)
    if before is not None and before.resolve() in (places := [file.resolve() for file in files]):
        files = files[: places.index(before.resolve())]
    named = [file for file in files if _name(file) == wanted][-sessions:]
    documents = {file: read_document(file, str(file)) for file in named} or dict(_last_of(wanted, files, sessions))
    if not documents:
        return find_recording(wanted, root, storage)
    recordings = [_recording(file, documents[file], file.stem) for file in files if file in documents]
    return replace(recordings[-1], label=wanted, earlier=tuple(recordings[:-1]))


def _last_of(branch: str, files: Sequence[Path], count: int) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The last sessions of a branch; documents are large, so that no more are read than are wanted."""
    for file in reversed(files):
        document = read_document(file, str(file))
        commit = _commit_of(document)
        if commit.get("branch") == branch and not commit.get("dirty"):
            yield file, document
            count -= 1
        if not count:
            return
