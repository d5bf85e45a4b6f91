"""Artifacts as preparation leaves them in a store, and what reads them again: for the tests of `edgeai export`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.commands import cli
from pytest_edgeai.operators.chains import SEPARATOR
from pytest_edgeai.serving.pipeline import Classification, NextPart, Pipeline
from pytest_edgeai.store import Entry, Recipe, Store
from tests.serving import graphs

X = np.array([[0.5, 3.0, 1.0]], np.float32)
CLASSIFICATION = Classification(input="y", k=2)


def put(store: Store, model: str, operator: str, write: Callable[[Path], object], version: int = 1) -> Entry:
    """Put an artifact into a store, with a manifest as preparation writes it."""
    steps = ["identity", *(name for name in operator.split(SEPARATOR) if name != "identity")]

    def build(folder: Path) -> Mapping[str, Any]:
        write(folder)
        return {"steps": [{"operator": name} for name in steps]}

    ingredients = {"subject": {"name": model}, "operator": {"name": steps[-1]}, "version": version, "steps": steps}
    return store.find_or_build(Recipe("artifacts", ingredients), build)


def write_echo(folder: Path, output: str = "y", pipeline: Pipeline | None = None, source: str = "x") -> None:
    node = helper.make_node("Identity", [source], [output])
    made = graphs.write(
        folder / "made",
        [node],
        [graphs.tensor(source, "FP32", ["n", 3])],
        [graphs.tensor(output, "FP32", ["n", 3])],
        pipeline,
    )
    for path in made.iterdir():
        path.rename(folder / path.name)
    made.rmdir()


def write_whole(folder: Path) -> None:
    write_echo(folder, pipeline=Pipeline(postprocess=CLASSIFICATION))
    (folder / "notes.txt").write_text("an asset", encoding="utf-8")


def write_in_parts(folder: Path) -> None:
    for number, (source, output, pipeline) in enumerate(
        [("x", "t", Pipeline(onward=NextPart())), ("t", "y", Pipeline(postprocess=CLASSIFICATION))]
    ):
        (folder / f"part{number}").mkdir()
        write_echo(folder / f"part{number}", output, pipeline, source)


def write_for_nodes(folder: Path) -> None:
    for number in range(2):
        (folder / f"node-{number}").mkdir()
        write_echo(folder / f"node-{number}")
    (folder / "aggregation.json").write_text("{}", encoding="utf-8")


def export(project: Path, *arguments: str | Path) -> int:
    return cli.main(["export", "--root", str(project), *map(str, arguments)])


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def parse(text: str) -> Any:
    """Parse a configuration by Triton's own schema; the module beside tritonclient's gRPC client needs no gRPC."""
    found = importlib.util.find_spec("tritonclient")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    paths = [path for folder in folders if (path := Path(folder, "grpc", "model_config_pb2.py")).is_file()]
    if not paths:
        pytest.skip("tritonclient is not installed")
    spec = importlib.util.spec_from_file_location("model_config_pb2", paths[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return importlib.import_module("google.protobuf.text_format").Parse(text, module.ModelConfig())


def run(graph: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
