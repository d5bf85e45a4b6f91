"""What crosses a cut is as large as for the example: images of any size, texts of any length, weights in subgraphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.partition.choosing import halves
from pytest_edgeai.partition.cuts import find_cuts, what_ties
from pytest_edgeai.partition.graph import Graph, PartitionError
from pytest_edgeai.partition.running import cuts_of, values_of

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RANDOM = np.random.default_rng(0)


def _weights(**shapes: tuple[int, ...]) -> list[onnx.TensorProto]:
    return [
        numpy_helper.from_array(RANDOM.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()
    ]


def _numbers(**values: object) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in values.items()]


def _saved(path: Path, graph: onnx.GraphProto) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def unet(path: Path) -> Path:
    """An encoder, a bottleneck and a decoder that goes back to the encoder's size, for images of any size."""
    nodes = [
        helper.make_node("Conv", ["image", "w_in"], ["skip"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["skip"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pooled", "w_deep"], ["deep"], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["skip"], ["skip_shape"]),
        helper.make_node("Slice", ["skip_shape", "two", "four"], ["skip_size"]),
        helper.make_node("Shape", ["deep"], ["deep_shape"]),
        helper.make_node("Slice", ["deep_shape", "zero", "two"], ["deep_head"]),
        helper.make_node("Concat", ["deep_head", "skip_size"], ["size"], axis=0),
        helper.make_node("Resize", ["deep", "", "", "size"], ["up"]),
        helper.make_node("Concat", ["up", "skip"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w_out"], ["mask"]),
    ]
    graph = helper.make_graph(
        nodes,
        "unet",
        [helper.make_tensor_value_info("image", FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("mask", FLOAT, ["batch", 1, "height", "width"])],
        [
            *_weights(w_in=(16, 3, 3, 3), w_deep=(16, 16, 3, 3), w_out=(1, 32, 1, 1)),
            *_numbers(zero=[0], two=[2], four=[4]),
        ],
    )
    return _saved(path, graph)


def _t5(path: Path) -> Path:
    """Attention with a bias by relative position, which is made of the text's length, before a second layer."""
    width = 64
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["embedded"]),
        helper.make_node("Shape", ["tokens"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["places"]),
        helper.make_node("Unsqueeze", ["places", "axis"], ["column"]),
        helper.make_node("Sub", ["places", "column"], ["distance"]),
        helper.make_node("Abs", ["distance"], ["far"]),
        helper.make_node("Gather", ["bias_table", "far"], ["bias"]),
        helper.make_node("MatMul", ["embedded", "w_q"], ["q"]),
        helper.make_node("Transpose", ["embedded"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["biased"]),
        helper.make_node("Softmax", ["biased"], ["attention"]),
        helper.make_node("MatMul", ["attention", "embedded"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "w_first"], ["first"]),
        helper.make_node("MatMul", ["first", "w_second"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "t5",
        [helper.make_tensor_value_info("tokens", INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", "length", width])],
        [
            *_weights(
                table=(100, width),
                bias_table=(128,),
                w_q=(width, width),
                w_first=(width, width),
                w_second=(width, width),
            ),
            *_numbers(zero=0, one=1, axis=[1]),
        ],
    )
    return _saved(path, graph)


def _image(size: int) -> dict[str, Array]:
    return {"image": RANDOM.normal(size=(1, 3, size, size)).astype(np.float32)}


def _tokens(length: int) -> dict[str, Array]:
    return {"tokens": np.arange(length, dtype=np.int64)[None]}


def test_a_unet_for_images_of_any_size_sends_what_the_example_makes(tmp_path: Path) -> None:
    _, _, cuts = cuts_of(unet(tmp_path / "unet.onnx"), _image(64))
    assert next((cut.name, cut.crossing_bytes) for cut in cuts) == ("skip", 16 * 64 * 64 * 4)


def test_a_transformer_for_texts_of_any_length_sends_what_the_example_makes(tmp_path: Path) -> None:
    _, _, cuts = cuts_of(_t5(tmp_path / "t5.onnx"), _tokens(80))
    crossing = {cut.name: (cut.crossing, cut.crossing_bytes) for cut in cuts}
    assert crossing["q"] == (("embedded", "q", "tokens"), 2 * 80 * 64 * 4 + 80 * 8)


@pytest.mark.parametrize("size", [24, 80])
@pytest.mark.parametrize(("write", "feeds_of"), [(unet, _image), (_t5, _tokens)], ids=["unet", "t5"])
def test_every_shape_is_that_of_a_run(tmp_path: Path, write: object, feeds_of: object, size: int) -> None:
    path, feeds = write(tmp_path / "graph.onnx"), feeds_of(size)  # type: ignore[operator]
    _, graph, cuts = cuts_of(path, feeds)
    names = [name for node in graph.nodes for name in node.outputs]
    values = values_of(path, names, feeds)
    assert {name: graph.tensors[name].shape for name in names} == {name: values[name].shape for name in names}
    for cut in cuts:
        assert cut.crossing_bytes == sum((feeds | values)[name].nbytes for name in cut.crossing)


def test_without_an_example_a_size_that_is_left_open_is_not_guessed(tmp_path: Path) -> None:
    graph = Graph.read(onnx.load(unet(tmp_path / "unet.onnx")))
    with pytest.raises(PartitionError, match="the shape of 'skip' is not known: it takes an example"):
        find_cuts(graph)


def loop(path: Path) -> Path:
    """A small product, a loop whose body has the large weight, and a product with hardly any."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w_body"], ["next"]),
            helper.make_node("Identity", ["go"], ["goes"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
        ],
        _weights(w_body=(320, 320)),
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w_first"], ["a"]),
        helper.make_node("Loop", ["turns", "", "a"], ["b"], body=body),
        helper.make_node("MatMul", ["b", "w_last"], ["c"]),
        helper.make_node("ReduceMax", ["c"], ["y"], axes=[1]),
    ]
    graph = helper.make_graph(
        nodes,
        "loop",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 320])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 1])],
        [*_weights(w_first=(320, 320), w_last=(320, 8)), *_numbers(turns=2)],
    )
    return _saved(path, graph)


def test_weights_in_the_body_of_a_loop_count_and_no_half_is_empty(tmp_path: Path) -> None:
    feeds = {"x": np.ones((1, 320), np.float32)}
    _, _, cuts = cuts_of(loop(tmp_path / "loop.onnx"), feeds)
    square, thin, turns = 320 * 320 * 4, 320 * 8 * 4, 8
    assert {cut.name: cut.size_bytes for cut in cuts} == {
        "a": (square, turns + square + thin),
        "b": (square + turns + square, thin),
        "c": (square + turns + square + thin, 0),
    }
    assert halves(cuts)[0].name == "a"


def test_constants_that_are_nodes_are_weights_which_only_one_part_has(tmp_path: Path) -> None:
    weight = _weights(w=(128, 128))[0]
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("Tanh", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 128])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 128])],
    )
    _, _, cuts = cuts_of(_saved(tmp_path / "constant.onnx", graph), {"x": np.ones((1, 128), np.float32)})
    assert [(cut.name, cut.size_bytes) for cut in cuts] == [("c", (128 * 128 * 4, 0))]


def tied(path: Path) -> Path:
    """A first and a last product by the same weight, so that no position is left to cut at."""
    nodes = [
        helper.make_node("MatMul", ["x", "shared"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "shared"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tied",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 128])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 128])],
        _weights(shared=(128, 128), w=(128, 128)),
    )
    return _saved(path, graph)


def test_a_graph_without_a_cut_says_what_ties_it(tmp_path: Path) -> None:
    _, read, cuts = cuts_of(tied(tmp_path / "tied.onnx"), {"x": np.ones((1, 128), np.float32)})
    assert cuts == ()
    assert what_ties(read) == "the graph has no cut: weight 'shared' is used by 'a' (MatMul) and by 'y' (MatMul)"


def test_a_graph_of_one_node_says_so(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "single",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 128])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 128])],
        _weights(w=(128, 128)),
    )
    read = Graph.read(onnx.load(_saved(tmp_path / "single.onnx", graph)))
    assert what_ties(read) == "the graph has no cut: it has only one node that computes with weights, 'y' (MatMul)"
