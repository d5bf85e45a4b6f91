"""Every example works where it is copied to: its files are made, its strategies measured, its metric in range."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.plugin import forked

FOLDER = Path(__file__).parents[2] / "examples"
SOON_ON_ANY_HOST = """
[profiles.quick]
inputs = 3
warmup = 1
probe_s = 0.01

[tolerances]  # how busy the host is that tests run on is not what is tested
link_share = 0.99
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""
WITHOUT_NEURAL_COMPRESSOR = """
[operator_parameters.sptq]  # importing the other one takes longer than everything else here
engine = "onnxruntime"
"""


@dataclass(frozen=True)
class Shown:
    """What an example shows.

    Parameters
    ----------
    strategies
        That it measures.
    metric
        The first of its model.
    low, high
        What the metric is between for all of them.
    folder
        Where its settings are, if not at the top.
    """

    strategies: frozenset[str]
    metric: str
    low: float
    high: float
    folder: str = "."


def strategies(model: str, operators: str, tiers: str) -> frozenset[str]:
    return frozenset(f"{model}-{operator}-{tier}" for operator in operators.split() for tier in tiers.split())


EXAMPLES = {
    "detector": Shown(strategies("detector", "identity sptq", "mobile edge"), "map50", 70, 100),
    "regression": Shown(strategies("disease", "identity sptq", "mobile cloud"), "mae", 35, 60),
    "text_classifier": Shown(strategies("reviews", "identity sptq", "mobile edge"), "f1", 90, 100),
    "audio": Shown(strategies("sounds", "identity sptq", "mobile edge"), "f1", 85, 100),
    "operator": Shown(strategies("digits", "identity halved halved>sptq", "edge"), "top1", 80, 100),
    "topology/two_tiers": Shown(
        strategies("digits", "identity", "sensor hub") | strategies("digits", "partition", "sensor+hub"),
        "top1", 80, 100, "two_tiers",
    ),
    "topology/four_tiers": Shown(
        strategies("digits", "identity", "watch phone mast centre"), "top1", 80, 100, "four_tiers"
    ),
    "metric": Shown(strategies("weather", "identity sptq", "mobile"), "within", 85, 100),
}  # fmt: skip


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "EDGEAI_STORE": str(root / "store")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a copy of a folder of examples, in which `make.py` has run."""
    root, copies = tmp_path_factory.mktemp("examples"), dict[str, Path]()

    def make(name: str) -> Path:
        if name not in copies:
            copies[name] = shutil.copytree(FOLDER / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            done = subprocess.run(
                [sys.executable, "make.py"], cwd=copies[name], env=environment(root), capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        return copies[name]

    return make


def measured(folder: Path) -> dict[str, Any]:
    """The strategies of a session in a folder."""
    settings = folder / "edgeai.toml"
    text = settings.read_text(encoding="utf-8") + SOON_ON_ANY_HOST
    settings.write_text(text + WITHOUT_NEURAL_COMPRESSOR if "sptq" in text else text, encoding="utf-8")
    arguments = ["--benchmark-only", "--edgeai-backend", "process", "--edgeai-replicates", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEAI_STORE", environment(folder.parent)["EDGEAI_STORE"])
        assert forked.run([*arguments, "-p", "no:cacheprovider"], folder).ret == 0
    document = json.loads((folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    return {row["id"]: row for row in document["strategies"]}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_measured_where_it_is_copied_to(name: str, made: Callable[[str], Path]) -> None:
    shown = EXAMPLES[name]
    if name == "regression":
        pytest.importorskip("skl2onnx")
    rows = measured(made(name.partition("/")[0]) / shown.folder)
    assert set(rows) == shown.strategies
    assert {row["verdict"] for row in rows.values()} <= {"pass", "no benefit"}
    for row in rows.values():
        assert row["accuracy"]["metric"] == shown.metric
        assert shown.low <= row["accuracy"]["value"] <= shown.high, row["id"]


def test_a_folder_that_is_not_there_ends_collection_with_one_sentence(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER / "text_classifier", tmp_path / "copy", ignore=shutil.ignore_patterns("reviews*"))
    command = [sys.executable, "-m", "pytest", "--benchmark-only", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 4
    told = [line for line in done.stderr.splitlines() if line]
    assert told == [f"ERROR: subject model reviews: there is no folder {folder / 'reviews'}"]
    assert not (tmp_path / "store").exists()


def test_every_example_is_tested_and_listed() -> None:
    folders = {path.parent.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("edgeai.toml")}
    assert folders == set(EXAMPLES)
    told = (FOLDER / "README.md").read_text(encoding="utf-8")
    table = (FOLDER.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    for name in {folder.partition("/")[0] for folder in folders}:
        assert f"[`{name}/`]({name}" in told
        assert f"[`{name}/`](../examples/{name}" in table


def lines_of_definition(folder: Path) -> int:
    """The lines that define the subject model of a folder: a table of its settings, or the code of its `conftest.py`.

    Empty lines, comments and docstrings are not counted.
    """
    lines = [line.strip() for line in (folder / "edgeai.toml").read_text(encoding="utf-8").splitlines()]
    tables = [number for number, line in enumerate(lines) if line.startswith("[")]
    for start, end in zip(tables, [*tables[1:], len(lines)], strict=True):
        if lines[start].startswith("[subjects."):
            return sum(bool(line) and not line.startswith("#") for line in lines[start:end])
    tree = ast.parse((folder / "conftest.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    used: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.alias):
            used.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.stmt):  # what is in it comes by itself
            used.add(node.lineno)
    return len(used)


def test_a_file_or_folder_is_defined_in_ten_lines_and_the_table_says_in_how_many() -> None:
    counted = {name: lines_of_definition(FOLDER / name) for name in EXAMPLES}
    assert max(counted.values()) <= 10, counted
    rows = [line.split("|") for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines() if "](" in line]
    told = {cells[1].partition("`")[2].partition("/`")[0]: cells[4].strip() for cells in rows if len(cells) > 5}
    for name, lines in counted.items():
        assert str(lines) in told[name.partition("/")[0]].split(" and "), (name, lines)


def test_examples_are_short() -> None:
    for path in FOLDER.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 65, path
