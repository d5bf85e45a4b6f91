"""Random ONNX graphs: branches, reused tensors, shared weights, optional inputs, several inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4
_UNARY = ("Relu", "Tanh", "Neg", "Identity", "Clip", "Split", "If")
_BINARY = ("Add", "Mul", "Sub", "Concat")
_WEIGHED = ("MatMul", "AddWeight")


def model_of(
    nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str], weights: dict[str, Any]
) -> onnx.ModelProto:
    """A checked model whose inputs and outputs are rows of `WIDTH` floats."""
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH]) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """A random model of a few nodes."""
    generator = np.random.default_rng(draw(st.integers(0, 9)))
    inputs = [f"in{number}" for number in range(draw(st.integers(1, 3)))]
    tensors, nodes = list(inputs), list[onnx.NodeProto]()
    weights: dict[str, Any] = {
        "w0": generator.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "w1": generator.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "table": generator.normal(size=WIDTH).astype(np.float32),
        "most": np.float32(0.5),
        "one": np.array([1], np.int64),
        "five": np.array([5], np.int64),
        "halves": np.array([2, 2], np.int64),
        "yes": np.bool_(True),
    }
    for number in range(draw(st.integers(2, 9))):
        kind = draw(st.sampled_from((*_UNARY, *_BINARY, *_WEIGHED)))
        source = draw(st.sampled_from(tensors[-4:]))
        other = draw(st.sampled_from(tensors))
        made = f"t{number}"
        if kind == "Clip":  # the least value is left out
            nodes.append(helper.make_node("Clip", [source, "", "most"], [made]))
        elif kind == "Split":  # and its halves the other way round
            nodes.append(helper.make_node("Split", [source, "halves"], [f"{made}l", f"{made}r"], axis=1))
            nodes.append(helper.make_node("Concat", [f"{made}r", f"{made}l"], [made], axis=1))
        elif kind == "Concat":
            nodes.append(helper.make_node("Concat", [source, other], [f"{made}w"], axis=1))
            nodes.append(helper.make_node("Slice", [f"{made}w", "one", "five", "one"], [made]))  # columns 1 to 4
        elif kind == "If":  # a subgraph that takes two tensors from around it
            branch = helper.make_graph(
                [helper.make_node("Add", [source, other], ["sum"])],
                "branch",
                [],
                [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", WIDTH])],
            )
            nodes.append(helper.make_node("If", ["yes"], [made], then_branch=branch, else_branch=branch))
        elif kind == "MatMul":
            nodes.append(helper.make_node("MatMul", [source, draw(st.sampled_from(["w0", "w1"]))], [made]))
        elif kind == "AddWeight":  # of a weight that goes through a node of its own
            nodes.append(helper.make_node("Neg", ["table"], [f"{made}c"]))
            nodes.append(helper.make_node("Add", [source, f"{made}c"], [made]))
        elif kind in _BINARY:
            nodes.append(helper.make_node(kind, [source, other], [made]))
        else:
            nodes.append(helper.make_node(kind, [source], [made]))
        tensors.append(made)
    own = tensors[len(inputs) :]
    outputs = [own[-1], *draw(st.lists(st.sampled_from(own), max_size=2))]
    return model_of(nodes, inputs, list(dict.fromkeys(outputs)), weights)


def feeds_of(model: onnx.ModelProto, rows: int = 1) -> dict[str, Any]:
    """Inputs for a model."""
    generator = np.random.default_rng(rows)
    return {one.name: generator.normal(size=(rows, WIDTH)).astype(np.float32) for one in model.graph.input}
