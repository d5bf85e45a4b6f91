"""Every cut of any graph: its parts are valid, own their weights alone and compute in a chain what the whole does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_edgeai.partition.cuts import Cut, find_cuts
from pytest_edgeai.partition.graph import Graph, PartitionError, Role, inputs_of
from pytest_edgeai.partition.running import run_chain
from pytest_edgeai.partition.splitting import split
from tests.partition.graphs import WIDTH, feeds_of, model_of, models

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _check_chain(whole: onnx.ModelProto, parts: list[onnx.ModelProto]) -> None:
    for part in parts:
        onnx.checker.check_model(part, full_check=True)
    for rows in (1, 3):
        feeds = feeds_of(whole, rows)
        expected = run_chain([_session(whole)], feeds)
        got = run_chain([_session(part) for part in parts], feeds)
        assert list(got) == list(expected)
        for name, value in expected.items():
            assert np.array_equal(got[name], value), name


@quick
@given(models(), st.sampled_from([0, 16 * 1024]))
def test_the_parts_of_every_cut_compute_what_the_whole_does(model: onnx.ModelProto, light_bytes: int) -> None:
    graph = Graph.read(model, light_bytes=light_bytes)
    for cut in find_cuts(graph, light_bytes=light_bytes):
        first, second = split(model, graph, cut.crossing)

        _check_chain(model, [first, second])
        kept = [{one.name for one in part.graph.initializer if light_bytes == 0} for part in (first, second)]
        assert not kept[0] & kept[1]
        size = sum(graph.tensors[name].size_bytes for name in cut.crossing)
        assert cut.crossing_bytes == size


@quick
@given(models(), st.data())
def test_a_part_can_be_cut_again(model: onnx.ModelProto, data: st.DataObject) -> None:
    graph = Graph.read(model)
    cuts = find_cuts(graph)
    if not cuts:
        return
    first, rest = split(model, graph, data.draw(st.sampled_from(cuts)).crossing)
    later = Graph.read(rest)
    for cut in find_cuts(later):
        _check_chain(model, [first, *split(rest, later, cut.crossing)])


def _separators(model: onnx.ModelProto) -> set[str]:
    """Tensors through which every path from an input to an output goes, one removed after the other."""
    inputs = {one.name for one in model.graph.input}
    outputs = {one.name for one in model.graph.output}
    found = set()
    for without in {name for node in model.graph.node for name in node.output} - outputs:
        reached = set(inputs)
        for node in model.graph.node:
            if reached.intersection(inputs_of(node)):
                reached.update(set(node.output) - {without})
        if not reached & outputs:
            found.add(without)
    return found


@quick
@given(models())
def test_tensors_that_every_path_goes_through_are_cuts_of_their_own(model: onnx.ModelProto) -> None:
    graph = Graph.read(model)
    varying = {one.name for one in model.graph.input}
    for node in model.graph.node:
        if varying.intersection(inputs_of(node)):
            varying.update(node.output)
    if any(role is Role.SIDE for role in graph.roles) or not {one.name for one in model.graph.output} <= varying:
        return  # what is computed again or is a constant needs no crossing
    alive = {name for node in graph.nodes for name in node.inputs}

    single = {cut.crossing[0] for cut in find_cuts(graph) if len(cut.crossing) == 1}

    assert {name for name in _separators(model) if name in alive and name in varying} <= single


@quick
@given(models())
def test_sizes_and_products_of_both_sides_add_up(model: onnx.ModelProto) -> None:
    graph = Graph.read(model)
    cuts = find_cuts(graph)
    products = sum(WIDTH * WIDTH for node in graph.nodes if node.op_type == "MatMul")
    for cut in cuts:
        assert sum(cut.macs) == products
        assert cut.size_bytes[1] >= 0
        assert sum(cut.size_bytes) == sum(cuts[0].size_bytes)
    assert [cut.position for cut in cuts] == sorted({cut.position for cut in cuts})
    assert [cut.size_bytes[0] for cut in cuts] == sorted(cut.size_bytes[0] for cut in cuts)


def _masked() -> onnx.ModelProto:
    """Two products, and before each the same large mask made from a small input."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Expand", ["mask", "size"], ["grid"]),
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("MatMul", ["grid", "a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("MatMul", ["grid", "c"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    weights = {f"w{number}": np.eye(WIDTH, dtype=np.float32) for number in range(2)}
    model = model_of(nodes, ["x", "mask"], ["y"], {**weights, "size": np.array([1, WIDTH], np.int64)})
    for described, shape in ((model.graph.input[0], (64, WIDTH)), (model.graph.input[1], (1, 64))):
        for size, value in zip(described.type.tensor_type.shape.dim, shape, strict=True):
            size.dim_value = value
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(np.array([64, 64], np.int64), "size"))
    return model


def test_a_mask_crosses_small_and_is_made_large_again_on_the_other_side() -> None:
    graph = Graph.read(_masked())
    cuts = {cut.name: cut for cut in find_cuts(graph)}

    assert set(cuts["b"].crossing) == {"b", "mask"}
    assert cuts["b"].crossing_bytes == 64 * WIDTH * 4 + 64 * 4
    first, second = split(_masked(), graph, cuts["b"].crossing)
    assert [node.op_type for node in second.graph.node] == ["Identity", "Expand", "MatMul", "MatMul", "Relu"]
    assert [one.name for one in first.graph.output] == ["b", "mask@1"]


def test_a_weight_that_two_nodes_share_is_never_on_both_sides() -> None:
    helper = onnx.helper
    nodes = [helper.make_node("MatMul", [one, "w"], [two]) for one, two in (("x", "a"), ("a", "b"), ("b", "c"))]
    nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    model = model_of(nodes, ["x"], ["y"], {"w": np.eye(WIDTH, dtype=np.float32)})

    assert [cut.name for cut in find_cuts(Graph.read(model, light_bytes=0), light_bytes=0)] == ["c"]


def _quantized() -> onnx.ModelProto:
    """Product, rectifier and quantizer twice, as ONNX Runtime's quantizer writes them."""
    helper = onnx.helper
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"])]
    source = "xq"
    for number in range(2):
        names = [f"{kind}{number}" for kind in ("dq", "wd", "m", "r", "q")]
        nodes += [
            helper.make_node("DequantizeLinear", [source, "s", "z"], [names[0]]),
            helper.make_node("DequantizeLinear", [f"w{number}", "s", "zw"], [names[1]]),
            helper.make_node("MatMul", names[:2], [names[2]]),
            helper.make_node("Relu", [names[2]], [names[3]]),
            helper.make_node("QuantizeLinear", [names[3], "s", "z"], [names[4]]),
        ]
        source = names[4]
    nodes.append(helper.make_node("DequantizeLinear", [source, "s", "z"], ["y"]))
    generator = np.random.default_rng(0)
    weights = {f"w{number}": generator.integers(-50, 50, (WIDTH, WIDTH)).astype(np.int8) for number in range(2)}
    constants = {"s": np.float32(0.02), "z": np.uint8(128), "zw": np.int8(0)}
    return model_of(nodes, ["x"], ["y"], {**weights, **constants})


def test_quantized_graphs_are_cut_after_quantize_alone_and_a_quarter_of_the_bytes_crosses() -> None:
    model = _quantized()
    graph = Graph.read(model)

    (cut,) = find_cuts(graph)

    assert cut.crossing == ("q0",)
    assert cut.crossing_bytes == WIDTH
    first, second = split(model, graph, cut.crossing)
    assert first.graph.node[-1].op_type == "QuantizeLinear"
    assert second.graph.node[0].op_type == "DequantizeLinear"
    _check_chain(model, [first, second])


def test_tensors_that_do_not_cut_the_graph_are_refused() -> None:
    model = _masked()
    with pytest.raises(PartitionError, match="mask"):
        split(model, Graph.read(model), ("b",))


def test_a_cut_says_where_it_is() -> None:
    cuts = find_cuts(Graph.read(_masked()))
    assert cuts[0] == Cut("a", 1, ("a", "mask"), 64 * 4 + 64 * WIDTH * 4, (64, 80), (16, 16), (1024, 33792))
