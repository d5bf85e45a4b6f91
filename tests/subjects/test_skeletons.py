"""Graphs whose weights are in a safetensors file: filled, folded, and refused where the two do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects import graphs
from pytest_edgeai.subjects.graphs import GraphError, inputs_of, opset_of, weight_files
from pytest_edgeai.subjects.skeletons import empty, fill, put_graph

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def graph() -> onnx.ModelProto:
    """`y` = `x` times the transpose of `layer.weight`, plus one."""
    nodes = [
        helper.make_node("Transpose", ["layer.weight"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["product"]),
        helper.make_node("Add", ["product", "one"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHT, "layer.weight"), numpy_helper.from_array(np.ones(3, np.float32), "one")],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def written(folder: Path, weights: dict[str, Array]) -> Path:
    """A skeleton of the graph beside weights."""
    model = graph()
    save_file({"layer.weight": WEIGHT}, folder / "layer.safetensors")
    empty(model, folder / "layer.safetensors")
    save_file(weights, folder / "layer.safetensors")
    (folder / "layer.onnx").write_bytes(model.SerializeToString())
    return folder / "layer.onnx"


@pytest.mark.parametrize("precision", [np.float16, np.float32])
def test_a_skeleton_is_filled_and_what_is_constant_is_folded(tmp_path: Path, precision: type[np.generic]) -> None:
    import onnxruntime

    skeleton = written(tmp_path, {"layer.weight": WEIGHT.astype(precision), "more": np.zeros(1)})
    assert weight_files(skeleton) == (tmp_path / "layer.safetensors",)
    assert put_graph(skeleton, tmp_path / "whole.onnx") == "onnxscript"
    whole = onnx.load(tmp_path / "whole.onnx")
    onnx.checker.check_model(whole)
    assert [node.op_type for node in whole.graph.node] == ["MatMul", "Add"]
    assert not weight_files(tmp_path / "whole.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "whole.onnx", providers=["CPUExecutionProvider"])
    x = np.eye(4, dtype=np.float32)[:2]
    assert np.array_equal(session.run(None, {"x": x})[0], x @ WEIGHT.T + 1)


def test_a_skeleton_itself_holds_no_weights(tmp_path: Path) -> None:
    skeleton = written(tmp_path, {"layer.weight": WEIGHT})
    assert WEIGHT.tobytes() not in skeleton.read_bytes()
    assert np.ones(3, np.float32).tobytes() in skeleton.read_bytes()


def test_a_graph_with_its_weights_is_copied(tmp_path: Path) -> None:
    onnx.save(graph(), tmp_path / "theirs.onnx")
    assert put_graph(tmp_path / "theirs.onnx", tmp_path / "ours.onnx") == "copy"
    assert (tmp_path / "ours.onnx").read_bytes() == (tmp_path / "theirs.onnx").read_bytes()


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"other": WEIGHT}, r"layer.onnx does not fit layer.safetensors: it wants a tensor 'layer.weight', which is"),
        (
            {"layer.weight": WEIGHT.T.copy()},
            r"'layer.weight' has shape \[4, 3\] there and \[3, 4\] in the graph",
        ),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, weights: dict[str, Array], sentence: str) -> None:
    with pytest.raises(GraphError, match=sentence):
        fill(written(tmp_path, weights), tmp_path / "whole.onnx")


def test_a_file_of_weights_that_is_broken_or_missing_is_named(tmp_path: Path) -> None:
    skeleton = written(tmp_path, {"layer.weight": WEIGHT})
    (tmp_path / "layer.safetensors").write_bytes(b"no weights")
    with pytest.raises(GraphError, match=r"layer.safetensors cannot be read as safetensors: "):
        fill(skeleton, tmp_path / "whole.onnx")
    (tmp_path / "layer.safetensors").unlink()
    with pytest.raises(GraphError, match=r"has weights in the file 'layer.safetensors', which is not beside it"):
        fill(skeleton, tmp_path / "whole.onnx")


def test_a_weight_of_another_shape_makes_no_skeleton(tmp_path: Path) -> None:
    save_file({"layer.weight": np.zeros((2, 2))}, tmp_path / "other.safetensors")
    with pytest.raises(GraphError, match=r"the graph does not fit other.safetensors: 'layer.weight' has shape"):
        empty(graph(), tmp_path / "other.safetensors")


@pytest.mark.parametrize("ask", [weight_files, inputs_of, opset_of])
def test_a_file_is_parsed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Path], object]
) -> None:
    parsed: list[Path] = []
    read = graphs.read_graph

    def counted(path: Path) -> onnx.ModelProto:
        parsed.append(path)
        return read(path)

    monkeypatch.setattr(graphs, "read_graph", counted)
    path = tmp_path / "one.onnx"
    onnx.save(graph(), path)
    assert ask(path) == ask(path)
    assert len(parsed) == 1
    changed = graph()
    changed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(changed, path)
    ask(path)
    assert len(parsed) == 2
    assert not inputs_of(path).has_batch
