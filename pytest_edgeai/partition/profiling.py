"""What each node of a graph costs, measured by ONNX Runtime's profiler on the optimized graph that will run.

The runtime fuses nodes and gives what it makes names of its own, but the tensors between them keep theirs: an optimized
node counts where the original node that makes the same tensor stands, and one that makes a new tensor where its
inputs do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median

from pytest_edgeai import scratch
from pytest_edgeai.arrays import Array
from pytest_edgeai.partition.graph import Graph, Role
from pytest_edgeai.partition.running import open_session

_WARMUP = 2
_KERNEL = "_kernel_time"


def measure_prefix_s(
    path: Path, graph: Graph, batches: Sequence[Mapping[str, Array]], *, threads: int = 1, runs: int = 10
) -> tuple[float, ...]:
    """Seconds that the first 0, 1, 2, … main nodes take, medians over runs.

    Parameters
    ----------
    path, graph
        The graph's file, and the same as it was read.
    batches
        Inputs, each a batch of one, taken in turn.
    threads
        Intra-op threads of the tier.
    runs
        How often the graph is run after a warm-up.

    Returns
    -------
    tuple of float
        One more than there are main nodes.
    """
    with scratch.folder("edgeai-profile-") as folder:
        optimized = folder / "optimized.onnx"
        session = open_session(path, threads=threads, profile=folder / "profile", optimized=optimized)
        names = [one.name for one in session.get_inputs()]
        for number in range(_WARMUP + runs):
            batch = batches[number % len(batches)]
            session.run(None, {name: batch[name] for name in names})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        places = _places(optimized, graph)
    durations_us: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            durations_us.setdefault(event["name"].removesuffix(_KERNEL), []).append(event["dur"])
    costs_s = [0.0] * graph.roles.count(Role.MAIN)
    for name, values in durations_us.items():
        per_run = len(values) // (_WARMUP + runs)
        if per_run and costs_s:
            costs_s[places.get(name, 0)] += per_run * median(values[_WARMUP * per_run :]) / 1e6
    return tuple(accumulate(costs_s, initial=0.0))


def _places(optimized: Path, graph: Graph) -> dict[str, int]:
    """By name of an optimized node, the number of the main node that it counts with."""
    import onnx

    last = graph.roles.count(Role.MAIN) - 1
    originals: dict[str, int] = {}
    place = -1
    for node, role in zip(graph.nodes, graph.roles, strict=True):
        place += role is Role.MAIN
        originals.update(dict.fromkeys(node.outputs, min(max(place, 0), last)))
    places: dict[str, int] = {}
    for proto in onnx.load(optimized, load_external_data=False).graph.node:
        known = [originals[name] for name in proto.output if name in originals]
        if not known:
            known = [originals[name] for name in proto.input if name in originals]
            originals.update(dict.fromkeys(proto.output, max(known, default=0)))
        places[proto.name] = max(known, default=0)
    return places
