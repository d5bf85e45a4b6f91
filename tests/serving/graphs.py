"""Graphs that are small enough to be written in a test, and folders of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from pytest_edgeai.serving.pipeline import Pipeline

Shape = Sequence[int | str] | None

ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def tensor(name: str, datatype: str, shape: Shape) -> Any:
    """A graph's input or output; a size that is text is open, a shape of None leaves the rank open."""
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[datatype], shape)


def write(
    folder: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], pipeline: Pipeline | None = None
) -> Path:
    """Write a model's folder."""
    folder.mkdir(parents=True)
    graph = helper.make_graph(nodes, folder.name, inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.save(model, folder / "model.onnx")
    if pipeline is not None:
        pipeline.write(folder)
    return folder


def write_echo(folder: Path, datatype: str = "FP32", shape: Shape = None, pipeline: Pipeline | None = None) -> Path:
    """A graph that gives what it takes: `x` becomes `y`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return write(folder, [node], [tensor("x", datatype, shape)], [tensor("y", datatype, shape)], pipeline)


def write_sum(folder: Path) -> Path:
    """A graph of two inputs and two outputs: `total` is a + b, `difference` is a - b, FP32 of shape [n, 2]."""
    nodes = [helper.make_node("Add", ["a", "b"], ["total"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    inputs = [tensor(name, "FP32", ["n", 2]) for name in ("a", "b")]
    outputs = [tensor(name, "FP32", ["n", 2]) for name in ("total", "difference")]
    return write(folder, nodes, inputs, outputs)


def write_matmul(folder: Path, size: int) -> Path:
    """A graph that takes a while: `y` is x · x for a square matrix, `size` times in a row."""
    names = [f"x{number}" for number in range(6)]
    nodes = [helper.make_node("MatMul", [before, "x0"], [after]) for before, after in itertools.pairwise(names)]
    return write(folder, nodes, [tensor("x0", "FP32", [size, size])], [tensor(names[-1], "FP32", [size, size])])
