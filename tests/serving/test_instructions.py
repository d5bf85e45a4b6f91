"""Instructions of threads, where the processor's counters can be read; software events prove the call elsewhere."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pytest_edgeai.serving.cpu_time import ComputeMeter
from pytest_edgeai.serving.instructions import InstructionCounter, why_not_counted
from pytest_edgeai.wire.timing import Span, format_spans, parse_spans

_THREAD_CLOCK = (1, 1)
"""A software event (nanoseconds of CPU time of the thread), which is there where the processor has no counters."""


def spend(cpu_s: float) -> None:
    end = time.thread_time() + cpu_s
    while time.thread_time() < end:
        pass


def test_an_event_is_counted_for_the_thread_that_asks_and_for_no_other() -> None:
    counter = InstructionCounter(kind=_THREAD_CLOCK)
    try:
        before = counter.read()
    except OSError as error:
        pytest.skip(f"perf_event_open: {error.strerror}")
    spend(0.02)
    own = counter.read() - before
    assert own > 0.01e9
    other = threading.Thread(target=spend, args=(0.2,))
    other.start()
    other.join()
    assert counter.read() - before - own < 0.1e9


def test_threads_that_end_leave_no_open_files() -> None:
    counter = InstructionCounter(kind=_THREAD_CLOCK)
    try:
        counter.read()
    except OSError as error:
        pytest.skip(f"perf_event_open: {error.strerror}")
    opened = []

    def read() -> None:
        counter.read()
        opened.append(len(list(Path("/proc/self/fd").iterdir())))

    for _ in range(5):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert opened[-1] == opened[0]


def test_either_instructions_are_counted_or_it_is_said_why_not() -> None:
    meter = ComputeMeter(1)
    begun = meter.begin()
    spend(0.001)
    counted = meter.end(begun).instructions
    if why_not_counted():
        assert counted is None
        assert why_not_counted().startswith("perf_event_open: ")
    else:
        assert counted is not None
        assert counted > 10_000


def test_a_system_without_the_call_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(OSError, match=r"its number is not known for .* on vax"):
        InstructionCounter().read()


def test_they_travel_with_the_span_of_compute() -> None:
    spans = [Span("compute", "edge", 0.002, 0.001, 0.001, instructions=12_345_678), Span("postprocess", "edge", 0.001)]
    assert parse_spans(format_spans(spans)) == spans
