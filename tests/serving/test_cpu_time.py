"""How long a computation waited for a core."""

from __future__ import annotations

import contextlib
import doctest
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.serving import cpu_time
from pytest_edgeai.serving.cpu_time import ComputeMeter, waited_s
from pytest_edgeai.serving.repository import Execution, Model
from tests.serving import graphs

SECONDS = st.floats(0, 1e3)


@contextlib.contextmanager
def busy_loop(cpu: int) -> Iterator[None]:
    """A process that wants all of one core."""
    code = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def one_core() -> Iterator[int]:
    """The number of the one core that this thread may use."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    before = os.sched_getaffinity(0)
    cpu = max(before)
    os.sched_setaffinity(0, [cpu])
    yield cpu
    os.sched_setaffinity(0, before)


def compute(meter: ComputeMeter, cpu_s: float) -> Any:
    begun = meter.begin()
    end = time.thread_time() + cpu_s
    while time.thread_time() < end:
        pass
    return meter.end(begun)


def test_a_computation_that_shares_its_core_with_a_busy_loop_waited(one_core: int) -> None:
    with busy_loop(one_core):
        use = compute(ComputeMeter(1), 0.3)
    assert use.waited_s > 0.1 * use.cpu_s


def test_the_kernel_counts_the_waiting_of_several_threads(one_core: int) -> None:
    if not cpu_time.counts_waiting():
        pytest.skip("this kernel does not count waiting")
    meter = ComputeMeter(2, cpu_time.thread_numbers())
    with busy_loop(one_core):
        use = compute(meter, 0.3)
    assert use.waited_s > 0.1 * use.cpu_s


def test_a_thread_that_sleeps_has_waited_for_a_core_or_for_nothing_else_that_is_known() -> None:
    meter = ComputeMeter(1)
    begun = meter.begin()
    time.sleep(0.02)
    use = meter.end(begun)
    assert use.waited_s is not None
    assert use.waited_s >= 0.01 > use.cpu_s


@given(SECONDS, SECONDS, st.integers(1, 64), st.none() | SECONDS, st.floats(0, 1))
def test_nothing_waits_longer_than_it_takes(
    wall_s: float, cpu_s: float, threads: int, run_delay_s: float | None, idle_share: float
) -> None:
    assert 0 <= waited_s(wall_s, cpu_s, threads, run_delay_s=run_delay_s, idle_share=idle_share) <= wall_s


def test_threads_that_a_graph_leaves_idle_have_not_waited() -> None:
    assert waited_s(0.010, 0.020, 4, run_delay_s=0.0) == 0
    assert waited_s(0.010, 0.020, 4, idle_share=0.5) == 0
    assert waited_s(0.020, 0.020, 4, idle_share=0.5) == pytest.approx(0.005)


def test_a_kernel_that_shows_zeros_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content, counts in (("0 0 0\n", False), ("235211 65009 1\n", True), ("", False)):
        path = tmp_path / "schedstat"
        path.write_text(content, encoding="ascii")
        monkeypatch.setattr(cpu_time, "_OWN_THREAD", str(path))
        assert cpu_time.counts_waiting() is counts
    monkeypatch.setattr(cpu_time, "_OWN_THREAD", str(tmp_path / "nothing"))
    assert not cpu_time.counts_waiting()


def test_what_computes_elsewhere_than_on_the_processor_waits_for_no_core() -> None:
    assert compute(ComputeMeter(1, alone=False), 0.001).waited_s is None


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_tells_the_cpu_time_of_its_compute(tmp_path: Path, threads: int) -> None:
    model = Model(graphs.write_matmul(tmp_path / "matmul", 200), Execution(threads=threads, tier="edge"))
    _, spans = model.infer({"x0": np.ones((200, 200), np.float32)})
    (compute_span,) = (span for span in spans if span.name == "compute")
    assert compute_span.cpu_s is not None
    assert compute_span.cpu_s > 0
    assert compute_span.waited_s is not None
    assert compute_span.waited_s <= compute_span.duration_s


def test_the_examples_in_the_documentation_hold() -> None:
    results: Any = doctest.testmod(cpu_time)
    assert results.attempted > 0
    assert results.failed == 0
