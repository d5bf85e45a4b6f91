"""Fit the temperature of the next hour to the last 24, and write `weather.onnx` and `weather.npz`: `python make.py`."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent

if __name__ == "__main__":
    random = np.random.default_rng(0)
    hours = np.arange(2000)
    drift = np.cumsum(random.normal(0, 0.4, len(hours)))
    temperature = 12 + 6 * np.sin(2 * np.pi * hours / 24) + drift - 0.02 * np.cumsum(drift) / np.arange(1, 2001)
    windows = np.lib.stride_tricks.sliding_window_view(temperature, 25).astype(np.float32)
    days, following = windows[:, :24], windows[:, 24]
    known = np.column_stack([days, np.ones(len(days))])
    weights = np.linalg.lstsq(known[:-200], following[:-200], rcond=None)[0].astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["day", "weights", "offset"], ["temperature"])],
        "weather",
        [helper.make_tensor_value_info("day", TensorProto.FLOAT, ["n", 24])],
        [helper.make_tensor_value_info("temperature", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(weights[:24, None], "weights"), numpy_helper.from_array(weights[24:], "offset")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), HERE / "weather.onnx"
    )
    np.savez(HERE / "weather.npz", day=days[-200:], reference=following[-200:])
