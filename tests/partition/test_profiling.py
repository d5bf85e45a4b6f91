"""Costs of nodes from the profiler, and how far parts are from the whole, on graphs whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_edgeai.arrays import Array
from pytest_edgeai.partition import splitting
from pytest_edgeai.partition.equivalence import compare
from pytest_edgeai.partition.graph import Graph, PartitionError, Role
from pytest_edgeai.partition.profiling import is_repeated, measure_prefix_s
from pytest_edgeai.partition.running import completed, cuts_of, open_session, values_of
from pytest_edgeai.partition.splitting import save, split
from tests.partition.graphs import WIDTH, model_of

SIZE = 512


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A large product between two of vectors; the runtime fuses the rectifier's scale and gives it new names."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["x", "v0"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Add", ["c", "v1"], ["y"]),
    ]
    generator = np.random.default_rng(0)
    shapes = {"v0": (SIZE * 10,), "w": (SIZE * 10, SIZE), "v1": (SIZE,)}
    weights = [
        onnx.numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        nodes,
        "uneven",
        [helper.make_tensor_value_info("x", kind, ["n", SIZE * 10])],
        [helper.make_tensor_value_info("y", kind, ["n", SIZE])],
        weights,
    )
    path = tmp_path / "uneven.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _feeds() -> dict[str, Array]:
    return {"x": np.ones((1, SIZE * 10), np.float32)}


def test_the_largest_product_has_nearly_all_of_the_cost(uneven: Path) -> None:
    graph = Graph.read(onnx.load(uneven))
    prefix_s = measure_prefix_s(uneven, graph, [_feeds()], runs=5)

    assert len(prefix_s) == 1 + graph.roles.count(graph.roles[0])
    assert prefix_s[0] == 0
    assert list(prefix_s) == sorted(prefix_s)
    product = [node.op_type for node in graph.nodes].index("MatMul")
    assert prefix_s[product + 1] - prefix_s[product] > 0.5 * prefix_s[-1]


def test_values_inside_a_graph_are_those_that_its_parts_exchange(uneven: Path, tmp_path: Path) -> None:
    model = onnx.load(uneven)
    graph = Graph.read(model)
    for part, name in zip(split(model, graph, ["b"]), ("first", "second"), strict=True):
        save(part, tmp_path / f"{name}.onnx")
    (sent,) = open_session(tmp_path / "first.onnx", "basic").run(None, _feeds())
    assert np.array_equal(values_of(uneven, ["b"], _feeds())["b"], sent)

    found = compare(uneven, [tmp_path / "first.onnx", tmp_path / "second.onnx"], [_feeds()])

    assert (found.basic_difference, found.same_predictions) == (0, 1)


def test_shapes_that_inference_does_not_find_come_from_a_run(uneven: Path) -> None:
    model = onnx.load(uneven)
    graph = Graph.read(model)
    known = {name: tensor for name, tensor in graph.tensors.items() if name not in ("b", "c")}
    forgetful = Graph(graph.nodes, graph.roles, graph.inputs, graph.outputs, graph.weights, known)

    assert completed(forgetful, model, uneven, _feeds()).tensors == dict(graph.tensors)


def test_shapes_that_depend_on_values_are_found_without_running_the_whole(tmp_path: Path) -> None:
    helper = onnx.helper
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["positions"]),
        helper.make_node("Cast", ["positions"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "axis"], ["row"]),
        helper.make_node("MatMul", ["x", "w0"], ["product"]),
        helper.make_node("Concat", ["product", "row"], ["wide"], axis=1),
        helper.make_node("MatMul", ["wide", "w1"], ["y"]),
    ]
    numbers = {"zero": np.int64(0), "one": np.int64(1), "axis": np.array([0], np.int64)}
    weights = {"w0": np.ones((WIDTH, WIDTH), np.float32), "w1": np.ones((2 * WIDTH, WIDTH), np.float32)}
    model = model_of(nodes, ["x"], ["y"], {**numbers, **weights})
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    feeds: dict[str, Array] = {"x": np.ones((1, WIDTH), np.float32)}
    graph = Graph.read(model)
    names = [name for node in graph.nodes for name in node.outputs]
    assert "wide" not in graph.tensors  # else this test shows nothing

    found = completed(graph, model, tmp_path / "not there", feeds).tensors

    assert {name: found[name].shape for name in names} == {
        name: value.shape for name, value in values_of(path, names, feeds).items()
    }


def test_a_graph_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(PartitionError, match=r"broken\.onnx cannot be loaded"):
        open_session(tmp_path / "broken.onnx")


def test_a_graph_whose_weights_are_beside_it_is_cut_and_measured_and_its_parts_keep_theirs_beside_them(
    uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above 2 GB, where protobuf ends; `benchmarks/partition.py large` cuts one of that size."""
    monkeypatch.setattr(splitting, "INLINE_BYTES", 1000)
    whole = tmp_path / "large" / "model.onnx"
    whole.parent.mkdir()
    save(onnx.load(uneven), whole)
    assert whole.stat().st_size < 5000
    feeds: dict[str, Array] = {"x": np.ones((1, SIZE * 10), np.float32)}

    model, graph, cuts = cuts_of(whole, feeds)

    assert len(measure_prefix_s(whole, graph, [feeds], threads=1, runs=2)) == 5
    assert values_of(whole, ["b"], feeds)["b"].shape == (1, SIZE)
    for cut in cuts:
        parts = [tmp_path / f"{cut.position}-{number}" / "model.onnx" for number in range(2)]
        for part, to in zip(split(model, graph, cut.crossing), parts, strict=True):
            to.parent.mkdir()
            save(part, to)
        assert all(part.stat().st_size < 5000 for part in parts)
        beside = [part.with_name(splitting.WEIGHTS_NAME) for part in parts]
        assert sum(path.stat().st_size for path in beside if path.exists()) >= 4 * SIZE * 10 * SIZE
        compare(whole, parts, [feeds]).check(quantized=False)


