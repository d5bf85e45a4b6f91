"""The fixed computation that tells how fast a tier computes now."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.serving.reference import GRAPH, RUNS, SHAPE, Reference
from pytest_edgeai.serving.repository import Execution
from tests.serving import tiers


def build() -> onnx.ModelProto:
    """The graph as it was made: six convolutions of 16 channels by one constant weight."""
    channels = SHAPE[1]
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1 / (9 * channels)])
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["weight"], value=value)]
    before = "x"
    for number in range(6):
        nodes.append(helper.make_node("Conv", [before, "weight"], [f"conv{number}"], pads=[1, 1, 1, 1]))
        before = f"relu{number}"
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [before]))
    nodes.append(helper.make_node("ReduceMean", [before], ["y"], axes=[2, 3]))
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 1, 1])],
        [helper.make_tensor("shape", TensorProto.INT64, [4], [channels, channels, 3, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ask(port: int, path: str) -> Any:
    return tiers.talk(port, tiers.request("GET", path), method="GET").json


def test_the_graph_that_is_shipped_is_the_one_that_is_described_here() -> None:
    assert onnx.load(GRAPH) == build()
    assert GRAPH.stat().st_size < 20_000
    # Saved sessions are compared by it: with another graph, everything would seem to have changed.
    assert hashlib.sha256(GRAPH.read_bytes()).hexdigest()[:16] == "c84166277f59aaf1"


def test_a_tier_runs_the_reference_and_tells_its_wall_and_cpu_time(port: int) -> None:
    found = ask(port, REFERENCE_PATH)
    assert found["runs"] == RUNS
    for kind in ("wall_s", "cpu_s"):
        assert 0 < found["fastest"][kind] <= found["median"][kind]


@pytest.mark.parametrize("threads", [1, 2])
def test_it_runs_on_the_threads_of_the_tier(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    seen: list[int] = []
    open_session = onnxruntime.InferenceSession

    def watched(path: str, options: Any, providers: Any) -> Any:
        seen.append(options.intra_op_num_threads)
        return open_session(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    Reference(Execution(threads=threads))()
    assert seen == [threads]


def test_it_is_a_computation_whose_result_does_not_drift() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(GRAPH), providers=["CPUExecutionProvider"])
    (means,) = session.run(None, {"x": np.ones(SHAPE, np.float32)})
    assert means.shape == (1, 16, 1, 1)
    assert np.all((means > 0.8) & (means < 1))


def test_a_tier_tells_on_which_running_system_it_is(port: int) -> None:
    limits = ask(port, LIMITS_PATH)
    assert limits["cpu_s"] > 0
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        assert limits["boot"] == boot.read_text(encoding="ascii").strip()
