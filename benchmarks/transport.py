"""What a request costs before any model computes: tiers against raw TCP, Flask with Base64, and serving products.

One client sends requests one after the other to a no-op model (a tensor of FP32 goes, its last number comes back)
in every stack, each in a server process of its own. All stacks are measured in one run, in turns and in random
order, so that what else the machine does hits all of them alike. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import itertools
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transport_stacks import STACKS, Send, Stack

import pytest_edgeai
from pytest_edgeai.arrays import Array

SIZES = {"1 kB": 1_000, "600 kB": 600_000, "2 MB": 2_000_000}
LARGE = ("600 kB", "2 MB")
DIFFERENT_TENSORS = 8  # so that a tensor is not in the processor's cache just because it was sent a moment ago
START_S = 60.0
MOST_S = 0.4  # a turn of a slow stack ends after this time
FEWEST = 3


class StartError(RuntimeError):
    """A server that does not start, with what it wrote."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What should be true, and whether it is; None where something that it speaks of was not measured."""

    text: str
    met: bool | None
    figures: str


def main() -> int:
    """Measure, print and write; 1 where an aim is not met."""
    options = _parser().parse_args()
    console = Console()
    pythons = {stack.key: sys.executable for stack in STACKS} | dict(options.python)
    with ExitStack() as cleanup, tempfile.TemporaryDirectory() as folder:
        _write_noop(Path(folder) / "models" / "noop")
        sends: dict[str, Send] = {}
        missing: dict[str, str] = {}
        for stack in STACKS:
            reason = _why_not(stack, pythons[stack.key])
            if reason is None:
                console.print(f"starting {stack.label} …", highlight=False)
                try:
                    sends[stack.key] = _start(stack, pythons[stack.key], Path(folder), cleanup)
                except StartError as error:
                    if not stack.is_peer:
                        raise
                    reason = str(error)
            if reason is not None:
                missing[stack.key] = reason
                console.print(f"{stack.label} is not measured: {reason}", style="yellow", highlight=False, markup=False)
        latencies = _measure(sends, options.rounds, options.requests, options.seed, console)
        cleanup.close()
    aims = _aims(latencies, missing)
    _print(console, latencies, missing, aims)
    if options.json is not None:
        document = _document(latencies, missing, aims, options, pythons)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if any(aim.met is False for aim in aims) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=int, default=30, metavar="N", help="turns of each stack and size (default: %(default)s)")
    add("--requests", type=int, default=20, metavar="N", help="requests a turn, at most (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the order and the tensors (default: %(default)s)")
    add("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    add(
        "--python",
        type=_python,
        action="append",
        default=[],
        metavar="PEER=PATH",
        help="the Python that runs the server of a peer, where it is installed in an environment of its own",
    )
    return parser


def _python(text: str) -> tuple[str, str]:
    key, _, path = text.partition("=")
    if key not in {stack.key for stack in STACKS} or not Path(path).is_file():
        peers = ", ".join(stack.key for stack in STACKS if stack.is_peer)
        raise argparse.ArgumentTypeError(f"{text!r} is not PEER=PATH with a file and one of {peers}")
    return key, path


def _why_not(stack: Stack, python: str) -> str | None:
    """Why a stack cannot be measured, as the end of a sentence."""
    lacking = [package for package, module in stack.client_needs.items() if not _has(sys.executable, module)]
    lacking += [package for package, module in stack.server_needs.items() if not _has(python, module)]
    if not lacking:
        return None
    return f"{' and '.join(dict.fromkeys(lacking))} not installed (benchmarks/requirements-peers.txt)"


