"""`edgeai init`: what it writes is measured as it is, and what is there already stays as it is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from PIL import Image

from pytest_edgeai.arrays import Array
from pytest_edgeai.commands import cli, init
from pytest_edgeai.settings import Settings
from tests.plugin import forked
from tests.plugin.conftest import ANY_HOST

GIVEN = ("--graph", "price.onnx", "--examples", "houses.npz", "--metric", "mae,r2")
FILES = ("edgeai.toml", "test_edgeai.py", ".github/workflows/edgeai.yml")


def settings_in(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "edgeai.toml").read_text(encoding="utf-8"))


def test_what_it_writes_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", *GIVEN, "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "To measure:  pytest --benchmark-only"
    assert cli.main(["check"]) == 0
    text = (folder / "edgeai.toml").read_text(encoding="utf-8")
    usual = 'default = "2 %"'
    assert usual in text  # how much quantization costs this graph is not what is tested
    (folder / "edgeai.toml").write_text(text.replace(usual, "default = 0.5") + ANY_HOST, encoding="utf-8")
    monkeypatch.setenv("EDGEAI_STORE", str(folder / "store"))
    done = forked.run(["--benchmark-only", "--edgeai-backend=process", "--edgeai-replicates=1"], folder)
    assert done.ret == 0
    done.assert_outcomes(passed=4)
    assert (folder / "reports" / "latest" / "results.json").is_file()


def test_what_is_not_given_is_taken_from_the_folder(folder: Path) -> None:
    assert cli.main(["init", "--yes", "--tiers", "edge"]) == 0
    found = settings_in(folder)
    assert found["tiers"] == ["edge"]
    assert found["subjects"] == {"price": {"graph": "price.onnx", "examples": "houses.npz", "metrics": ["mae"]}}
    assert found["budgets"] == {"metric_drop": {"default": "2 %"}}
    told = (folder / "edgeai.toml").read_text(encoding="utf-8")
    commented = [line.removeprefix("# ") for line in told.partition("(docs/usage.md):\n")[2].splitlines()]
    budgets = Settings.model_validate(tomllib.loads("\n".join(commented))).budgets
    assert all(budgets.by_pattern.values())  # what is commented out can be used


def test_a_project_elsewhere_has_paths_from_its_own_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "a project", *GIVEN]) == 0
    subject = {"graph": "../price.onnx", "examples": "../houses.npz", "metrics": ["mae", "r2"]}
    assert settings_in(folder / "a project")["subjects"] == {"price": subject}
    assert capsys.readouterr().out.splitlines()[-1] == "To measure:  cd 'a project' && pytest --benchmark-only"


def test_a_folder_within_a_repository_is_told_where_workflows_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".git").mkdir()
    assert cli.main(["init", "inner", *GIVEN]) == 0
    assert f"CI reads workflows in {folder / '.github'}" in capsys.readouterr().out


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_there_stays_and_nothing_is_written(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine", encoding="utf-8")
    assert cli.main(["init", *GIVEN, "--yes"]) == 1
    assert capsys.readouterr().err == f"error: nothing was written: there is a file {name} already\n"
    assert (folder / name).read_text(encoding="utf-8") == "mine"
    assert [one for one in FILES if (folder / one).exists()] == [name]


def test_settings_in_pyproject_are_not_doubled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pyproject.toml").write_text('[tool.edgeai]\nprofile = "quick"\n', encoding="utf-8")
    assert cli.main(["init", *GIVEN, "--yes"]) == 1
    assert "there is a table [tool.edgeai] in pyproject.toml already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (("price.onnx", "prise.onnx"), "--graph: there is no file prise.onnx"),
        (("houses.npz", "homes.npz"), "--examples: there is no file homes.npz"),
        (("houses.npz", "price.onnx"), "--examples: price.onnx is none of .npz, .csv, .jsonl"),
        (("mae,r2", "maee"), "there is no metric 'maee'; did you mean 'mae'?"),
        (("mae,r2", ","), "metrics"),
    ],
)
def test_what_cannot_work_is_not_written(
    folder: Path, changed: tuple[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", *(changed[1] if one == changed[0] else one for one in GIVEN), "--yes"]) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert not any((folder / name).exists() for name in FILES)


def test_tiers_that_there_are_not_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", *GIVEN, "--tiers", "mobil"]) == 1
    assert "there is no tier 'mobil'; did you mean 'mobile'?" in capsys.readouterr().err


def test_files_that_cannot_all_be_written_are_all_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".github").write_text("a file where a folder has to be", encoding="utf-8")
    assert cli.main(["init", *GIVEN]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert not (folder / "edgeai.toml").exists()
    assert not (folder / "test_edgeai.py").exists()


def test_questions_are_asked_on_a_terminal_only(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest_edgeai.commands.cli", "init"]
    silent = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert silent.returncode == 2
    assert silent.stderr.startswith("error: nothing was written: there is no terminal to ask on")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"\n\nrmse\n")
        asked = subprocess.run(command, cwd=folder, stdin=theirs, capture_output=True, text=True)
    finally:
        os.close(ours)
        os.close(theirs)
    assert asked.returncode == 0, asked.stderr
    for question in ("Path of the ONNX file [price.onnx]:", "[houses.npz]:", "Metric [mae]:"):
        assert question in asked.stdout
    assert settings_in(folder)["subjects"]["price"]["metrics"] == ["rmse"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("references", "metric"), [(np.arange(3), "accuracy"), (np.linspace(0, 1, 3), "mae"), (None, "cosine")]
)
def test_the_metric_follows_from_the_references(tmp_path: Path, references: Array | None, metric: str) -> None:
    given = {} if references is None else {"reference": references}
    np.savez(tmp_path / "examples.npz", x=np.zeros((3, 2), np.float32), **given)
    assert init.usual_metric(tmp_path / "examples.npz") == metric


def write_images(folder: Path, *shape: int | str) -> None:
    """An ONNX file that takes images, and a table of some."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "n"])
    graph = helper.make_graph([helper.make_node("Flatten", ["pixels"], ["scores"])], "flat", [pixels], [scores])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "1 photo.onnx")
    rows = ["file,reference"]
    for number in range(16):
        Image.new("L", (4, 4), 10 * number).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{number % 2}")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")


def test_images_get_a_pipeline_of_the_size_that_the_graph_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path, 1, 1, 4, 4)
    assert cli.main(["init", "--yes"]) == 0
    assert list(settings_in(tmp_path)["subjects"]) == ["model_1_photo"]  # type: ignore[call-overload]
    assert cli.main(["check"]) == 0


def test_images_for_a_graph_that_takes_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path, 1, 16)
    assert cli.main(["init", "--yes"]) == 1
    assert "labels.csv lists images, and 1 photo.onnx does not say that it takes them" in capsys.readouterr().err
