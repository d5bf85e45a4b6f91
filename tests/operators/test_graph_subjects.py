"""ONNX files as subject models: taken as they are, quantized, partitioned, judged by metrics of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import BuildError, Operator
from pytest_edgeai.operators.chains import incompatibility
from pytest_edgeai.operators.data_parallel import DataParallel
from pytest_edgeai.operators.identity import Identity, IdentityParameters
from pytest_edgeai.operators.partition import Partition, PartitionParameters
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.qat import QuantizationAwareTraining
from pytest_edgeai.operators.sptq import SptqParameters, StaticQuantization
from pytest_edgeai.serving.repository import part_folders
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.graphs import GraphError, inputs_of, weight_files
from tests.operators.graph_subjects import detector, regression, write_detector, write_regression

OPERATORS: dict[str, Operator[Any]] = {
    "identity": Identity(IdentityParameters()),
    "sptq": StaticQuantization(SptqParameters(engine="onnxruntime", calibration_samples=16)),
    "partition": Partition(PartitionParameters(calibration_samples=4)),
}


def plan_of(root: Path, subject: SubjectModel) -> Plan:
    return Plan(root / "store", {subject.name: subject}, OPERATORS, this_host())


def prepare(root: Path, subject: SubjectModel, operator: str) -> Prepared:
    return plan_of(root, subject).prepare(subject.name, operator, lambda stage: None, lambda note: None)


def test_identity_of_a_file_is_the_file(tmp_path: Path) -> None:
    graph = write_regression(tmp_path / "price.onnx")
    made = prepare(tmp_path, regression(graph), "identity")
    assert (made.artifact.entry.folder / "model.onnx").read_bytes() == graph.read_bytes()
    assert made.evaluation.metrics["mae"] == pytest.approx(0.01, abs=0.001)
    assert made.evaluation.metrics["r2"] > 0.99
    assert plan_of(tmp_path, regression(graph)).find("regression", "identity") is not None


@pytest.mark.parametrize("batch", [1, "rows"])
@pytest.mark.parametrize("opset", [11, 17, 21])
def test_a_file_is_quantized_whether_or_not_its_batch_is_fixed(tmp_path: Path, batch: int | str, opset: int) -> None:
    graph = write_regression(tmp_path / "price.onnx", batch, opset)
    assert inputs_of(graph).has_batch == (batch == "rows")
    made = prepare(tmp_path, regression(graph), "sptq")
    types = {node.op_type for node in onnx.load(made.artifact.entry.folder / "model.onnx").graph.node}
    assert "DequantizeLinear" in types
    assert 0.005 < made.evaluation.metrics["mae"] < 0.2


@pytest.mark.parametrize("shape", [(1, 256), (256,)])
def test_a_bias_may_have_two_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """As skl2onnx writes it; without the fix, ONNX Runtime's quantizer raises ValueError."""
    graph = write_regression(tmp_path / "price.onnx")
    model = onnx.load(graph)
    bias = onnx.numpy_helper.from_array(np.full(shape, 0.5, np.float32), "bias")
    model.graph.initializer.append(bias)
    model.graph.node[1].input[0] = "biased"
    model.graph.node.insert(1, onnx.helper.make_node("Add", ["h", "bias"], ["biased"]))
    onnx.save(model, graph)
    made = prepare(tmp_path, regression(graph, "cosine", labelled=False), "sptq")
    quantized = onnx.load(made.artifact.entry.folder / "model.onnx")
    biases = {
        one.data_type: one.dims
        for one in quantized.graph.initializer
        if one.name.endswith(("bias_quantized", "flat_quantized"))
    }
    assert biases == {onnx.TensorProto.INT32: [256]}
    assert "fallback_because" not in made.artifact.entry.provenance
    assert made.evaluation.metrics["cosine"] > 90


def test_a_file_is_partitioned(tmp_path: Path) -> None:
    graph = write_regression(tmp_path / "price.onnx", 1)
    whole = prepare(tmp_path, regression(graph), "identity")
    parts = prepare(tmp_path, regression(graph), "partition")
    assert len(part_folders(parts.artifact.entry.folder)) == 2
    assert np.allclose(parts.evaluation.predictions.numbers, whole.evaluation.predictions.numbers, atol=1e-5)


