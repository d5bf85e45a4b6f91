"""Links that are used at the same time are proven at the same time."""

from __future__ import annotations

import threading
import time
from typing import Any

from pytest_edgeai.tiers.probe import check_concurrent_rate
from pytest_edgeai.wire.client import Transfer


class _Line:
    """A link that takes a while; or that has it only while no other one does."""

    def __init__(self, shared: threading.Lock | None) -> None:
        self._shared = shared or threading.Lock()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def upload(self, path: str, size_bytes: int) -> Transfer:
        began = time.perf_counter()
        with self._shared:
            time.sleep(size_bytes / 1e6)
        return Transfer(time.perf_counter() - began, size_bytes, 0)

    def download(self, path: str) -> Transfer:
        return Transfer(0.0, 0, 0)


def test_links_that_share_what_they_should_not_are_told() -> None:
    lock = threading.Lock()
    lines = [_Line(lock) for _ in range(3)]
    sentence = check_concurrent_rate(lines, "mobile-edge", 50_000)
    assert sentence is not None
    assert sentence.startswith("3 links mobile-edge slow each other down on this host: 50000 bytes over each")


def test_links_of_their_own_are_right() -> None:
    lines = [_Line(None) for _ in range(3)]
    assert check_concurrent_rate(lines, "mobile-edge", 50_000) is None
