"""What nodes on one core would measure if they did not take turns, beside what they measure."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

nodes: Any = import_module("benchmarks.nodes")


def test_a_request_to_nodes_in_turn_is_not_slowed_down_by_their_number(tmp_path: Path) -> None:
    inputs = {"x": np.ones((nodes.WIDTH, nodes.WIDTH), np.float32)}
    latencies_s: dict[bool, list[float]] = {True: [], False: []}
    with (
        nodes.running(tmp_path, "mobile", 4, 10, cores=2) as in_turn,
        nodes.running(tmp_path, "mobile", 4, 10, cores=2, in_turn=False) as at_once,
        in_turn.client() as one,
        at_once.client() as other,
    ):
        for _ in range(8):
            latencies_s[True].append(one.infer("equal", inputs).latency_s)
            latencies_s[False].append(other.infer("equal", inputs).latency_s)
    # The fastest of each, since whatever else the host does only adds to a request.
    assert min(latencies_s[True]) < 0.8 * min(latencies_s[False])
