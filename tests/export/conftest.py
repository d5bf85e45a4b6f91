"""A project without settings, and a store with an artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_edgeai.store import Store
from tests.export.artifacts import put, write_whole


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store that a project without settings uses."""
    monkeypatch.setenv("EDGEAI_STORE", str(tmp_path / "store"))
    store = Store(tmp_path / "store")
    put(store, "toy", "sptq", write_whole)
    return store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"
