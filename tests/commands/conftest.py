"""A folder with an ONNX file and examples, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.operators.graph_subjects import Regression, write_regression


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a test."""
    monkeypatch.chdir(tmp_path)
    write_regression(tmp_path / "price.onnx", 1)
    examples = Regression()("validation")
    np.savez(
        tmp_path / "houses.npz",
        x=np.concatenate([one.inputs["x"] for one in examples]),
        reference=np.array([one.reference for one in examples]),
    )
    return tmp_path
