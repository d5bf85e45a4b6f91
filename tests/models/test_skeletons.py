"""The graphs of the suite's subject models: filled without torch, they are what torch exports."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import uses_external_data

from fixtures.subjects import all_subjects
from models import checkpoint, skeletons
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.skeletons import fill

SUBJECTS = {subject.name: subject for subject in all_subjects()}
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> SubjectModel:
    return SUBJECTS[request.param]


def test_there_is_a_small_one_of_each(subject: SubjectModel) -> None:
    assert set(SUBJECTS) == set(skeletons.NAMES)
    assert subject.graph == checkpoint.skeleton_of(subject.name)
    assert subject.graph.stat().st_size < 100_000


def test_it_takes_all_the_weights_on_disk_and_no_others(subject: SubjectModel) -> None:
    """Where this fails: python -m models.skeletons."""
    from safetensors import safe_open

    taken = {tensor.name for tensor in _graph(subject).initializer if uses_external_data(tensor)}
    with safe_open(checkpoint.path_of(subject.name), "numpy") as file:
        stored = {name for name in file.keys() if not name.endswith("num_batches_tracked")}  # noqa: SIM118  # no mapping
    assert taken == stored


def test_filled_it_is_the_graph_that_torch_exports(subject: SubjectModel, tmp_path: Path) -> None:
    """Where this fails: python -m models.skeletons."""
    pytest.importorskip("torch")
    import onnxruntime

    from models.lessons import graph_inputs
    from pytest_edgeai.operators.export import export

    assert subject.graph is not None
    tensors = graph_inputs(subject, subject.examples.generate("calibration")[:3])
    example = {name: tensor.numpy() for name, tensor in zip(subject.graph_inputs, tensors, strict=True)}
    paths = [tmp_path / "exported.onnx", tmp_path / "filled.onnx"]
    export(subject.trained(), example, paths[0], 20)
    fill(subject.graph, paths[1])
    exported, filled = (onnx.load(path).graph for path in paths)
    # Names of what folding makes are numbers, and it counts otherwise in a graph that was on disk.
    assert [_described(node) for node in filled.node] == [_described(node) for node in exported.node]
    assert _contents(filled) == _contents(exported)
    assert [*filled.input, *filled.output] == [*exported.input, *exported.output]
    answers = []
    for path in paths:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers.append(session.run(None, example)[0])
    assert np.array_equal(*answers)


def test_they_are_filled_without_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None\n"
        "from fixtures.subjects import all_subjects; from pytest_edgeai.subjects.skeletons import fill\n"
        f"for one in all_subjects(): fill(one.graph, Path({str(tmp_path)!r}) / f'{{one.name}}.onnx')"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    for name in SUBJECTS:
        onnx.checker.check_model(onnx.load(tmp_path / f"{name}.onnx"))


def test_one_is_written_again_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    weights = checkpoint.path_of("resnet")
    (tmp_path / weights.name).write_bytes(weights.read_bytes())
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path)
    assert skeletons.main(["resnet"]) == 0
    assert "resnet: " in capsys.readouterr().out
    fill(tmp_path / "resnet.onnx", tmp_path / "again.onnx")
    assert SUBJECTS["resnet"].graph is not None
    fill(SUBJECTS["resnet"].graph, tmp_path / "first.onnx")
    again, first = (onnx.load(tmp_path / name).graph for name in ("again.onnx", "first.onnx"))
    assert _contents(again) == _contents(first)


def test_the_command_refuses_a_model_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        skeletons.main(["resnett"])
    assert "no subject model is called resnett; there are resnet, resnext, bert" in capsys.readouterr().err


def _graph(subject: SubjectModel) -> onnx.GraphProto:
    return onnx.load(checkpoint.skeleton_of(subject.name), load_external_data=False).graph


def _described(node: onnx.NodeProto) -> tuple[Any, ...]:
    attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    return node.op_type, len(node.input), len(node.output), attributes


def _contents(graph: onnx.GraphProto) -> Counter[tuple[Any, ...]]:
    return Counter((one.data_type, tuple(one.dims), one.raw_data) for one in graph.initializer)
