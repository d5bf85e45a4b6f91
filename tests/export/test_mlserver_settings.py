"""The settings that MLServer reads of an exported model."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from pytest_edgeai.commands import mlserver


@pytest.mark.parametrize(
    ("element", "expected"), [("STRING", "BYTES"), ("FLOAT16", "FP16"), ("BOOL", "BOOL"), ("BFLOAT16", None)]
)
def test_mlserver_gets_its_own_names_of_datatypes_and_nothing_that_it_has_none_for(
    tmp_path: Path, element: str, expected: str | None
) -> None:
    tensors = [helper.make_tensor_value_info(name, getattr(onnx.TensorProto, element), ["n", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    written = json.loads(mlserver.settings("m", tmp_path / "model.onnx", "model.onnx"))

    assert [one["datatype"] for one in written.get("inputs", [])] == ([] if expected is None else [expected])
