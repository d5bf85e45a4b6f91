"""Which artifact `edgeai export` takes: of reports, stores and digests, and what it says where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_edgeai.commands import cli
from pytest_edgeai.operators.chains import SEPARATOR
from pytest_edgeai.store import Store
from tests.export.artifacts import (
    X,
    export,
    put,
    run,
    write_echo,
    write_whole,
)


def report(project: Path, name: str, *artifacts: tuple[str, str, str], folder: str = "reports") -> None:
    path = project / folder / name
    path.mkdir(parents=True)
    described = [
        {"model": model, "operator": operator, "digest": digest, "provenance": {"built_at": 1.0}}
        for model, operator, digest in artifacts
    ]
    (path / "results.json").write_text(json.dumps({"format": 1, "artifacts": described}), encoding="utf-8")


def test_an_unknown_strategy_gets_a_hint(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(project, "toy-sqtp", tmp_path / "models") == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: nothing was written: there is no artifact 'toy-sqtp'; did you mean 'toy-sptq'?")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "models").exists()


def test_the_newest_report_says_which_artifact_it_is(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = put(store, "toy", "sptq", lambda folder: write_echo(folder, "old"), version=2).digest
    new = put(store, "toy", "sptq", lambda folder: write_echo(folder, "new"), version=3).digest
    report(project, "2026-01-02T00-00-00", ("toy", "sptq", new))
    report(project, "2026-01-01T00-00-00", ("toy", "sptq", old))
    report(project, "2026-01-03T00-00-00", ("other", "sptq", old))
    (project / "reports" / "2026-01-04T00-00-00").mkdir()
    (project / "reports" / "2026-01-04T00-00-00" / "results.json").write_text("{", encoding="utf-8")
    (project / "reports" / "latest").symlink_to("2026-01-01T00-00-00")
    assert export(project, "toy-sptq", tmp_path / "models") == 0
    assert f"artifact {new[:12]} of {project / 'reports' / '2026-01-02T00-00-00'}" in capsys.readouterr().out
    assert run(tmp_path / "models" / "toy-sptq" / "model.onnx", {"x": X}).keys() == {"new"}


def test_names_that_provenance_does_not_have_come_from_reports(store: Store, project: Path, tmp_path: Path) -> None:
    made = put(store, "toy", f"distilled{SEPARATOR}sptq", write_whole)
    report(project, "2026-01-01T00-00-00", ("toy", "dsptq", made.digest), folder="elsewhere")
    (project / "edgeai.toml").write_text('report = "elsewhere"\n', encoding="utf-8")
    assert export(project, "toy-dsptq", tmp_path / "models") == 0
    assert export(project, "toy-distilled>sptq", tmp_path / "models") == 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["toy-distilled>sptq", "toy-dsptq"]


def test_a_reported_artifact_that_the_store_lacks_is_not_replaced_by_another(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(project, "2026-01-01T00-00-00", ("toy", "sptq", "0" * 64))
    assert export(project, "toy-sptq", tmp_path / "models") == 2
    assert f"is artifact {'0' * 12}, which {store.root} does not have, or not whole" in capsys.readouterr().err


def test_a_damaged_artifact_is_not_written(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (graph,) = store.root.glob("artifacts/*/model.onnx")
    graph.write_bytes(graph.read_bytes() + b"more")
    assert export(project, "toy-sptq", tmp_path / "models") == 2
    assert "or not whole" in capsys.readouterr().err


def test_of_several_artifacts_the_digest_chooses(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = put(store, "toy", "sptq", lambda folder: write_echo(folder, "other"), version=2).digest
    assert export(project, "toy-sptq", tmp_path / "models") == 2
    said = capsys.readouterr().err
    assert "has 2 artifacts toy-sptq: give --digest with one of" in said
    assert other[:12] in said
    assert export(project, "toy-sptq", tmp_path / "models", "--digest", other[:12]) == 0
    assert run(tmp_path / "models" / "toy-sptq" / "model.onnx", {"x": X}).keys() == {"other"}
    assert export(project, "toy-sptq", tmp_path / "models", "--digest", "xyz", "--force") == 2
    assert "no artifact toy-sptq has a digest that begins with 'xyz'" in capsys.readouterr().err


def test_the_store_is_that_of_the_option_else_of_the_settings(project: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(Store(tmp_path / name), name, "identity", write_whole)
    (project / "edgeai.toml").write_text('store = "../one"\n', encoding="utf-8")
    assert export(project, "one-identity", tmp_path / "models") == 0
    assert export(project, "two-identity", tmp_path / "models") == 2
    assert export(project, "two-identity", tmp_path / "models", "--store", tmp_path / "two") == 0


def test_settings_that_are_wrong_are_said(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "edgeai.toml").write_text('stroe = "x"\n', encoding="utf-8")
    assert export(project, "toy-sptq", tmp_path / "models") == 2
    assert "stroe" in capsys.readouterr().err


def test_help_shows_both_layouts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "DIR/bert-sptq/config.pbtxt" in said
    assert "python -m pytest_edgeai.serving --repository DIR" in said