def test_weights_beside_the_file_belong_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    graph = write_regression(folder / "price.onnx", apart=True)
    assert weight_files(graph) == (folder / "numbers.bin",)
    first = prepare(tmp_path, regression(graph), "identity")
    inside = prepare(tmp_path, regression(write_regression(tmp_path / "inside.onnx")), "identity")
    assert first.evaluation.metrics == pytest.approx(inside.evaluation.metrics)
    content = bytearray((folder / "numbers.bin").read_bytes())
    content[:1024] = bytes(1024)
    (folder / "numbers.bin").write_bytes(bytes(content))
    assert plan_of(tmp_path, regression(graph)).find("regression", "identity") is None
    (folder / "numbers.bin").unlink()
    with pytest.raises(GraphError, match=r"price.onnx has weights in the file 'numbers.bin', which is not beside it"):
        weight_files(graph)


def test_several_inputs_and_outputs_are_judged_by_a_detectors_metric(tmp_path: Path) -> None:
    made = prepare(tmp_path, detector(write_detector(tmp_path / "detector.onnx")), "identity")
    assert list(made.evaluation.predictions.outputs) == ["boxes", "scores", "labels"]
    assert made.evaluation.metrics == {"map": pytest.approx(100), "map50": pytest.approx(100)}
    again = plan_of(tmp_path, detector(tmp_path / "detector.onnx")).find("detector", "identity")
    assert again is not None
    for name, output in made.evaluation.predictions.outputs.items():
        assert np.array_equal(np.asarray(again.evaluation.predictions.outputs[name]), np.asarray(output))
    assert again.evaluation.first.replicates is not None


def test_a_model_without_labels_is_judged_by_agreement_with_the_baseline(tmp_path: Path) -> None:
    subject = regression(write_regression(tmp_path / "price.onnx"), "cosine", labelled=False)
    assert prepare(tmp_path, subject, "identity").evaluation.metrics == {"cosine": pytest.approx(100)}
    agreement = prepare(tmp_path, subject, "sptq").evaluation.metrics["cosine"]
    assert 50 < agreement <= 100
    found = plan_of(tmp_path, subject).find("regression", "sptq")
    assert found is not None
    assert found.evaluation.metrics["cosine"] == agreement


def test_what_changes_a_network_says_that_there_is_none(tmp_path: Path) -> None:
    subject = regression(write_regression(tmp_path / "price.onnx"))
    qat = QuantizationAwareTraining(QuantizationAwareTraining.parameters_type())
    assert incompatibility(qat, subject).startswith("qat changes a torch network, and the model is the ONNX file price")
    assert [incompatibility(one, subject) for one in OPERATORS.values()] == ["", "", ""]
    copies = DataParallel(DataParallel.parameters_type())
    assert incompatibility(copies, subject).startswith("data_parallel joins the answers of classifiers")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"this is not a model")
    with pytest.raises((BuildError, GraphError), match=r"broken.onnx is not an ONNX file"):
        prepare(tmp_path, regression(path), "identity")


def test_a_metric_that_does_not_fit_names_itself(tmp_path: Path) -> None:
    subject = regression(write_regression(tmp_path / "price.onnx"), "top1")
    with pytest.raises(ValueError, match="metric top1: the metric takes classes, and the model's output is"):
        prepare(tmp_path, subject, "identity")


def test_a_graph_that_always_answers_the_same_has_collapsed(tmp_path: Path) -> None:
    graph = write_regression(tmp_path / "price.onnx")
    model = onnx.load(graph)
    for tensor in model.graph.initializer:
        tensor.raw_data = bytes(len(tensor.raw_data))
    onnx.save(model, graph)
    with pytest.raises(BuildError, match="returns the same for 8 different samples: it has collapsed"):
        prepare(tmp_path, regression(graph), "identity")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"graph": None}, "has neither a network nor a graph"),
        ({"graph_inputs": ("x",)}, "a graph has inputs of its own"),
        ({"network": print}, "has a network and names no graph_inputs"),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    whole = regression(write_regression(tmp_path / "price.onnx"))
    fields = {name: getattr(whole, name) for name in ("name", "task", "graph", "examples", "metrics")}
    with pytest.raises(ValueError, match=sentence):
        SubjectModel(**(fields | changes))


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert "there is no file" in regression(tmp_path / "nothing.onnx").missing
