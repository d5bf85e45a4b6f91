"""Several nodes on a host with few cores: whether a request to n equal nodes takes as long as one to a single node.

    python benchmarks/nodes.py compute
    python benchmarks/nodes.py links
    python benchmarks/nodes.py throughput

`compute` serves 1, 2, 3 and 5 equal nodes of the mobile tier, all with the compute scale of a session with 5. In turn,
as a session has them on a host that is too small, a request should take as long as to one node; at the same time it
shows what the turns are for. `links` sends to 1, 2, 3 and 5 nodes of the edge tier at the same time, each over a relay
of its own at 200 Mbit/s, and compares with how long the bytes should take. `throughput` sends requests to 1, 2, 3 and 5
copies of the mobile tier, as many in flight as there are nodes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_edgeai.measure.host import usable_cores
from pytest_edgeai.parallel import node_folder
from pytest_edgeai.parallel.aggregation import Aggregation, Kind
from pytest_edgeai.serving.pipeline import Classification, Pipeline
from pytest_edgeai.serving.server import PROBE_PATH
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec
from pytest_edgeai.tiers.nodes import NodesDeployment
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.sharing import share_among_nodes
from pytest_edgeai.tiers.specs import Topology, paper_topology
from pytest_edgeai.wire.client import Answer

_NUMBERS = (1, 2, 3, 5)
_MOST = max(_NUMBERS)
WIDTH, _CLASSES = 256, 10


def main(arguments: Sequence[str]) -> int:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compute", "links", "throughput"))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--products", type=int, default=40, help="matrix products of a request")
    parser.add_argument("--kilobytes", type=int, default=600, help="sent to each node")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="edgeai-nodes-") as folder:
        if options.what == "compute":
            _print_compute(Path(folder), options.rounds, options.products)
        elif options.what == "throughput":
            _print_throughput(Path(folder), options.rounds, options.products)
        else:
            _print_links(Path(folder), options.rounds, options.kilobytes * 1000)
    return 0


def _write(artifact: Path, nodes: int, products: int, kind: Kind) -> Path:
    """Equal nodes that multiply by some matrices."""
    weights = np.full((WIDTH, WIDTH), 1 / WIDTH, np.float32)
    for number in range(nodes):
        folder = node_folder(artifact, number)
        folder.mkdir(parents=True)
        steps = [helper.make_node("MatMul", [f"x{n}" if n else "x", "w"], [f"x{n + 1}"]) for n in range(products)]
        last = helper.make_node("Slice", [f"x{products}", "from", "to", "axis"], ["logits"])
        graph = helper.make_graph(
            [*steps, last],
            "node",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [WIDTH, WIDTH])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [WIDTH, _CLASSES])],
            [
                numpy_helper.from_array(weights, "w"),
                *(numpy_helper.from_array(np.array([v]), n) for n, v in (("from", 0), ("to", _CLASSES), ("axis", 1))),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(folder / "model.onnx"))
        Pipeline(None, Classification(k=2)).write(folder)
    Aggregation(kind, nodes, _CLASSES, 2, deadline_s=60.0).write(artifact)
    return artifact


@contextmanager
def running(
    folder: Path,
    tier: str,
    nodes: int,
    products: int,
    *,
    in_turn: bool = True,
    cores: int | None = None,
    kind: Kind = "variants",
) -> Iterator[NodesDeployment]:
    """Nodes with what a session with the largest number of them would give them; in turn, or all at once.

    Parameters
    ----------
    folder
        For artifacts, logs and repositories.
    tier, nodes
        Of which tier how many.
    products
        Matrix products of a request.
    in_turn
        Whether they take turns, where the host has too few cores for all of them.
    cores
        How many the host is taken to have; None for those that may be used.
    kind
        What is made of the nodes' answers.
    """
    cores = usable_cores() if cores is None else cores
    topology = Topology.model_validate(paper_topology())
    placements = (Placement((tier,), _MOST),)
    allotments = share_among_nodes(allot(topology.tiers, cores, 2**40), placements, topology, cores)
    name = f"{tier}-{nodes}-{in_turn}"
    artifact = _write(folder / f"artifact-{name}", nodes, products, kind)
    with ExitStack() as stack:
        backends: dict[Path, ProcessBackend] = {}
        deployments = {}
        for number in range(nodes):
            # Turns are taken on the site's folder: who has another one takes none, on the same cores.
            place = folder / name / ("all" if in_turn else str(number))
            place.mkdir(parents=True, exist_ok=True)
            if place not in backends:
                backends[place] = ProcessBackend(
                    BackendContext(topology, allotments, placements, f"{name}-{number}", place)
                )
            order = DeploymentSpec("equal", node_folder(artifact, number), Placement((tier,)), node=number)
            deployments[order.places[0]] = stack.enter_context(backends[place].deploy(order))
        yield NodesDeployment(deployments, Aggregation.read(artifact))


def _print_compute(folder: Path, rounds: int, products: int) -> None:
    inputs = {"x": np.ones((WIDTH, WIDTH), np.float32)}
    print("| nodes | taking turns | median latency | to one node | compute | stretch | requests that waited too long |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    cases = [(number, True) for number in _NUMBERS] + [(_MOST, False)]
    with ExitStack() as stack:
        clients = {
            (number, in_turn): stack.enter_context(
                stack.enter_context(running(folder, "mobile", number, products, in_turn=in_turn)).client()
            )
            for number, in_turn in cases
        }
        answers: dict[tuple[int, bool], list[Answer]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case, client in clients.items():
                answers[case].append(client.infer("equal", inputs))
    medians_s = {case: statistics.median(one.latency_s for one in found) for case, found in answers.items()}
    for case, found in answers.items():
        spans = [{span.name: span.duration_s for span in one.spans} for one in found]
        late = sum("wait" in one for one in spans)
        compute_s, stretch_s = (statistics.median(one[name] for one in spans) for name in ("compute", "stretch"))
        print(
            f"| {case[0]} | {'yes' if case[1] else 'no'} | {medians_s[case] * 1e3:.1f} ms "
            f"| {medians_s[case] / medians_s[1, True]:.3f} | {compute_s * 1e3:.2f} ms | {stretch_s * 1e3:.1f} ms "
            f"| {late} of {rounds} |"
        )


def _print_throughput(folder: Path, rounds: int, products: int) -> None:
    inputs = {"x": np.ones((WIDTH, WIDTH), np.float32)}
    print("| copies | requests a second | to one copy | requests that waited too long |")
    print("| --- | --- | --- | --- |")
    rates: dict[int, float] = {}
    for number in _NUMBERS:
        with running(folder, "mobile", number, products, kind="copies") as deployment, deployment.client() as client:
            client.infer_all("equal", [inputs] * number)
            answers, elapsed_s = client.infer_all("equal", [inputs] * (rounds * number))
        rates[number] = len(answers) / elapsed_s
        late = sum(span.name == "wait" for one in answers for span in one.spans)
        ratio = rates[number] / rates[1]
        print(f"| {number} | {rates[number]:.2f} | {ratio:.2f} | {late} of {len(answers)} |")


def _print_links(folder: Path, rounds: int, size_bytes: int) -> None:
    print("| nodes at the same time | bytes to each | median of the slowest | to what the rate says | to one node |")
    print("| --- | --- | --- | --- | --- |")
    with running(folder, "edge", _MOST, 1) as deployment:
        hops = deployment.hops
        lines = [one.link for one in map(deployment.probe, hops) if one is not None]
        ideal_s = size_bytes * 8 / hops[0].link.rate_bps
        slowest_s: dict[int, list[float]] = {number: [] for number in _NUMBERS}
        with ThreadPoolExecutor(_MOST) as pool:
            for _ in range(rounds):
                for number, found in slowest_s.items():
                    sent = [pool.submit(line.upload, PROBE_PATH, size_bytes) for line in lines[:number]]
                    found.append(max(one.result().took_s for one in sent))
        for line in lines:
            line.__exit__(None, None, None)
    medians_s = {number: statistics.median(found) for number, found in slowest_s.items()}
    for number, median_s in medians_s.items():
        print(
            f"| {number} | {size_bytes / 1000:.0f} kB | {median_s * 1e3:.2f} ms | {median_s / ideal_s - 1:+.1%} "
            f"| {median_s / medians_s[1] - 1:+.1%} |"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
