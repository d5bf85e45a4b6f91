"""What became of a model's requests, counted: how many, and how many nanoseconds in all, by Triton's names."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from pytest_edgeai.wire.timing import Span

# Preprocessing prepares the graph's inputs; a session that is created for the request, and the stretch by which a tier
# is slower than this host, belong to its compute.
_PHASES: Mapping[str, str] = {
    "wait": "queue",
    "preprocess": "compute_input",
    "load": "compute_infer",
    "compute": "compute_infer",
    "stretch": "compute_infer",
    "postprocess": "compute_output",
}
_INPUT, _OUTPUT = "compute_input", "compute_output"


class ModelStatistics:
    """The counters of one model, for any number of threads; nothing is kept for each request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._succeeded = self._failed = 0
        self._succeeded_s = self._failed_s = 0.0
        self._phases_s = dict.fromkeys(("queue", _INPUT, "compute_infer", _OUTPUT), 0.0)
        self._last_ms = 0

    def succeed(self, duration_s: float, spans: Iterable[Span], decode_s: float, encode_s: float) -> None:
        """Count a request that was answered.

        Parameters
        ----------
        duration_s
            From its body to the answer's.
        spans
            What the model said that it took.
        decode_s, encode_s
            Reading the tensors from the body, and writing those of the answer.
        """
        with self._lock:
            self._succeeded += 1
            self._succeeded_s += duration_s
            self._phases_s[_INPUT] += decode_s
            self._phases_s[_OUTPUT] += encode_s
            for span in spans:
                phase = _PHASES.get(span.name)
                if phase is not None:
                    self._phases_s[phase] += span.duration_s
            self._last_ms = time.time_ns() // 1_000_000

    def fail(self, duration_s: float) -> None:
        """Count a request that was refused, or that a later part could not answer."""
        with self._lock:
            self._failed += 1
            self._failed_s += duration_s

    def as_json(self) -> dict[str, object]:
        """The fields of Triton's statistics extension. Each request is one inference and one execution."""
        with self._lock:
            count = self._succeeded
            phases = {name: _duration(count, total_s) for name, total_s in self._phases_s.items()}
            success, fail = _duration(count, self._succeeded_s), _duration(self._failed, self._failed_s)
            last_ms = self._last_ms
        computed = {name: phase for name, phase in phases.items() if name != "queue"}
        none = _duration(0, 0.0)
        return {
            "last_inference": last_ms,
            "inference_count": count,
            "execution_count": count,
            "inference_stats": {"success": success, "fail": fail, **phases, "cache_hit": none, "cache_miss": none},
            "batch_stats": [{"batch_size": 1, **computed}] if count else [],
        }


def _duration(count: int, total_s: float) -> dict[str, int]:
    return {"count": count, "ns": round(total_s * 1e9)}
