"""Train a classifier of digits in scikit-learn, and write `digits.onnx` and `digits.npz`: `python make.py`."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent

if __name__ == "__main__":
    pixels, digits = load_digits(return_X_y=True)
    pixels = (pixels / 16).astype(np.float32)
    model = MLPClassifier(hidden_layer_sizes=(64,), max_iter=60, random_state=0, early_stopping=True)
    model.fit(pixels[:-200], digits[:-200])
    weights = {"w0": model.coefs_[0], "b0": model.intercepts_[0], "w1": model.coefs_[1], "b1": model.intercepts_[1]}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["pixels", "w0", "b0"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["rectified"]),
            helper.make_node("Gemm", ["rectified", "w1", "b1"], ["logits"]),
        ],
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), HERE / "digits.onnx"
    )
    np.savez(HERE / "digits.npz", pixels=pixels[-200:], reference=digits[-200:])
