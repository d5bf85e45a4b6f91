"""`edgeai clean`: entries of a store and nothing else, after asking, and from the store that a session would use."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pytest_edgeai.commands import cli
from pytest_edgeai.store import MARKER, Recipe, Store

RECIPE = Recipe("artifacts", {"subject": {"name": "resnet"}, "operator": {"name": "sptq"}})
OTHER = Recipe("samples", {"name": "two"})


def _build(folder: Path) -> Mapping[str, Any]:
    (folder / "model.onnx").write_bytes(b"\0" * 1000)
    return {"engine": "test"}


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on a container engine is for the tests of containers."""
    monkeypatch.setattr("pytest_edgeai.tiers.engine.socket_is_there", lambda: False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.find_or_build(RECIPE, _build)
    store.find_or_build(OTHER, _build)
    return store


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _clean(tmp_path: Path, *arguments: str) -> int:
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    return cli.main(["clean", "--root", str(project), *arguments])


def test_a_folder_that_is_no_store_is_refused_and_nothing_in_it_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    papers = tmp_path / "papers"
    for path in ("samples/holiday/photo.jpg", "artifacts/thesis/thesis.tex"):
        (papers / path).parent.mkdir(parents=True)
        (papers / path).write_text("mine", encoding="utf-8")
    before = _tree(papers)
    assert _clean(tmp_path, "--store", str(papers), "--yes") == 2
    assert f"error: nothing was removed: {papers} is not an artifact store" in capsys.readouterr().err
    assert _tree(papers) == before


def test_in_a_store_only_entries_with_our_manifest_are_removed(store: Store, tmp_path: Path) -> None:
    photo = store.root / "samples" / "holiday" / "photo.jpg"
    photo.parent.mkdir()
    photo.write_text("mine", encoding="utf-8")
    without_manifest = store.root / "artifacts" / ("0" * 64)
    without_manifest.mkdir()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(store.root / "artifacts" / RECIPE.digest, elsewhere)
    (store.root / "artifacts" / ("1" * 64)).symlink_to(elsewhere, target_is_directory=True)
    shutil.move(store.root / "samples", tmp_path / "samples")
    (store.root / "samples").symlink_to(tmp_path / "samples", target_is_directory=True)
    assert _clean(tmp_path, "--store", str(store.root), "--yes") == 0
    assert not (store.root / "artifacts" / RECIPE.digest).exists()
    assert without_manifest.is_dir()
    assert (elsewhere / "model.onnx").is_file()
    assert (tmp_path / "samples" / "holiday" / "photo.jpg").is_file()
    assert (tmp_path / "samples" / OTHER.digest / "model.onnx").is_file()


def test_the_store_is_that_of_the_settings(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Store(tmp_path / "cache")
    cache.find_or_build(RECIPE, _build)
    monkeypatch.setenv("EDGEAI_STORE", str(cache.root))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "edgeai.toml").write_text('store = "../store"\n', encoding="utf-8")
    assert _clean(tmp_path, "--yes") == 0
    assert store.find(RECIPE) is None
    assert cache.find(RECIPE) is not None


def test_without_a_terminal_it_removes_nothing_unless_it_is_told_to(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _clean(tmp_path, "--store", str(store.root)) == 2
    said = capsys.readouterr()
    assert "give --yes" in said.err
    assert f"artifacts/{RECIPE.digest[:12]}" in said.out
    assert "resnet-sptq" in said.out
    assert store.find(RECIPE) is not None


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_asks(store: Store, tmp_path: Path, answer: str, code: int) -> None:
    near, far = pty.openpty()
    command = [sys.executable, "-m", "pytest_edgeai.commands.cli", "clean", "--store", str(store.root)]
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
    with subprocess.Popen(command, stdin=far, stdout=far, stderr=far, cwd=tmp_path, env=environment) as child:
        os.close(far)
        os.write(near, f"{answer}\n".encode())
        said = b""
        while b"removed" not in said:
            said += os.read(near, 4096)
        assert b"Remove these 2 entries" in said
        assert child.wait(60) == code
    os.close(near)
    assert (store.find(RECIPE) is None) == (code == 0)


def test_a_dry_run_writes_nothing(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store.root / MARKER).unlink()
    for lock in store.root.glob("*/*.lock"):
        lock.unlink()
    before = _tree(store.root)
    assert _clean(tmp_path, "--store", str(store.root), "--dry-run") == 0
    assert "would remove 2 entries" in capsys.readouterr().out
    assert _tree(store.root) == before


def test_a_store_of_an_earlier_version_is_taken_for_one_and_says_so(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.root / MARKER).unlink()
    assert _clean(tmp_path, "--store", str(store.root), "--yes") == 0
    assert "it is taken for a store" in capsys.readouterr().out
    assert store.find(RECIPE) is None


def test_what_a_killed_build_left_is_removed(store: Store, tmp_path: Path) -> None:
    left = store.root / "artifacts" / f".partial-{'2' * 64}"
    left.mkdir()
    (left / "model.onnx").write_text("half", encoding="utf-8")
    assert _clean(tmp_path, "--store", str(store.root), "--yes") == 0
    assert not left.exists()


def test_what_is_being_built_stays(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(store.root / "artifacts" / f"{RECIPE.digest}.lock"):
        assert _clean(tmp_path, "--store", str(store.root), "--yes") == 0
    assert "removed 1 entries" in (said := capsys.readouterr().out)
    assert "1 are being built and stay" in said
    assert store.find(RECIPE) is not None


def test_only_what_was_not_used_lately_is_removed(store: Store, tmp_path: Path) -> None:
    os.utime(store.root / "artifacts" / RECIPE.digest, (1, 1))
    assert _clean(tmp_path, "--store", str(store.root), "--yes", "--unused-for", "30") == 0
    assert store.find(RECIPE) is None
    assert store.find(OTHER) is not None


def test_containers_alone_leave_the_store_as_it_is(store: Store, tmp_path: Path) -> None:
    before = _tree(store.root)
    assert _clean(tmp_path, "--store", str(store.root), "--containers") == 0
    assert _tree(store.root) == before


def test_where_there_is_no_store_there_is_nothing_to_remove(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _clean(tmp_path, "--store", str(tmp_path / "none")) == 0
    assert "removed 0 entries" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
