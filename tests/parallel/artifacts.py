"""Artifacts for several nodes, made by hand: each node multiplies its input by a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.parallel import node_folder
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.serving.pipeline import Classification, Pipeline
from pytest_edgeai.tiers.backend import DeploymentSpec
from pytest_edgeai.tiers.placements import Placement

CLASSES = 6
NAME = "tiny-nodes"


def write_node(folder: Path, matrix: Array, k: int | None) -> None:
    """A node that answers with its k best classes, or with its logits."""
    folder.mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "node",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, CLASSES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, matrix.shape[1]])],
        [numpy_helper.from_array(matrix.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    Pipeline(None, None if k is None else Classification(k=k)).write(folder)


def write_variants(artifact: Path, nodes: int, deadline_s: float = 30.0) -> tuple[Path, Sequence[Array]]:
    """Nodes that know every class, each a little differently; their matrices."""
    generator = np.random.default_rng(0)
    matrices = [3 * np.eye(CLASSES) + generator.normal(0, 0.5, (CLASSES, CLASSES)) for _ in range(nodes)]
    for number, matrix in enumerate(matrices):
        write_node(node_folder(artifact, number), matrix, 2)
    Aggregation("variants", nodes, CLASSES, 2, deadline_s).write(artifact)
    return artifact, matrices


def write_classes(artifact: Path, nodes: int) -> tuple[Path, Sequence[Array]]:
    """Nodes that know every nth class each."""
    groups = tuple(tuple(range(number, CLASSES, nodes)) for number in range(nodes))
    matrices = [3 * np.eye(CLASSES)[:, list(group)] for group in groups]
    for number, matrix in enumerate(matrices):
        write_node(node_folder(artifact, number), matrix, None)
    Aggregation("classes", nodes, CLASSES, 2, groups=groups).write(artifact)
    return artifact, matrices


def write_copies(artifact: Path, nodes: int) -> Path:
    """One folder for all nodes."""
    write_node(node_folder(artifact, 0), 3 * np.eye(CLASSES), 2)
    Aggregation("copies", nodes, CLASSES, 2).write(artifact)
    return artifact


def order(artifact: Path, placement: str) -> DeploymentSpec:
    """What to deploy."""
    return DeploymentSpec(NAME, artifact, Placement.parse(placement))


def one_hot(label: int) -> dict[str, Array]:
    """A request whose label is this."""
    return {"x": np.eye(CLASSES, dtype=np.float32)[[label]]}


def summed(matrices: Sequence[Array], label: int) -> tuple[list[int], list[float]]:
    """What the two best classes of each node sum up to, the slow and obvious way."""
    sums = dict.fromkeys(range(CLASSES), 0.0)
    for matrix in matrices:
        logits = [float(value) for value in matrix.astype(np.float32)[label]]
        raised = [float(np.exp(value)) for value in logits]
        for one in np.argsort(-np.array(logits), kind="stable")[:2].tolist():
            sums[one] += raised[one] / sum(raised)
    labels = sorted(sums, key=lambda one: (-sums[one], one))[:2]
    return labels, [sums[one] / len(matrices) for one in labels]
