"""The store: complete or not there, verified when read, built once."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.store import MANIFEST, Recipe, Store, StoreError, library_versions, source_digest

RECIPE = Recipe("artifacts", {"name": "one"})


def _writes(text: str, counter: list[int] | None = None) -> Callable[[Path], Mapping[str, Any]]:
    def build(folder: Path) -> Mapping[str, Any]:
        if counter is not None:
            counter.append(1)
        (folder / "model.onnx").write_text(text, encoding="utf-8")
        (folder / "sub").mkdir()
        (folder / "sub" / "data").write_bytes(b"\0" * 1000)
        return {"engine": "test"}

    return build


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_was_built_is_found_again_and_not_built_again(store: Store) -> None:
    counter: list[int] = []
    built = store.find_or_build(RECIPE, _writes("graph", counter))
    found = store.find_or_build(RECIPE, _writes("graph", counter))
    assert len(counter) == 1
    assert found == built
    assert store.find(RECIPE) == built
    assert (built.folder / "model.onnx").read_text(encoding="utf-8") == "graph"
    assert built.size_bytes == 1005
    assert built.provenance["engine"] == "test"


def test_nothing_is_found_before_it_is_built(store: Store) -> None:
    assert store.find(RECIPE) is None


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=4),
)
def test_recipes_have_one_digest_exactly_when_they_are_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    reordered = dict(reversed(list(a.items())))
    assert Recipe("artifacts", a).digest == Recipe("artifacts", reordered).digest
    assert (Recipe("artifacts", a).digest == Recipe("artifacts", b).digest) == (a == b)
    assert Recipe("artifacts", a).digest != Recipe("samples", a).digest


def test_entries_with_equal_files_have_equal_content(store: Store) -> None:
    first = store.find_or_build(RECIPE, _writes("graph"))
    second = store.find_or_build(Recipe("artifacts", {"name": "two"}), _writes("graph"))
    third = store.find_or_build(Recipe("artifacts", {"name": "three"}), _writes("another graph"))
    assert first.content == second.content != third.content


def _truncate(folder: Path) -> None:
    (folder / "model.onnx").write_text("gra", encoding="utf-8")


def _flip(folder: Path) -> None:
    (folder / "sub" / "data").write_bytes(b"\0" * 999 + b"\1")


def _remove_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _break_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"files": {"model.onnx"', encoding="utf-8")


def _empty_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]", encoding="utf-8")


def _add_file(folder: Path) -> None:
    (folder / "part0").mkdir()
    (folder / "part0" / "model.onnx").write_text("another graph", encoding="utf-8")


def _link_file(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere")


def _link_entry(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere", target_is_directory=True)


def _link_nowhere(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to("nowhere", target_is_directory=True)


DAMAGES = [
    _truncate,
    _flip,
    _remove_file,
    _remove_manifest,
    _break_manifest,
    _empty_manifest,
    _add_file,
    _link_file,
    _link_entry,
    _link_nowhere,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_never_used_and_built_again(store: Store, damage: Callable[[Path], None]) -> None:
    built = store.find_or_build(RECIPE, _writes("graph"))
    damage(built.folder)
    assert store.find(RECIPE) is None
    notes: list[str] = []
    again = store.find_or_build(RECIPE, _writes("graph"), notes.append)
    assert again.content == built.content
    assert len(notes) == 1
    assert "is corrupted" in notes[0]


def test_entries_whose_folders_were_swapped_are_never_used_and_built_again(store: Store) -> None:
    other = Recipe("artifacts", {"name": "two"})
    folders = [store.find_or_build(RECIPE, _writes("one")).folder, store.find_or_build(other, _writes("two")).folder]
    spare = store.root / "spare"
    for before, after in ((folders[0], spare), (folders[1], folders[0]), (spare, folders[1])):
        before.rename(after)
    assert (store.find(RECIPE), store.find(other)) == (None, None)
    notes: list[str] = []
    again = store.find_or_build(RECIPE, _writes("one"), notes.append)
    assert (again.folder / "model.onnx").read_text(encoding="utf-8") == "one"
    assert "its manifest is that of another entry" in notes[0]


def test_what_a_symbolic_link_in_the_place_of_an_entry_leads_to_stays(store: Store) -> None:
    folder = store.find_or_build(RECIPE, _writes("graph")).folder
    _link_entry(folder)
    store.find_or_build(RECIPE, _writes("graph"))
    assert not folder.is_symlink()
    assert (store.root / "elsewhere" / "model.onnx").is_file()


def test_a_lock_that_cannot_be_taken_is_named(store: Store) -> None:
    lock = store.root / "artifacts" / f"{RECIPE.digest}.lock"
    lock.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"\.lock cannot be locked"):
        store.find_or_build(RECIPE, _writes("graph"))


def test_a_store_is_marked_as_one(store: Store) -> None:
    assert not store.marked
    store.find_or_build(RECIPE, _writes("graph"))
    assert store.marked


def test_a_build_that_fails_leaves_nothing(store: Store) -> None:
    def fails(folder: Path) -> Mapping[str, Any]:
        (folder / "model.onnx").write_text("half", encoding="utf-8")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.find_or_build(RECIPE, fails)
    assert store.find(RECIPE) is None
    assert not [path for path in (store.root / "artifacts").iterdir() if path.is_dir()]


def _dies_while_building(root: Path) -> None:
    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "model.onnx").write_text("half", encoding="utf-8")
        os._exit(1)

    Store(root).find_or_build(RECIPE, build)


def test_a_process_that_dies_while_building_leaves_nothing_that_is_used(store: Store) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_dies_while_building, args=(store.root,))
    process.start()
    process.join(60)
    assert process.exitcode == 1
    assert store.find(RECIPE) is None
    entry = store.find_or_build(RECIPE, _writes("whole"))
    assert (entry.folder / "model.onnx").read_text(encoding="utf-8") == "whole"


def _builds_slowly(root: Path, log: Path) -> None:
    def build(folder: Path) -> Mapping[str, Any]:
        with log.open("a", encoding="utf-8") as file:
            file.write("built\n")
        time.sleep(0.5)
        (folder / "model.onnx").write_text("graph", encoding="utf-8")
        return {}

    Store(root).find_or_build(RECIPE, build)


def test_processes_that_want_the_same_build_it_once(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_builds_slowly, args=(store.root, log)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text(encoding="utf-8") == "built\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="file/store cannot be made"):
        Store(tmp_path / "file" / "store").find_or_build(RECIPE, _writes("graph"))


def test_reading_an_entry_marks_it_as_used(store: Store) -> None:
    entry = store.find_or_build(RECIPE, _writes("graph"))
    os.utime(entry.folder, (1, 1))
    store.find(RECIPE)
    assert entry.folder.stat().st_mtime > 1000


def test_the_manifest_says_what_an_entry_was_built_from(store: Store) -> None:
    entry = store.find_or_build(RECIPE, _writes("graph"))
    manifest = json.loads((entry.folder / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["recipe"] == {"name": "one"}


def test_a_source_folders_digest_tells_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x", encoding="utf-8")
    before = source_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("", encoding="utf-8")
    assert source_digest(tmp_path) == before
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert source_digest(tmp_path) != before


def test_a_library_that_is_not_installed_has_no_version() -> None:
    versions = library_versions(("numpy", "no-such-distribution-anywhere"))
    assert versions["numpy"] is not None
    assert versions["no-such-distribution-anywhere"] is None


@pytest.mark.parametrize("target", ["nowhere", "folder", "file"])
def test_a_link_on_a_shelf_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder" / "thesis.txt", tmp_path / "file"):
        path.write_text("years of work", encoding="utf-8")
    store = Store(tmp_path / "store")
    shelf = tmp_path / "store" / RECIPE.kind
    shelf.mkdir(parents=True)
    (shelf / RECIPE.digest).symlink_to(tmp_path / target)
    (shelf / "more").symlink_to(tmp_path / "folder")
    assert store.find_or_build(RECIPE, _writes("graph")).folder.joinpath("model.onnx").is_file()
    assert (tmp_path / "folder" / "thesis.txt").is_file()
    assert (tmp_path / "file").is_file()
