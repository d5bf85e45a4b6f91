"""Multiply-accumulates against the sums written out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_edgeai.arrays import Array
from pytest_edgeai.operators.macs import multiply_accumulates, observe_shapes

if TYPE_CHECKING:
    import torch

pytest.importorskip("torch")
pytest.importorskip("onnxscript")


def _count(network: torch.nn.Module, example: Array, folder: Path) -> int:
    import onnx

    from pytest_edgeai.operators.export import export

    export(network, {"x": np.concatenate([example, example])}, folder / "model.onnx", 20)
    model = onnx.load(folder / "model.onnx")
    return multiply_accumulates(model, observe_shapes(model, {"x": example}))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_of_a_convolution(tmp_path: Path, groups: int) -> None:
    import torch

    network = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups)
    pixels = 5 * 3  # of 9 x 6, halved
    expected = pixels * 8 * (4 // groups) * 3 * 3
    assert _count(network, np.ones((1, 4, 9, 6), np.float32), tmp_path) == expected


def test_of_matrix_products_of_any_rank(tmp_path: Path) -> None:
    import torch

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = torch.nn.Linear(16, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.project(x)
            product: torch.Tensor = y @ y.transpose(1, 2)
            return product

    tokens = 7
    assert (
        _count(Attention(), np.ones((1, tokens, 16), np.float32), tmp_path) == tokens * 16 * 12 + tokens * tokens * 12
    )
