"""What `edgeai export` writes: model repositories that our server, ONNX Runtime and Triton's own schema take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.pipeline import Pipeline
from pytest_edgeai.serving.server import ServerSettings
from pytest_edgeai.store import Store
from pytest_edgeai.wire.client import Client
from tests.export.artifacts import (
    CLASSIFICATION,
    X,
    export,
    files_of,
    parse,
    put,
    run,
    write_for_nodes,
    write_in_parts,
)
from tests.serving import graphs, tiers


def test_the_triton_layout_has_the_graph_its_configuration_and_what_is_the_client_s(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models"
    assert export(project, "toy-sptq", target, "--layout", "triton") == 0
    assert files_of(target) == [
        "toy-sptq/1/model.onnx",
        "toy-sptq/client/notes.txt",
        "toy-sptq/client/pipeline.json",
        "toy-sptq/config.pbtxt",
        "toy-sptq/model-settings.json",
    ]
    assert Pipeline.read(target / "toy-sptq" / "client") == Pipeline(postprocess=CLASSIFICATION)
    np.testing.assert_array_equal(run(target / "toy-sptq" / "1" / "model.onnx", {"x": X})["y"], X)
    said = capsys.readouterr().out
    assert "Triton runs the graph" in said
    assert f"The client does the step postprocess (classification) of {target}" in said
    assert f"tritonserver --model-repository={target}" in said

    parsed = parse((target / "toy-sptq" / "config.pbtxt").read_text(encoding="utf-8"))
    assert (parsed.name, parsed.platform, parsed.backend) == ("toy-sptq", "onnxruntime_onnx", "onnxruntime")
    assert (parsed.max_batch_size, parsed.default_model_filename) == (4, "model.onnx")
    assert [(one.name, list(one.dims)) for one in (*parsed.input, *parsed.output)] == [("x", [3]), ("y", [3])]

    assert json.loads((target / "toy-sptq" / "model-settings.json").read_text(encoding="utf-8")) == {
        "name": "toy-sptq",
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        "parameters": {"uri": "1/model.onnx"},
    }


def test_our_server_answers_from_the_plain_layout_as_from_the_artifact(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models"
    assert export(project, "toy-sptq", target) == 0
    assert files_of(target) == ["toy-sptq/model.onnx", "toy-sptq/notes.txt", "toy-sptq/pipeline.json"]
    with tiers.in_thread(target, ServerSettings()) as port, Client("127.0.0.1", port) as client:
        assert client.infer("toy-sptq", {"x": X}).outputs["labels"].tolist() == [[1, 2]]
    said = capsys.readouterr().out
    assert "with its pre- and post-processing" in said
    assert f"--repository {target}\n" in said


def test_parts_are_models_of_their_own_for_triton(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(store, "toy", "partition", write_in_parts)
    target = tmp_path / "models"
    assert export(project, "toy-partition", target, "--layout", "triton") == 0
    names = ["toy-partition.part0", "toy-partition.part1"]
    assert sorted(path.name for path in target.iterdir()) == names
    assert [parse((target / name / "config.pbtxt").read_text(encoding="utf-8")).name for name in names] == names
    tensors: dict[str, Array] = {"x": X}
    for name in names:
        tensors = run(target / name / "1" / "model.onnx", tensors)
    np.testing.assert_array_equal(tensors["y"], X)
    said = capsys.readouterr().out
    assert "The client asks part after part" in said
    assert "after it asks toy-partition.part1" in said


def test_parts_are_repositories_of_their_own_for_our_server(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(store, "toy", "partition", write_in_parts)
    target = tmp_path / "models"
    assert export(project, "toy-partition", target) == 0
    with tiers.in_thread(target / "part1", ServerSettings()) as far:
        settings = ServerSettings(upstream=("127.0.0.1", far))
        with tiers.in_thread(target / "part0", settings) as near, Client("127.0.0.1", near) as client:
            assert client.infer("toy-partition", {"x": X}).outputs["labels"].tolist() == [[1, 2]]
    said = capsys.readouterr().out.splitlines()
    serving = [line for line in said if line.startswith("To serve")]
    assert [line.partition(":")[0] for line in serving] == ["To serve part1", "To serve part0"]
    assert [line.endswith("--upstream HOST:PORT") for line in serving] == [False, True]


@pytest.mark.parametrize(
    ("layout", "folders"),
    [
        ("plain", ["node-0/toy-variants", "node-1/toy-variants"]),
        ("triton", ["toy-variants.node0", "toy-variants.node1"]),
    ],
)
def test_what_nodes_have_is_written_with_the_aggregation(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, folders: list[str]
) -> None:
    put(store, "toy", "variants", write_for_nodes)
    target = tmp_path / "models"
    assert export(project, "toy-variants", target, "--layout", layout) == 0
    inner = "client/aggregation.json" if layout == "triton" else "aggregation.json"
    assert all((target / folder / inner).is_file() for folder in folders)
    assert "how it combines their answers, is in aggregation.json" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["plain", "triton"])
def test_weights_in_a_file_of_their_own_stay_beside_the_graph(
    store: Store, project: Path, tmp_path: Path, layout: str
) -> None:
    weights = np.arange(3000, dtype=np.float32).reshape(1000, 3)

    def write(folder: Path) -> None:
        x, y = graphs.tensor("x", "FP32", ["n", 1000]), graphs.tensor("y", "FP32", ["n", 3])
        initializer = numpy_helper.from_array(weights, "w")
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [initializer])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin")

    put(store, "large", "identity", write)
    assert export(project, "large-identity", tmp_path / "models", "--layout", layout) == 0
    folder = tmp_path / "models" / "large-identity" / ("1" if layout == "triton" else "")
    assert {"model.onnx", "weights.bin"} <= {path.name for path in folder.iterdir()}
    x = np.ones((2, 1000), np.float32)
    np.testing.assert_allclose(run(folder / "model.onnx", {"x": x})["y"], x @ weights)
    assert not (tmp_path / "models" / "large-identity" / "client").exists()
