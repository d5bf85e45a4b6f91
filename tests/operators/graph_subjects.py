"""Subject models that are ONNX files of other people's kind: fixed batches, several inputs and outputs, any task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectModel

WIDTH = 16
COUNTS = {"train": 0, "calibration": 24, "validation": 40}
SEEDS = {"train": 0, "calibration": 1, "validation": 2}


def weights(seed: int, *shape: int) -> Array:
    """Numbers that are the same every time."""
    drawn = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return np.asarray(drawn, dtype=np.float32)


def write_regression(path: Path, batch: int | str = "rows", opset: int = 17, apart: bool = False) -> Path:
    """A graph of two layers from `x` [batch, 16] to `y` [batch, 1]; its weights in a file of their own if `apart`."""
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "regression",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 1])],
        [numpy_helper.from_array(weights(0, WIDTH, 256), "w0"), numpy_helper.from_array(weights(1, 256, 1), "w1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if apart:
        onnx.save(model, path, save_as_external_data=True, location="numbers.bin", size_threshold=0)
    else:
        onnx.save(model, path)
    return path


def write_detector(path: Path) -> Path:
    """A graph with two inputs and three outputs: `boxes` [n, 2, 4], `scores` [n, 2], `labels` [n, 2]."""
    nodes = [
        helper.make_node("Add", ["corners", "shift"], ["moved"]),
        helper.make_node("Concat", ["corners", "moved"], ["boxes"], axis=2),
        helper.make_node("Sigmoid", ["certainty"], ["scores"]),
        helper.make_node("Cast", ["certainty"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Abs", ["whole"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [
            helper.make_tensor_value_info("corners", TensorProto.FLOAT, ["images", 2, 2]),
            helper.make_tensor_value_info("certainty", TensorProto.FLOAT, ["images", 2]),
        ],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["images", 2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["images", 2]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["images", 2]),
        ],
        [numpy_helper.from_array(np.full((1, 1, 2), 10, np.float32), "shift")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def numbers_of(split: Split) -> Array:
    """The inputs of a split."""
    return np.random.default_rng(SEEDS[split]).normal(size=(COUNTS[split], WIDTH)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Regression:
    """Examples whose references are near what the graph of `write_regression` answers."""

    labelled: bool = True

    def __call__(self, split: Split) -> Sequence[Example]:
        """The examples of a split."""
        inputs = numbers_of(split)
        truth = np.maximum(inputs @ weights(0, WIDTH, 256), 0) @ weights(1, 256, 1)
        return [
            Example({"x": row[None]}, float(value) + 0.01 * (number % 3) if self.labelled else None)
            for number, (row, value) in enumerate(zip(inputs, truth[:, 0], strict=True))
        ]


def detections(split: Split) -> Sequence[Example]:
    """Examples with two boxes each, as the graph of `write_detector` finds them."""
    rng = np.random.default_rng(SEEDS[split])
    found = []
    for _ in range(COUNTS[split]):
        corners = rng.uniform(0, 50, (1, 2, 2)).astype(np.float32)
        certainty = rng.uniform(0.5, 2.5, (1, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + 10], axis=2)[0]
        found.append(
            Example(
                {"corners": corners, "certainty": certainty},
                {"boxes": boxes, "labels": certainty[0].astype(np.int64)},
            )
        )
    return found


def write_houses(folder: Path) -> None:
    """Files for a subject model without Python: `price.onnx`, a regression, and its examples `houses.npz`."""
    write_regression(folder / "price.onnx", 1)
    examples = Regression()("validation")
    np.savez(
        folder / "houses.npz",
        x=np.concatenate([one.inputs["x"] for one in examples]),
        reference=np.array([one.reference for one in examples]),
    )


def regression(graph: Path, *metrics: str, labelled: bool = True) -> SubjectModel:
    """A subject model of a graph of `write_regression`."""
    return SubjectModel(
        name="regression",
        task="a number",
        graph=graph,
        examples=ExampleSource(f"numbers, {labelled}", Regression(labelled), (Path(__file__),)),
        metrics=metrics or ("mae", "rmse", "r2"),
    )


def detector(graph: Path) -> SubjectModel:
    """A subject model of a graph of `write_detector`."""
    return SubjectModel(
        name="detector",
        task="boxes",
        graph=graph,
        examples=ExampleSource("boxes", detections, (Path(__file__),)),
        metrics=("map", "map50"),
    )
