"""Whoever shares a core computes in turn, and waiting for the turn disappears in the stretch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.serving.core_lock import CoreLock
from pytest_edgeai.serving.repository import Execution, Model
from tests.serving import graphs, tiers

HOLDER = """
import sys, pathlib
from pytest_edgeai.serving.core_lock import CoreLock
with CoreLock(pathlib.Path(sys.argv[1])).take():
    print("have it", flush=True)
    sys.stdin.read()
"""


def _take(queue: CoreLock) -> None:
    with queue.take():
        pass


def _spans(model: Model) -> dict[str, float]:
    return {span.name: span.duration_s for span in model.infer({"x0": np.ones((100, 100), np.float32)})[1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return graphs.write_matmul(tmp_path / "model", 100)


def test_nobody_has_the_turn_while_another_thread_or_place_in_the_queue_has_it(tmp_path: Path) -> None:
    queues = [CoreLock(tmp_path), CoreLock(tmp_path)]
    inside, most = 0, 0
    counting = threading.Lock()

    def work(queue: CoreLock) -> None:
        nonlocal inside, most
        for _ in range(20):
            with queue.take():
                with counting:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.0005)
                with counting:
                    inside -= 1

    threads = [threading.Thread(target=work, args=(queue,)) for queue in (*queues, *queues)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for queue in queues:
        queue.close()
    assert most == 1


def test_the_turn_of_a_process_that_was_killed_is_free_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"have it\n"
        holder.kill()
    queue = CoreLock(tmp_path)
    with contextlib.closing(queue):
        thread = threading.Thread(target=_take, args=(queue,), daemon=True)
        thread.start()
        thread.join(tiers.PATIENCE_S)
        assert not thread.is_alive()


def test_waiting_for_the_turn_is_not_seen_where_the_stretch_is_longer(folder: Path, tmp_path: Path) -> None:
    """Somebody has the turn when the request arrives: spans are those of a request that did not wait."""
    model = Model(folder, Execution(compute_scale=10_000, turns=tmp_path))
    with contextlib.closing(CoreLock(tmp_path)) as other, other.take():
        began = time.perf_counter()
        result: list[dict[str, float]] = []
        thread = threading.Thread(target=lambda: result.append(_spans(model)))
        thread.start()
        time.sleep(0.02)
    thread.join()
    elapsed_s = time.perf_counter() - began
    (spans,) = result
    assert "wait" not in spans
    assert spans["stretch"] >= 0.02
    assert sum(spans.values()) <= elapsed_s
    assert spans["stretch"] / spans["compute"] >= 9999 * 0.999


def test_waiting_longer_than_the_stretch_allows_is_told(folder: Path, tmp_path: Path) -> None:
    model = Model(folder, Execution(compute_scale=1.5, turns=tmp_path))
    result: list[dict[str, float]] = []
    begun = threading.Event()

    def ask() -> None:
        begun.set()
        result.append(_spans(model))

    with contextlib.closing(CoreLock(tmp_path)) as other, other.take():
        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(tiers.PATIENCE_S)
        time.sleep(0.3)
    thread.join()
    (spans,) = result
    assert spans["wait"] > 0
    # All of the wait is in one of the two, and the stretch is no longer than it should be for the compute.
    assert spans["wait"] + spans["stretch"] > 0.1
    assert spans["wait"] + spans["stretch"] == pytest.approx(spans["wait"] + 0.5 * spans["compute"], abs=0.02)


def test_alone_there_is_no_wait(folder: Path, tmp_path: Path) -> None:
    model = Model(folder, Execution(compute_scale=3, turns=tmp_path))
    for _ in range(10):
        assert "wait" not in _spans(model)
