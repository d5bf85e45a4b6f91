"""Merged groups of a convolution: the same numbers from fewer groups."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.operators.groups import block_diagonal, merge_narrow_groups


def _graph(weights: Array, groups: int, users: int = 1) -> onnx.ModelProto:
    channels = weights.shape[1] * groups
    names = [f"y{number}" for number in range(users)]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], [name], group=groups) for name in names],
        "grouped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, 6, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, images: Array) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: Array = session.run(None, {"x": images})[0]
    return answer


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([2, 3, 4, 6, 8]),
    channels=st.integers(2, 9),
    outputs=st.integers(1, 3),
    narrow=st.integers(2, 12),
    wide=st.integers(2, 40),
)
def test_what_is_merged_computes_the_same(groups: int, channels: int, outputs: int, narrow: int, wide: int) -> None:
    generator = np.random.default_rng(groups * 100 + channels)
    weights = generator.normal(size=(groups * outputs, channels, 3, 3)).astype(np.float32)
    images = generator.normal(size=(2, groups * channels, 6, 6)).astype(np.float32)
    model = _graph(weights, groups)
    before = _run(model, images)
    changed = merge_narrow_groups(model, narrow, wide)
    np.testing.assert_allclose(_run(model, images), before, rtol=1e-4, atol=1e-4)
    merged = model.graph.initializer[0].dims[1]
    assert changed == (merged > channels)
    assert changed == (
        channels < narrow and any(groups % n == 0 and n * channels <= wide for n in range(2, groups + 1))
    )
    assert merged <= max(wide, channels)


def test_zeros_are_where_a_group_has_anothers_inputs() -> None:
    weights = np.arange(1.0, 9.0).reshape(4, 2)
    expected = [[1, 2, 0, 0], [0, 0, 3, 4], [5, 6, 0, 0], [0, 0, 7, 8]]
    np.testing.assert_array_equal(block_diagonal(weights, 4, 2), expected)


@pytest.mark.parametrize(("channels", "groups", "users"), [(1, 8, 1), (4, 1, 1), (16, 4, 1), (4, 8, 2)])
def test_single_channels_single_groups_wide_groups_and_shared_weights_stay(
    channels: int, groups: int, users: int
) -> None:
    model = _graph(np.ones((groups, channels, 3, 3), np.float32), groups, users)
    before = model.SerializeToString()
    assert merge_narrow_groups(model, narrow=16, wide=32) == 0
    assert model.SerializeToString() == before
