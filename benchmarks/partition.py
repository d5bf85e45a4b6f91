"""How the partition search does: cuts, halves and equivalence of graphs, and the regret of the predicted best cut.

    python benchmarks/partition.py cuts STORE
    python benchmarks/partition.py regret STORE MODEL

STORE is an artifact store that a run has filled (EDGEAI_STORE). `cuts` takes every `identity` and `sptq` graph in it.
`regret` serves parts of a model's `identity` by the process backend as `mobile+edge` and compares the cut that is
predicted to be the fastest with the fastest of those that were measured: the prediction's choice, the equal halves and
others spread over the graph, but for those that the link alone makes slower than the fastest so far. Inputs are random,
token ids below 100, a quarter of each mask is padding.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnx

from pytest_edgeai.matrix import Placement
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.partition.choosing import Stage, best, halves, predicted_s
from pytest_edgeai.partition.cuts import Cut, find_cuts
from pytest_edgeai.partition.equivalence import compare
from pytest_edgeai.partition.graph import Graph, PartitionError
from pytest_edgeai.partition.profiling import measure_prefix_s
from pytest_edgeai.partition.running import completed
from pytest_edgeai.partition.splitting import save, split
from pytest_edgeai.serving.pipeline import NextPart, Pipeline
from pytest_edgeai.serving.protocol import Array
from pytest_edgeai.serving.repository import GRAPH_NAME, part_folder
from pytest_edgeai.tiers.backend import Order, Site
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.specs import Topology, allot

_RATES_MBPS = (1, 10, 50, 200)
_REQUESTS = 6


def main(arguments: Sequence[str]) -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cuts", "regret"))
    parser.add_argument("store", type=Path)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--spread", type=int, default=12, help="cuts measured besides the chosen ones")
    options = parser.parse_args(arguments)
    graphs = {name: path for name, path in _graphs(options.store) if options.model in (None, name.split("-")[0])}
    if options.what == "cuts":
        _print_cuts(graphs)
    else:
        _print_regret(graphs[f"{options.model}-identity"], options.spread)
    return 0


def _graphs(store: Path) -> Iterator[tuple[str, Path]]:
    for manifest in sorted(store.glob("artifacts/*/manifest.json")):
        recipe = json.loads(manifest.read_text(encoding="utf-8"))["recipe"]
        if recipe["operator"]["name"] in ("identity", "sptq"):
            yield f"{recipe['subject']['name']}-{recipe['operator']['name']}", manifest.with_name(GRAPH_NAME)


def _batches(graph: Graph, count: int) -> Sequence[Mapping[str, Array]]:
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(count):
        feeds: dict[str, Array] = {}
        for name in graph.inputs:
            tensor = graph.tensors[name]
            if tensor.element_type == onnx.TensorProto.FLOAT:
                feeds[name] = generator.normal(size=tensor.shape).astype(np.float32)
            elif "mask" in name:
                feeds[name] = (np.arange(tensor.shape[-1])[None] < 0.75 * tensor.shape[-1]).astype(np.int64)
            else:
                feeds[name] = generator.integers(2 if "type" in name else 100, size=tensor.shape)
        batches.append(feeds)
    return batches


def _read(path: Path) -> tuple[onnx.ModelProto, Graph, Sequence[Mapping[str, Array]]]:
    model = onnx.load(path)
    graph = Graph.read(model)
    batches = _batches(graph, 4)
    return model, completed(graph, path, batches[0]), batches


def _halves(graph: Graph, cuts: Sequence[Cut]) -> Cut:
    return halves(cuts, first_not_larger=any("ids" in name for name in graph.inputs))[0]


def _print_cuts(graphs: Mapping[str, Path]) -> None:
    print("| graph | nodes | load s | search s | cuts | one tensor | halves MB | halves GMAC | crossing kB | sampled "
          "| equal at BASIC | largest difference at ALL | same predictions | split and save s |")  # fmt: skip
    print("| --- " * 14 + "|")
    for name, path in graphs.items():
        began = time.perf_counter()
        model = onnx.load(path)
        loaded = time.perf_counter()
        graph = Graph.read(model)
        batches = _batches(graph, 4)
        graph = completed(graph, path, batches[0])
        cuts = find_cuts(graph)
        searched = time.perf_counter()
        half = _halves(graph, cuts)
        sampled = [half, *cuts[:: max(1, len(cuts) // 4)]]
        found, saving_s = [], []
        for cut in sampled:
            with tempfile.TemporaryDirectory() as folder:
                parts = [Path(folder) / "first.onnx", Path(folder) / "second.onnx"]
                started = time.perf_counter()
                for part, to in zip(split(model, graph, cut.crossing), parts, strict=True):
                    save(part, to)
                saving_s.append(time.perf_counter() - started)
                found.append(compare(path, parts, batches))
        first, second = (size / 1e6 for size in half.size_bytes)
        products = " + ".join(f"{count / 1e9:.2f}" for count in half.macs)
        print(
            f"| {name} | {len(model.graph.node)} | {loaded - began:.2f} | {searched - loaded:.2f} | {len(cuts)} "
            f"| {sum(len(cut.crossing) == 1 for cut in cuts)} | {first:.1f} + {second:.1f} | {products} "
            f"| {half.crossing_bytes / 1e3:.0f} | {len(sampled)} "
            f"| {sum(one.basic_difference == 0 for one in found)} | {max(one.difference for one in found):.1g} "
            f"| {min(one.same_predictions for one in found):.0%} | {median(saving_s):.1f} |",
            flush=True,
        )


def _print_regret(path: Path, spread: int) -> None:
    model, graph, batches = _read(path)
    cuts = find_cuts(graph)
    print(f"{path}: {len(cuts)} cuts")
    print("| Mbit/s | predicted best | predicted ms | measured ms | fastest measured | measured ms | regret "
          "| half, predicted ms | cuts measured + slower by the link alone |")  # fmt: skip
    print("| --- " * 9 + "|")
    for rate in _RATES_MBPS:
        topology = Topology.model_validate(
            {
                "tiers": {name: {"cores": cores, "memory": "4 GiB"} for name, cores in (("mobile", 4), ("edge", 8))},
                "links": {"mobile-edge": {"rate": f"{rate} Mbit/s"}},
            }
        )
        host = this_host()
        allotments = allot(topology.tiers, host.cores, host.memory_bytes)
        stages = []
        for tier in ("mobile", "edge"):
            prefix_s = measure_prefix_s(path, graph, batches, threads=allotments[tier].threads, runs=20)
            scale = allotments[tier].compute_scale
            stages.append(Stage([cost_s * scale for cost_s in prefix_s], rate * 1e6))
        (chosen,) = best(cuts, stages)
        half = _halves(graph, cuts)
        tried = {cut.name: cut for cut in (chosen, half, *cuts[:: max(1, len(cuts) // spread)])}
        placement = Placement(("mobile", "edge"))
        measured: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            site = Site(topology, allotments, (placement,), f"regret-{rate}", Path(folder))
            backend = ProcessBackend(site)
            for name, cut in sorted(tried.items(), key=lambda item: (item[1] is not chosen, item[1].crossing_bytes)):
                if measured and cut.crossing_bytes * 8 / (rate * 1e6) > min(measured.values()):
                    continue  # the link alone takes longer than the fastest so far
                artifact = Path(folder) / f"cut-{cut.position}"
                for number, part in enumerate(split(model, graph, cut.crossing)):
                    part_folder(artifact, number).mkdir(parents=True)
                    save(part, part_folder(artifact, number) / GRAPH_NAME)
                Pipeline(onward=NextPart()).write(part_folder(artifact, 0))
                with backend.deploy(Order("model", artifact, placement)) as deployment, deployment.client() as client:
                    answers = [client.infer("model", batches[number % 4]) for number in range(_REQUESTS)]
                measured[name] = median(answer.latency_s for answer in answers[2:])
        fastest = min(measured, key=lambda name: measured[name])
        regret = measured[chosen.name] / measured[fastest] - 1
        print(
            f"| {rate} | {chosen.name} | {predicted_s([chosen], stages) * 1e3:.0f} | {measured[chosen.name] * 1e3:.0f} "
            f"| {fastest} | {measured[fastest] * 1e3:.0f} | {regret:.1%} | {predicted_s([half], stages) * 1e3:.0f} "
            f"| {len(measured)} + {len(tried) - len(measured)} of {len(cuts)} |",
            flush=True,
        )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PartitionError as error:
        sys.exit(f"error: {error}")
