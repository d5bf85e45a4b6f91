"""What other people's servers take beside this package's own: the same graph, the same examples, in turns.

Each server has the graph alone, runs it with ONNX Runtime on one thread, and is asked by the clients of this package as
a remote tier is: over HTTP, in binary where the server announces it and in JSON elsewhere, and over gRPC. Every answer
is compared with that of ONNX Runtime in this process. A server whose packages cannot be installed is named and not
measured. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table

from pytest_edgeai.arrays import Array
from pytest_edgeai.commands import mlserver, triton
from pytest_edgeai.measure.host_checks import wake_up_s
from pytest_edgeai.wire.client import Answer, Client, Wire
from pytest_edgeai.wire.grpc_client import GrpcClient
from tests.tiers.other_servers import NAMES, NotInstalledError, other_server, python_of, unsupported

MODEL = "measured"
OWN = "pytest-edgeai, binary"
TOLERANCE = 1e-3

Example: TypeAlias = Mapping[str, Array]
Ask: TypeAlias = Callable[[Example], Answer]


def main() -> int:
    """Measure, print and write."""
    options = _parser().parse_args()
    console = Console()
    load, wake_s = os.getloadavg()[0], wake_up_s()
    console.print(f"load {load:.2f}, wakes up in {wake_s * 1e3:.2f} ms, {os.cpu_count()} cores", highlight=False)
    with tempfile.TemporaryDirectory(prefix="edgeai-stock-") as temporary, ExitStack() as stack:
        models = _write_repository(Path(temporary), options.graph)
        graph = models / MODEL / "1" / "model.onnx"
        examples = _examples(graph, options.examples, options.inputs, options.seed)
        asks = _start(models, options.cache, stack, console)
        latencies = _measure(asks, graph, examples, options)
    medians = {name: statistics.median(seconds) for name, seconds in latencies.items()}
    console.print(_table(latencies, medians))
    if options.json is not None:
        ratios = {name: median / medians[OWN] for name, median in medians.items()}
        document = {
            "about": {"load": load, "wake_up_s": wake_s, "cores": os.cpu_count()},
            "rounds": options.rounds,
            "medians_s": medians,
            "ratios": ratios,
            "latencies_s": latencies,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--graph", type=Path, metavar="FILE", help="an ONNX file; a small convolutional network if not given")
    add("--examples", type=Path, metavar="FILE", help=".npz with an array [n, …] for each input; needed with --graph")
    add("--inputs", type=int, default=10, metavar="N", help="examples, at most (default: %(default)s)")
    add("--rounds", type=int, default=20, metavar="N", help="turns of each server (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the order and the examples (default: %(default)s)")
    add("--cache", type=Path, default=user_cache_path("pytest-edgeai") / "servers", metavar="DIR", help="of packages")
    add("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    return parser


def _write_repository(folder: Path, graph: Path | None) -> Path:
    """The graph as `edgeai export --layout triton` has it, with weights beside the file."""
    version = folder / "models" / MODEL / "1"
    version.mkdir(parents=True)
    if graph is None:
        _write_network(version / "model.onnx")
    else:
        model = onnx.load(graph)
        onnx.save(model, version / "model.onnx")
    settings = mlserver.settings(MODEL, version / "model.onnx", "1/model.onnx")
    (version.parent / mlserver.FILE_NAME).write_text(settings, encoding="utf-8")
    described = triton.configuration(MODEL, version / "model.onnx", 4, "")
    (version.parent / triton.FILE_NAME).write_text(described, encoding="utf-8")
    shutil.copytree(version, folder / "own" / MODEL)
    return folder / "models"


def _write_network(path: Path) -> None:
    """Four convolutions on images of 3 × 128 × 128, with random weights."""
    generator = np.random.default_rng(0)
    nodes, weights, channels, name = [], [], 3, "pixels"
    for number in range(4):
        shape = (32, channels, 3, 3)
        weights.append(numpy_helper.from_array(generator.normal(0, 0.1, shape).astype(np.float32), f"w{number}"))
        nodes.append(helper.make_node("Conv", [name, f"w{number}"], [f"c{number}"], strides=[2, 2], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        name, channels = f"r{number}", 32
    nodes += [helper.make_node("GlobalAveragePool", [name], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 128, 128])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def _examples(graph: Path, file: Path | None, most: int, seed: int) -> list[Example]:
    inputs = [one.name for one in onnxruntime.InferenceSession(str(graph)).get_inputs()]
    if file is not None:
        with np.load(file) as arrays:
            number = min(most, *(len(arrays[name]) for name in inputs))
            return [{name: arrays[name][[row]] for name in inputs} for row in range(number)]
    if inputs != ["pixels"]:
        raise SystemExit(f"error: --graph needs --examples with arrays for {', '.join(inputs)}")
    generator = np.random.default_rng(seed)
    return [{"pixels": generator.random((1, 3, 128, 128), np.float32)} for _ in range(most)]


@contextmanager
def _own(repository: Path) -> Iterator[int]:
    """The port of this package's server."""
    command = [sys.executable, "-m", "pytest_edgeai.serving", "--repository", str(repository), "--threads", "1"]
    process = subprocess.Popen([*command, "--exit-with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
    finally:
        process.communicate(timeout=60)


def _start(models: Path, cache: Path, stack: ExitStack, console: Console) -> dict[str, Ask]:
    """The servers, and how each is asked."""

    def over_http(port: int, wire: Wire) -> Ask:
        client = stack.enter_context(Client("127.0.0.1", port, wire=wire))
        return lambda example: client.infer(MODEL, example)

    port = stack.enter_context(_own(models.with_name("own")))
    asks = {OWN: over_http(port, "binary"), "pytest-edgeai, JSON": over_http(port, "json")}
    for name in NAMES:
        if reason := unsupported(name):
            console.print(f"not measured: {reason}", style="yellow", highlight=False, markup=False)
            continue
        try:
            server = stack.enter_context(other_server(name, python_of(name, cache), models))
        except NotInstalledError as error:
            console.print(f"not measured: {error}", style="yellow", highlight=False, markup=False)
            continue
        client = stack.enter_context(GrpcClient(f"127.0.0.1:{server.grpc_port}"))
        if name == "triton":
            asks[f"{name}, binary"] = over_http(server.http_port, "binary")
        asks[f"{name}, JSON"] = over_http(server.http_port, "json")
        asks[f"{name}, gRPC"] = functools.partial(client.infer, MODEL)
    return asks


def _measure(
    asks: Mapping[str, Ask], graph: Path, examples: Sequence[Example], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of every request; the first of each turn, which finds everything cold, does not count."""
    local = onnxruntime.InferenceSession(str(graph))
    names = [one.name for one in local.get_outputs()]
    expected: list[list[Any]] = [local.run(None, dict(example)) for example in examples]
    order = random.Random(options.seed)
    latencies: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(options.rounds):
        for name in order.sample([*asks], len(asks)):
            asks[name](examples[-1])
            for example, right in zip(examples, expected, strict=True):
                started = time.perf_counter()
                answer = asks[name](example)
                latencies[name].append(time.perf_counter() - started)
                for output, value in zip(names, right, strict=True):
                    if not np.allclose(answer.outputs[output], value, rtol=TOLERANCE, atol=TOLERANCE):
                        raise SystemExit(f"error: {name} gives another {output!r} than ONNX Runtime here")
    return latencies


def _table(latencies: Mapping[str, Sequence[float]], medians: Mapping[str, float]) -> Table:
    table = Table(title="round trip of a sequential request")
    for column in ("server", "median", "p95", f"of {OWN}"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, seconds in latencies.items():
        p95 = float(np.percentile(seconds, 95))
        table.add_row(
            name, f"{medians[name] * 1e3:.3f} ms", f"{p95 * 1e3:.3f} ms", f"{medians[name] / medians[OWN]:.2f}"
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
