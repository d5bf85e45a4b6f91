"""The operators `identity` and `sptq` on real networks: valid graphs, right answers, honest provenance."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_edgeai.commands.cleaning import removable
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import BuildError, Operator
from pytest_edgeai.operators.identity import Identity, IdentityParameters
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.sptq import SptqParameters, StaticQuantization
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.store import Store
from tests.operators.small_subject import IMAGES, VECTORS

pytest.importorskip("torch")
pytest.importorskip("neural_compressor")

Make = Callable[..., Prepared]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def make(root: Path) -> Make:
    def prepare(model: str, operator: str, **parameters: object) -> Prepared:
        operators: dict[str, Operator[Any]] = {
            "identity": Identity(IdentityParameters()),
            "sptq": StaticQuantization(SptqParameters.model_validate(parameters)),
        }
        plan = Plan(root, {"images": IMAGES, "vectors": VECTORS}, operators, this_host())
        return plan.prepare(model, operator, lambda stage: None, lambda note: None)

    return prepare


def _graph(prepared: Prepared) -> onnx.ModelProto:
    return onnx.load(prepared.artifact.entry.folder / "model.onnx")


def _types(prepared: Prepared) -> set[str]:
    return {node.op_type for node in _graph(prepared).graph.node}


@pytest.mark.parametrize("model", ["images", "vectors"])
def test_identity_answers_as_the_network_does(make: Make, model: str) -> None:
    import torch

    prepared = make(model, "identity")
    subject = {"images": IMAGES, "vectors": VECTORS}[model]
    session = Model(prepared.artifact.entry.folder, Execution())
    network = subject.trained()
    for sample in list(prepared.validation)[:8]:
        (tensor,) = sample.inputs.values()
        with torch.no_grad():
            expected = network(torch.from_numpy(np.array(tensor))).softmax(1).max().item()
        outputs, _ = session.infer(sample.inputs)
        assert outputs["scores"][0, 0] == pytest.approx(expected, abs=1e-5)


def test_identity_takes_batches_of_any_size(make: Make) -> None:
    session = Model(make("vectors", "identity").artifact.entry.folder, Execution())
    for size in (1, 2, 7):
        outputs, _ = session.infer({"x": np.zeros((size, 32), np.float32)})
        assert outputs["labels"].shape == (size, 2)


def test_identity_is_accurate_and_says_so(make: Make) -> None:
    for model in ("images", "vectors"):
        assert make(model, "identity").evaluation.metrics["top1"] > 95


def test_an_export_holds_no_path_of_the_machine_and_is_the_same_again(make: Make, tmp_path: Path) -> None:
    from pytest_edgeai.operators.export import export

    example = {"x": np.zeros((2, 32), np.float32)}
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        export(VECTORS.trained(), example, path, 20)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"site-packages" not in first
    assert str(Path(__file__).parent).encode() not in first


@pytest.mark.parametrize("engine", ["neural-compressor", "onnxruntime"])
@pytest.mark.parametrize("model", ["images", "vectors"])
def test_sptq_is_int8_between_quantize_and_dequantize_and_still_accurate(make: Make, model: str, engine: str) -> None:
    prepared = make(model, "sptq", engine=engine, calibration_samples=32, batch=8)
    assert prepared.artifact.entry.provenance["engine"] == engine
    assert {"QuantizeLinear", "DequantizeLinear"} <= _types(prepared)
    weights = [
        t for t in _graph(prepared).graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1
    ]
    assert weights
    assert prepared.evaluation.metrics["top1"] > 90


def test_sptq_writes_only_operators_of_the_onnx_standard(make: Make) -> None:
    for model in ("images", "vectors"):
        prepared = make(model, "sptq", engine="neural-compressor")
        assert {node.domain for node in _graph(prepared).graph.node} <= {"", "ai.onnx"}


def test_sptq_quantizes_only_products_and_look_ups_where_there_is_no_convolution(make: Make) -> None:
    assert make("vectors", "sptq").artifact.entry.provenance["operator_types"] == ["MatMul", "Gemm", "Gather"]
    assert make("images", "sptq").artifact.entry.provenance["operator_types"] is None


def test_sptq_falls_back_to_onnxruntime_and_says_that_it_did(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neural_compressor", None)
    prepared = make("vectors", "sptq", calibration_samples=24)
    assert prepared.artifact.entry.provenance["engine"] == "onnxruntime"
    assert "pip install 'pytest-edgeai[suite]'" in prepared.artifact.entry.provenance["fallback_because"]


def test_sptq_does_not_fall_back_where_an_engine_is_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neural_compressor", None)
    with pytest.raises(BuildError, match=r"pip install 'pytest-edgeai\[suite\]'"):
        make("vectors", "sptq", engine="neural-compressor", calibration_samples=40)


def test_neural_compressor_leaves_no_trace_in_this_process(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    random.seed(5)
    expected = random.Random(5).random()
    from pytest_edgeai.operators.neural_compressor import imported

    with imported(tmp_path / "workspace") as package:
        package.PostTrainingQuantConfig(approach="static")
    assert random.random() == expected
    assert not (tmp_path / "nc_workspace").exists()


def test_calibration_takes_as_many_samples_as_there_are(make: Make) -> None:
    prepared = make("vectors", "sptq", calibration_samples=1000, batch=24)
    assert prepared.artifact.entry.provenance["calibration_samples"] == 48


def test_provenance_tells_cost_and_size(make: Make) -> None:
    provenance = make("images", "identity").artifact.entry.provenance
    assert provenance["parameters"] == 3 * 16 * 9 + 16 + 64 * 4 + 4
    assert 0 < provenance["nonzero_parameters"] <= provenance["parameters"]
    assert provenance["build_s"] > 0
    assert provenance["peak_memory_bytes"] > 1e6
    assert provenance["opset"] == 20


def test_every_artifact_in_the_store_is_a_valid_graph(make: Make, root: Path) -> None:
    for operator in ("identity", "sptq"):
        entry = make("images", operator).artifact.entry
        onnx.checker.check_model(str(entry.folder / "model.onnx"), full_check=True)
        assert (entry.folder / "pipeline.json").is_file()
    assert removable(Store(root))


def test_fewer_calibration_samples_than_a_batch_are_one_batch(make: Make) -> None:
    prepared = make("vectors", "sptq", engine="onnxruntime", calibration_samples=5, batch=16)
    assert prepared.artifact.entry.provenance["calibration_samples"] == 5
