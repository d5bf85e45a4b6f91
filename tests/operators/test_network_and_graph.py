"""Subject models with a network and its graph: what starts from which, and what decides the artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import Changed, Job, NetworkOperator, NoParameters, Operator
from pytest_edgeai.operators.export import export
from pytest_edgeai.operators.identity import Identity, IdentityParameters
from pytest_edgeai.operators.preparation import Plan
from pytest_edgeai.subjects import SubjectModel
from tests.operators.small_subject import VECTORS

pytest.importorskip("torch")


class Kept(NetworkOperator[NoParameters]):
    """Leaves the network as it is."""

    name = "kept"

    def change(self, job: Job) -> Changed:
        return Changed(job.network(), job.origin, {"engine": "none"})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    graph = tmp_path_factory.mktemp("graph") / "vectors.onnx"
    export(VECTORS.trained(), {"x": np.zeros((2, 32), np.float32)}, graph, 20)
    return dataclasses.replace(VECTORS, graph=graph)


def _plan(root: Path, subject: SubjectModel, opset: int = 20) -> Plan:
    operators: Mapping[str, Operator[Any]] = {
        "identity": Identity(IdentityParameters(opset=opset)),
        "kept": Kept(NoParameters()),
    }
    return Plan(root, {"vectors": subject}, operators, this_host())


@pytest.mark.parametrize(
    ("opset", "operator", "engine"), [(20, "identity", "copy"), (19, "identity", "torch"), (20, "kept", "torch")]
)
def test_the_graph_is_taken_where_it_is_what_is_asked_for(
    tmp_path: Path, both: SubjectModel, opset: int, operator: str, engine: str
) -> None:
    made = _plan(tmp_path, both, opset).prepare("vectors", operator, lambda stage: None, lambda note: None)
    last = made.artifact.entry.provenance["steps"][-1]
    assert (last["operator"], last["engine"], last["opset"]) == ("identity", engine, opset)
    assert ("torch" in last["libraries"]) == (engine == "torch")
    assert both.graph is not None
    if opset == 20:  # what torch exports is the same file every time
        assert (made.artifact.entry.folder / "model.onnx").read_bytes() == both.graph.read_bytes()


@pytest.mark.parametrize(("given", "changes"), [("network", True), ("graph", False)])
def test_the_version_of_torch_decides_nothing_about_a_graph(
    tmp_path: Path, both: SubjectModel, monkeypatch: pytest.MonkeyPatch, given: str, changes: bool
) -> None:
    subject = both if given == "graph" else VECTORS
    plan = _plan(tmp_path, subject)
    calibration: Any = SimpleNamespace(content="")

    def digest() -> str:
        return plan.recipe(subject, plan.operators["identity"], calibration, None).digest

    before, version = digest(), metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0" if name == "torch" else version(name))
    assert (digest() != before) == changes


def test_another_graph_is_another_artifact(tmp_path: Path, both: SubjectModel) -> None:
    plan = _plan(tmp_path, both)
    calibration: Any = SimpleNamespace(content="")
    digests = set()
    for number in range(2):
        assert both.graph is not None
        other = tmp_path / f"{number}.onnx"
        model = onnx.load(both.graph)
        model.doc_string = str(number)
        onnx.save(model, other)
        subject = dataclasses.replace(both, graph=other)
        digests.add(plan.recipe(subject, plan.operators["identity"], calibration, None).digest)
    assert len(digests) == 2
