"""A fixed small computation: how fast this tier computes now, whatever model it serves.

`reference.onnx` is a chain of convolutions that takes about a millisecond on one core. It is run as models are, on the
tier's own threads, and never while a request is measured. Its graph does not change between versions.
"""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.serving.repository import Execution, session_options

GRAPH = Path(__file__).with_name("reference.onnx")
SHAPE = (1, 16, 56, 56)
RUNS = 9
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """A run of the reference: how long it took, and the CPU time of all threads."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class ReferenceRuns:
    """What a handful of runs took.

    Parameters
    ----------
    runs
        How many.
    fastest, median
        The least and the median of wall time and of CPU time, each by itself.
    """

    runs: int
    fastest: Timing
    median: Timing

    def as_json(self) -> dict[str, Any]:
        """A JSON object with the fields of this class."""
        return asdict(self)


class Reference:
    """The computation; its session is made when it is first asked for.

    Parameters
    ----------
    execution
        How the tier runs graphs. It always runs on the processor.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._session: Any = None
        self._one_at_a_time = threading.Lock()

    def __call__(self, runs: int = RUNS) -> ReferenceRuns:
        """Run it, after a little warming up."""
        timings = self.timings(_WARM_UP + runs)[_WARM_UP:]
        walls, cpus = [one.wall_s for one in timings], [one.cpu_s for one in timings]
        median = Timing(statistics.median(walls), statistics.median(cpus))
        return ReferenceRuns(runs, Timing(min(walls), min(cpus)), median)

    def timings(self, runs: int) -> list[Timing]:
        """What each of a number of runs takes."""
        with self._one_at_a_time:
            if self._session is None:
                self._session = self._open()
            feeds = {"x": np.ones(SHAPE, np.float32)}
            return [self._timed(feeds) for _ in range(runs)]

    def _open(self) -> Any:
        options = session_options(self._execution)
        import onnxruntime

        return onnxruntime.InferenceSession(str(GRAPH), options, providers=["CPUExecutionProvider"])

    def _timed(self, feeds: dict[str, Any]) -> Timing:
        cpu_clock = time.thread_time if self._execution.threads == 1 else time.process_time
        wall_s, cpu_s = time.perf_counter(), cpu_clock()
        self._session.run(None, feeds)
        return Timing(time.perf_counter() - wall_s, cpu_clock() - cpu_s)
