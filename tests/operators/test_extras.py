"""Which extra has what is missing: as pyproject.toml says."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from pytest_edgeai.operators.extras import installing, is_installed

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


@pytest.mark.parametrize(
    ("module", "distribution", "extra"),
    [
        ("neural_compressor.quantization", "neural-compressor", "suite"),
        ("onnxscript.optimizer", "onnxscript", "suite"),
        ("safetensors", "safetensors", "suite"),
        ("sklearn.datasets", "scikit-learn", "suite"),
        ("torch.nn", "torch", "operators"),
        ("torch_pruning", "torch-pruning", "operators"),
        ("transformers", "transformers", "operators"),
    ],
)
def test_the_extra_that_has_a_module_is_named(module: str, distribution: str, extra: str) -> None:
    assert installing(module) == f"pip install 'pytest-edgeai[{extra}]'"
    assert any(one.partition("=")[0].rstrip("><=") == distribution for one in EXTRAS[extra])


def test_the_larger_extra_includes_the_smaller_one_which_has_no_torch() -> None:
    assert "pytest-edgeai[suite]" in EXTRAS["operators"]
    assert not any("torch" in one or "transformers" in one for one in EXTRAS["suite"])


def test_a_module_that_is_hidden_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed("json")
    assert not is_installed("no_such_library")
    monkeypatch.setitem(sys.modules, "json", None)
    assert not is_installed("json")
