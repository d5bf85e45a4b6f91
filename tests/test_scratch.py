"""Temporary folders: readable by their owner alone, and removed when the owner ends, at the latest by the next one."""

from __future__ import annotations

import multiprocessing
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pytest_edgeai import scratch


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def _owns(prefix: str, pipe: Connection) -> None:
    with scratch.folder(prefix) as folder:
        (folder / "deep").mkdir()
        pipe.send(folder)
        pipe.recv()


@contextmanager
def _owner(prefix: str) -> Iterator[tuple[Path, multiprocessing.process.BaseProcess]]:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=_owns, args=(prefix, far))
    process.start()
    try:
        yield near.recv(), process
    finally:
        process.kill()
        process.join()


def test_only_the_owner_may_read_a_folder_and_it_is_removed_at_the_end(tmp_path: Path) -> None:
    with scratch.folder("edgeai-session-") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith("edgeai-session-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", scratch.PREFIXES)
def test_the_folder_of_a_killed_process_is_swept_and_that_of_a_live_one_stays(prefix: str) -> None:
    with _owner(prefix) as (folder, process):
        assert scratch.sweep() == []
        assert (folder / "deep").is_dir()
        process.kill()
        process.join()
        assert scratch.sweep() == [folder]
        assert not folder.exists()


def test_folders_that_only_have_such_a_name_are_left_alone(tmp_path: Path) -> None:
    mine, elsewhere = tmp_path / "edgeai-session-mine", tmp_path / "elsewhere"
    mine.mkdir()
    elsewhere.mkdir()
    (elsewhere / ".owner").touch()
    (tmp_path / "edgeai-build-link").symlink_to(elsewhere, target_is_directory=True)
    assert scratch.sweep() == []
    assert mine.is_dir()
    assert os.listdir(elsewhere) == [".owner"]  # noqa: PTH208  # a name is all that is compared
