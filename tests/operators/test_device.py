"""Which device operators train on."""

from __future__ import annotations

import pytest
import torch

from pytest_edgeai.operators.device import training_device


def test_training_is_on_the_cpu_where_torch_has_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert training_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("worker", "number"), [(None, 0), ("master", 0), ("gw0", 0), ("gw1", 1), ("gw2", 0), ("gw13", 1)]
)
def test_workers_take_turns_at_the_accelerators(
    monkeypatch: pytest.MonkeyPatch, worker: str | None, number: int
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if worker is not None:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    assert training_device() == torch.device("cuda", number)