@pytest.mark.parametrize(
    ("rounds_s", "enough"),
    [([], False), ([1.0, 1.0], False), ([1.0, 1.04, 9.0], True), ([1.0, 1.06, 1.06], False), ([3.0, 3.0, 1.0], False)],
)
def test_a_fast_round_counts_when_another_one_repeats_it(rounds_s: list[float], enough: bool) -> None:
    assert is_repeated(rounds_s) == enough


class SlowAtFirst(Sequence[dict[str, Array]]):
    """Batches of one, after some that take far longer, as on a host that is busy for a moment."""

    def __init__(self, slow: int) -> None:
        self._left = slow

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: Any) -> Any:
        self._left -= 1
        return {"x": np.ones((64 if self._left >= 0 else 1, SIZE * 10), np.float32)}


def test_a_moment_in_which_a_run_takes_longer_does_not_count(uneven: Path) -> None:
    graph = Graph.read(onnx.load(uneven))
    always_s = measure_prefix_s(uneven, graph, SlowAtFirst(10_000))[-1]
    for_a_moment_s = measure_prefix_s(uneven, graph, SlowAtFirst(15))[-1]
    assert for_a_moment_s < 0.5 * always_s


@pytest.mark.parametrize("is_int8", [False, True])
def test_a_convolution_is_counted_where_it_stands_whatever_layout_it_is_computed_in(
    tmp_path: Path, is_int8: bool
) -> None:
    """With channels in blocks every tensor gets a new name, and activations are fused into what is before them."""
    path = tmp_path / "convolutions.onnx"
    onnx.save(_convolutions(is_int8=is_int8), path)
    graph = Graph.read(onnx.load(path))
    prefix_s = measure_prefix_s(path, graph, [{"x": np.ones((1, 16, 64, 64), np.float32)}])
    main = [node.op_type for node, role in zip(graph.nodes, graph.roles, strict=True) if role is Role.MAIN]
    _, large, _ = (number for number, kind in enumerate(main) if kind == "Conv")
    assert prefix_s[large + 1] - prefix_s[large] > 0.5 * prefix_s[-1]


def _convolutions(*, is_int8: bool) -> onnx.ModelProto:
    """A large convolution between two small ones, each with an activation; int8 in the form of Q and DQ nodes."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    generator = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def constant(name: str, values: Any) -> str:
        weights.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def rounded(name: str) -> str:
        """The same tensor by way of int8."""
        scale = [constant(f"{name}_scale", np.float32(0.05)), constant(f"{name}_zero", np.int8(0))]
        add("QuantizeLinear", [name, *scale], f"{name}_quantized")
        return add("DequantizeLinear", [f"{name}_quantized", *scale], f"{name}_rounded")

    for number, (size, before, after) in enumerate([(1, 16, 64), (5, 64, 64), (1, 64, 16)]):
        weight = constant(f"w{number}", generator.normal(0, 0.1, (after, before, size, size)).astype(np.float32))
        inputs = [rounded(last), rounded(weight)] if is_int8 else [last, weight]
        made = add("Conv", inputs, f"c{number}", pads=[size // 2] * 4)
        last = add("Relu", [rounded(made) if is_int8 else made], f"r{number}")
    add("ReduceMean", [last], "y", axes=[2, 3], keepdims=0)
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("x", kind, [1, 16, 64, 64])],
        [helper.make_tensor_value_info("y", kind, [1, 16])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
