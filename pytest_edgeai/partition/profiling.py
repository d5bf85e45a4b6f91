"""What each node of a graph costs, measured by ONNX Runtime's profiler on the optimized graph that will run.

The runtime fuses nodes and gives what it makes names of its own, but most tensors between them keep theirs: an
optimized node counts where the original node that makes the same tensor stands. A node that makes a new tensor has a
name that says what it stands for: that of the fused original node, or, with channels in blocks, that of the original
tensor. One of which nothing is known counts where its inputs do.

A host is slow for moments, and a graph that is profiled in such a moment seems to compute more than it will. So runs
are made in rounds until the fastest round has been repeated, and only that round counts. Each run follows a pause, as
a request does: what computes without a pause finds its weights in the caches of the processor.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence, Set
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pytest_edgeai import scratch
from pytest_edgeai.arrays import Array
from pytest_edgeai.partition.graph import Graph, Role
from pytest_edgeai.partition.running import open_session

if TYPE_CHECKING:
    import onnx

_WARMUP = 2
_PAUSE_S = 0.005
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 20
_REPEATED = 1.05
"""How much longer than the fastest round another one may take to repeat it."""
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_KERNEL = "_kernel_time"
_GIVEN_NAME = re.compile(r".*#(\d+)")  # a session that is profiled has numbered its nodes
_IN_BLOCKS = re.compile(r"(.+)_nchwc")  # ONNX Runtime's NchwcTransformer


def measure_prefix_s(
    path: Path, graph: Graph, batches: Sequence[Mapping[str, Array]], *, threads: int = 1, runs: int = 10
) -> tuple[float, ...]:
    """Seconds that the first 0, 1, 2, … main nodes take: medians over the runs of the fastest of several rounds.

    Parameters
    ----------
    path, graph
        The graph's file, and the same as it was read.
    batches
        Inputs, each a batch of one, taken in turn.
    threads
        Intra-op threads of the tier.
    runs
        How often the graph is run in a round.

    Returns
    -------
    tuple of float
        One more than there are main nodes.
    """
    with scratch.folder("edgeai-profile-") as folder:
        optimized = folder / "optimized.onnx"
        session = open_session(path, threads=threads, profile=folder / "profile", optimized=optimized)
        names = [one.name for one in session.get_inputs()]
        run_s: list[float] = []

        def run_once() -> None:
            batch = batches[len(run_s) % len(batches)]
            time.sleep(_PAUSE_S)
            began_s = time.perf_counter()
            session.run(None, {name: batch[name] for name in names})
            run_s.append(time.perf_counter() - began_s)

        for _ in range(_WARMUP):
            run_once()
        rounds_s: list[float] = []
        while not is_repeated(rounds_s) and len(rounds_s) < _MOST_ROUNDS:
            for _ in range(runs):
                run_once()
            rounds_s.append(median(run_s[-runs:]))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        places = _places(optimized, graph)
    first = _WARMUP + rounds_s.index(min(rounds_s)) * runs
    durations_us: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            durations_us.setdefault(event["name"].removesuffix(_KERNEL), []).append(event["dur"])
    costs_s = [0.0] * graph.roles.count(Role.MAIN)
    for name, values in durations_us.items():
        per_run = len(values) // len(run_s)
        if per_run and costs_s:
            of_round = values[first * per_run : (first + runs) * per_run]
            costs_s[places.get(name, 0)] += per_run * median(of_round) / 1e6
    return tuple(accumulate(costs_s, initial=0.0))


def is_repeated(rounds_s: Sequence[float]) -> bool:
    """Whether there are enough rounds, and the fastest one is no accident: another one took about as long."""
    if len(rounds_s) < _FEWEST_ROUNDS:
        return False
    fastest_s, next_s, *_ = sorted(rounds_s)
    return next_s <= _REPEATED * fastest_s


def _places(optimized: Path, graph: Graph) -> dict[str, int]:
    """By name of an optimized node, the number of the main node that it counts with."""
    import onnx

    last = graph.roles.count(Role.MAIN) - 1
    main = (min(max(count - 1, 0), last) for count in accumulate(role is Role.MAIN for role in graph.roles))
    of_nodes = list(main)
    makers = {name: number for number, node in enumerate(graph.nodes) for name in node.outputs}
    nodes = onnx.load(optimized, load_external_data=False).graph.node
    originals = {proto.name: _original(proto, makers, len(of_nodes)) for proto in nodes}
    standing = {number for number in originals.values() if number is not None}
    places: dict[str, int] = {}
    of_tensors: dict[str, int] = {}
    for proto in nodes:
        number = originals[proto.name]
        if number is not None:
            places[proto.name] = of_nodes[_product_within(number, graph, makers, standing)]
        else:
            places[proto.name] = max((of_tensors[name] for name in proto.input if name in of_tensors), default=0)
        of_tensors.update(dict.fromkeys(proto.output, places[proto.name]))
    return places


def _original(proto: onnx.NodeProto, makers: Mapping[str, int], count: int) -> int | None:
    """The number of the original node that an optimized one stands for, as far as names tell."""
    for name in proto.output:
        if name in makers:
            return makers[name]
    in_blocks = _IN_BLOCKS.match(proto.name)
    if in_blocks is not None and in_blocks[1] in makers:
        return makers[in_blocks[1]]
    given = _GIVEN_NAME.match(proto.name)
    return int(given[1]) if given is not None and int(given[1]) < count else None


def _product_within(number: int, graph: Graph, makers: Mapping[str, int], standing: Set[int]) -> int:
    """The product among the nodes that were fused into this one, which costs nearly all; else this one.

    A cut between a product and its activation would otherwise seem to leave the product to the second part.
    """
    waiting = [number]
    while waiting:
        at = waiting.pop()
        if graph.nodes[at].op_type in _PRODUCTS:
            return at
        before = (makers[name] for name in graph.nodes[at].inputs if name in makers)
        waiting += [one for one in before if one not in standing]
    return number
