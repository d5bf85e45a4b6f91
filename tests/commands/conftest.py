"""A folder with an ONNX file and examples, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operators.graph_subjects import write_houses


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a test."""
    monkeypatch.chdir(tmp_path)
    write_houses(tmp_path)
    return tmp_path
