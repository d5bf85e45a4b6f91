"""Where `edgeai export` writes: what is there already stays, unless it is to be replaced, and failures leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_edgeai.store import Store
from tests.export.artifacts import (
    export,
    files_of,
)


def test_what_is_there_is_replaced_only_by_force_and_other_models_stay(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models"
    for path in (target / "toy-sptq" / "mine.txt", target / "other" / "model.onnx"):
        path.parent.mkdir(parents=True)
        path.write_text("mine", encoding="utf-8")
    before = files_of(target)
    assert export(project, "toy-sptq", target) == 2
    assert f"{target / 'toy-sptq'} is there already and not empty: --force replaces it" in capsys.readouterr().err
    assert files_of(target) == before
    assert export(project, "toy-sptq", target, "--force") == 0
    assert sorted(path.name for path in target.iterdir()) == ["other", "toy-sptq"]
    assert files_of(target) == [
        "other/model.onnx",
        "toy-sptq/model.onnx",
        "toy-sptq/notes.txt",
        "toy-sptq/pipeline.json",
    ]


def test_an_empty_folder_is_not_in_the_way(store: Store, project: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "toy-sptq").mkdir(parents=True)
    assert export(project, "toy-sptq", tmp_path / "models") == 0


@pytest.mark.parametrize("what", ["file", "link"])
def test_force_removes_neither_files_nor_what_a_link_leads_to(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "mine").mkdir()
    in_the_way = tmp_path / "models" / "toy-sptq"
    in_the_way.write_text("mine", encoding="utf-8") if what == "file" else in_the_way.symlink_to(tmp_path / "mine")
    assert export(project, "toy-sptq", tmp_path / "models", "--force") == 2
    assert "is in the way and not a folder" in capsys.readouterr().err
    assert in_the_way.is_symlink() == (what == "link")


def test_a_failure_leaves_what_was_there(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "models"
    assert export(project, "toy-sptq", target) == 0
    before = files_of(target)

    def fail(source: Path, copy: Path) -> None:
        raise OSError(28, "No space left on device", str(copy))

    monkeypatch.setattr("shutil.copyfile", fail)
    assert export(project, "toy-sptq", target, "--force") == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert files_of(target) == before
    assert [path.name for path in target.iterdir()] == ["toy-sptq"]


def test_a_target_that_is_a_file_or_in_one_is_an_error(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert export(project, "toy-sptq", tmp_path / "file") == 2
    assert f"{tmp_path / 'file'} is not a folder" in capsys.readouterr().err
    assert export(project, "toy-sptq", tmp_path / "file" / "models") == 1
    assert "cannot be written" in capsys.readouterr().err