def _has(python: str, module: str) -> bool:
    """Whether a Python has a module, found out without importing it."""
    parts = module.split(".")
    code = f"import sys, importlib.util as u\nsys.exit(not (u.find_spec({parts[0]!r}) and u.find_spec({module!r})))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def _start(stack: Stack, python: str, folder: Path, cleanup: ExitStack) -> Send:
    """Start a stack's server, connect to it and wait for its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = Path(__file__).resolve().parent
    models = str(folder / "models")
    if stack.key == "tier":
        command = [python, "-m", "pytest_edgeai.serving", "--repository", models, "--port", str(port)]
    else:
        command = [python, str(here / "peers" / stack.script), str(port), models]
    root = str(Path(pytest_edgeai.__file__).parent.parent)
    log = cleanup.enter_context((folder / f"{stack.key}.log").open("w+", encoding="utf-8"))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        start_new_session=True,  # so that its worker processes end with it
    )
    cleanup.callback(_end, process)
    deadline = time.monotonic() + START_S
    while True:
        attempt = ExitStack()
        try:
            send = stack.connect(port, attempt)
            if send(np.full(3, 7.5, np.float32)) == 7.5:
                cleanup.push(attempt)
                return send
        except Exception as error:  # noqa: BLE001  # every client has its own errors while its server starts
            attempt.close()
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise StartError(f"{stack.label} does not answer: {error!r}\n{log.read()[-2000:]}") from None
            time.sleep(0.1)


def _write_noop(folder: Path) -> None:
    """A graph that gives the last number of a tensor."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "index"], ["last"], axis=0)],
        "noop",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, [1])],
        [helper.make_tensor("index", TensorProto.INT64, [1], [-1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.save(model, folder / "model.onnx")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _measure(
    sends: Mapping[str, Send], rounds: int, requests: int, seed: int, console: Console
) -> dict[str, dict[str, list[float]]]:
    """Seconds of every request, by stack and size."""
    generator = np.random.default_rng(seed)
    order = random.Random(seed)
    tensors = {
        size: [generator.random(count // 4, np.float32) for _ in range(DIFFERENT_TENSORS)]
        for size, count in SIZES.items()
    }
    latencies: dict[str, dict[str, list[float]]] = {key: {size: [] for size in SIZES} for key in sends}
    for _ in track(range(rounds), "measuring", console=console):
        turns = list(itertools.product(sends, SIZES))
        order.shuffle(turns)
        for key, size in turns:
            latencies[key][size] += _turn(sends[key], tensors[size], requests)
    return latencies


def _turn(send: Send, tensors: Sequence[Array], requests: int) -> list[float]:
    """A few requests in a row; the first one, which finds everything cold, does not count."""
    seconds: list[float] = []
    send(tensors[-1])
    until = time.perf_counter() + MOST_S
    for number in range(requests):
        tensor = tensors[number % len(tensors)]
        started = time.perf_counter()
        answer = send(tensor)
        ended = time.perf_counter()
        if answer != tensor[-1]:
            raise SystemExit(f"a no-op model gave {answer} for {tensor[-1]}")
        seconds.append(ended - started)
        if ended > until and number >= FEWEST:
            break
    return seconds


def _aims(latencies: Mapping[str, Mapping[str, list[float]]], missing: Mapping[str, str]) -> list[Aim]:
    """The three aims, each with the figures that decide it."""
    p50 = {key: {size: statistics.median(one[size]) for size in SIZES} for key, one in latencies.items()}
    labels = {stack.key: stack.label for stack in STACKS}
    tier = p50["tier"]
    peers = [stack.key for stack in STACKS if stack.is_peer]
    measured, absent = [key for key in peers if key in p50], [key for key in peers if key in missing]
    figures = []
    for size in SIZES if measured else ():
        best = min(measured, key=lambda key: p50[key][size])
        figures.append(f"{size}: {p50[best][size] / tier[size]:.2f} times faster than {labels[best]}")
    if absent:
        figures.append(f"not measured and so not beaten: {', '.join(labels[key] for key in absent)}")
    behind = any(p50[key][size] <= tier[size] for key in measured for size in SIZES)
    ratios = {size: tier[size] / min(p50["raw"][size], p50["raw_small"][size]) for size in LARGE}
    aims = [
        Aim("ahead of every peer at every size", False if behind else None if absent else True, "; ".join(figures)),
        Aim(
            f"within 2.5 times raw TCP, the faster of both, at {' and '.join(LARGE)}",
            max(ratios.values()) <= 2.5,
            "; ".join(f"{size}: {ratio:.2f}" for size, ratio in ratios.items()),
        ),
    ]
    text = "under a tenth of Flask with Base64"
    if "flask" not in p50:
        return [*aims, Aim(text, None, f"not measured: {missing['flask']}")]
    shares = {size: tier[size] / p50["flask"][size] for size in SIZES}
    figures = [f"{size}: {share:.3f}" for size, share in shares.items()]
    if "flask_session" in p50:
        of_session = ", ".join(f"{tier[size] / p50['flask_session'][size]:.3f}" for size in SIZES)
        figures.append(f"of Flask over a session's one connection: {of_session}")
    return [*aims, Aim(text, max(shares.values()) < 0.1, "; ".join(figures))]


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    return float(p50), float(p95)


def _print(
    console: Console,
    latencies: Mapping[str, Mapping[str, list[float]]],
    missing: Mapping[str, str],
    aims: Sequence[Aim],
) -> None:
    table = Table(title="round trip of a sequential request, no-op model: p50 / p95 in ms")
    table.add_column("stack")
    for size in SIZES:
        table.add_column(size, justify="right")
    for stack in STACKS:
        if stack.key in missing:
            table.add_row(stack.label, *["not measured"] * len(SIZES))
        else:
            cells = [_percentiles(latencies[stack.key][size]) for size in SIZES]
            table.add_row(stack.label, *[f"{p50:.3f} / {p95:.3f}" for p50, p95 in cells])
    console.print(table)
    for aim in aims:
        verdict = {True: "[green]met", False: "[red]not met", None: "[yellow]not shown"}[aim.met]
        console.print(f"{verdict}[/]: {aim.text} ({aim.figures})", highlight=False)


def _document(
    latencies: Mapping[str, Mapping[str, list[float]]],
    missing: Mapping[str, str],
    aims: Sequence[Aim],
    options: argparse.Namespace,
    pythons: Mapping[str, str],
) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for key, by_size in latencies.items():
        results[key] = {}
        for size, seconds in by_size.items():
            p50, p95 = _percentiles(seconds)
            results[key][size] = {"bytes": SIZES[size], "p50_ms": p50, "p95_ms": p95, "requests": len(seconds)}
    names = {package.partition("[")[0] for stack in STACKS for package in (*stack.server_needs, *stack.client_needs)}
    return {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: _version(name, pythons.get(name, sys.executable)) for name in sorted(names)},
        "rounds": options.rounds,
        "seed": options.seed,
        "results": results,
        "not_measured": dict(missing),
        "aims": [{"aim": aim.text, "met": aim.met, "figures": aim.figures} for aim in aims],
    }


def _version(package: str, python: str) -> str | None:
    if python == sys.executable:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
        return None
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return ended.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
