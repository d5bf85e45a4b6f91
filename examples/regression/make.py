"""Train a regression in scikit-learn, and write `disease.onnx` and `patients.npz`: `python make.py`.

Needs skl2onnx (`pip install skl2onnx`). The data set comes with scikit-learn.
"""

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor

HERE = Path(__file__).parent

if __name__ == "__main__":
    inputs, progression = load_diabetes(return_X_y=True)
    inputs = (20 * inputs).astype(np.float32)
    learnt, kept, truth, kept_truth = train_test_split(inputs, progression, test_size=160, random_state=0)
    model = MLPRegressor(
        hidden_layer_sizes=(32, 16), alpha=1, learning_rate_init=0.01, early_stopping=True, random_state=0
    )
    model.fit(learnt, truth)
    (HERE / "disease.onnx").write_bytes(to_onnx(model, learnt[:1]).SerializeToString())
    np.savez(HERE / "patients.npz", X=kept, reference=kept_truth)
