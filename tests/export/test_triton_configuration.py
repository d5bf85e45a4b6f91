"""Triton's configuration of an exported graph, read by Triton's own schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from onnx import helper

from pytest_edgeai.commands.triton import configuration
from pytest_edgeai.store import Store
from pytest_edgeai.subjects.graphs import GraphError
from tests.export.artifacts import (
    export,
    parse,
)
from tests.serving import graphs

Dims = Sequence[int | str]


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch", "dims"),
    [
        ([["n", 3]], [["n", 2]], 7, [[3], [2]]),
        ([["n", 3, "w"]], [["m", 2]], 7, [[3, -1], [2]]),
        ([[1, 3]], [["n", 2]], 0, [[1, 3], [-1, 2]]),
        ([["n", 3]], [["n", 2], [1, 4]], 0, [[-1, 3], [-1, 2], [1, 4]]),
        ([["n", 3], ["n"]], [["n", 2]], 0, [[-1, 3], [-1], [-1, 2]]),
        ([["n", 3]], [[]], 0, [[-1, 3], [1]]),
    ],
    ids=["batch", "batch and another open size", "fixed input", "one fixed output", "nothing but a batch", "a scalar"],
)
def test_dims_are_those_of_the_graph(
    tmp_path: Path, inputs: Sequence[Dims], outputs: Sequence[Dims], batch: int, dims: list[list[int]]
) -> None:
    folder = graphs.write(
        tmp_path / "graph",
        [helper.make_node("Identity", ["x0"], [f"y{number}"]) for number in range(len(outputs))],
        [graphs.tensor(f"x{number}", "FP32", shape) for number, shape in enumerate(inputs)],
        [graphs.tensor(f"y{number}", "FP32", shape) for number, shape in enumerate(outputs)],
    )
    parsed = parse(configuration("name", folder / "model.onnx", 7, "two\nlines"))
    assert parsed.max_batch_size == batch
    tensors = [*parsed.input, *parsed.output]
    assert [list(one.dims) for one in tensors] == dims
    assert [one.HasField("reshape") for one in tensors] == [shape == [] for shape in (*inputs, *outputs)]


@pytest.mark.parametrize("datatype", graphs.ELEMENT_TYPES)
def test_datatypes_are_those_of_the_graph(tmp_path: Path, datatype: str) -> None:
    folder = graphs.write_echo(tmp_path / "graph", datatype, ["n", 3])
    parsed = parse(configuration("name", folder / "model.onnx", 4, ""))
    expected = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    field = parsed.input[0].DESCRIPTOR.fields_by_name["data_type"]
    for one in (*parsed.input, *parsed.output):
        assert field.enum_type.values_by_number[one.data_type].name == expected


def test_names_are_quoted(tmp_path: Path) -> None:
    name = 'a "name" with \\ and é'
    node = helper.make_node("Identity", [name], ["y"])
    x, y = graphs.tensor(name, "FP32", ["n", 3]), graphs.tensor("y", "FP32", ["n", 3])
    folder = graphs.write(tmp_path / "graph", [node], [x], [y])
    parsed = parse(configuration("distilled>sptq", folder / "model.onnx", 4, ""))
    assert (parsed.name, parsed.input[0].name) == ("distilled>sptq", name)


def test_a_graph_of_any_rank_is_refused(tmp_path: Path) -> None:
    folder = graphs.write_echo(tmp_path / "graph")
    with pytest.raises(GraphError, match="'x' has no shape"):
        configuration("name", folder / "model.onnx", 4, "")


def test_the_largest_batch_can_be_said(store: Store, project: Path, tmp_path: Path) -> None:
    assert export(project, "toy-sptq", tmp_path / "models", "--layout", "triton", "--max-batch-size", "32") == 0
    text = (tmp_path / "models" / "toy-sptq" / "config.pbtxt").read_text(encoding="utf-8")
    assert parse(text).max_batch_size == 32


@pytest.mark.parametrize("batch", ["0", "-1", "x", str(2**31)])
def test_a_largest_batch_that_cannot_be_is_refused(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        export(project, "toy-sptq", tmp_path / "models", f"--max-batch-size={batch}")
    assert ended.value.code == 2
    assert "is not a whole number" in capsys.readouterr().err
