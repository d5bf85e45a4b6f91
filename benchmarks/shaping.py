"""How well a link keeps its rate: transfer times over a link to a tier, against what rate and bytes give.

Every size crosses every rate in both directions to a real tier server, after a rest and back to back, polling for
answers as trials do and sleeping; what is printed is the median error and the worst. The link is held by the tier's
server and the client, or is a relay process (`--relay`), or lies between two containers (`--docker`, held; `--kernel`,
shaped by the kernel) and is measured from inside one of them. The same transfers to the same server without a link tell
what the host itself takes. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pytest_edgeai.measure.host_checks import wake_up_s
from pytest_edgeai.serving.server import PROBE_PATH
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec
from pytest_edgeai.tiers.children import Child, family
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import ProbeConnection, ProbeConnections
from pytest_edgeai.tiers.specs import Shaping, Topology
from pytest_edgeai.wire.client import Client, Transfer
from pytest_edgeai.wire.links import LinkShape

Over: TypeAlias = Callable[[LinkShape, bool], AbstractContextManager[ProbeConnections]]
Manner: TypeAlias = Literal["rested", "back to back"]

RATES_MBPS = (1, 10, 50, 200)
SIZES = {
    "200 B": 200,
    "1 kB": 1000,
    "4 kB": 4000,
    "25 kB": 25_000,
    "100 kB": 100_000,
    "600 kB": 600_000,
    "2 MB": 2_000_000,
}
LONGEST_S = 5.0
AIM_SHARE, AIM_S = 0.01, 0.3e-3
DOCKER_AIM_SHARE, DOCKER_AIM_S = 0.05, 0.2e-3
HOST = "127.0.0.1"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Transfers:
    """The transfers of one size over one link in one direction.

    Parameters
    ----------
    rate_mbps, size, direction, manner
        What crossed what, and after what.
    ideal_s
        What rate and bytes give, the request's and the answer's.
    errors_s
        By how much each transfer took longer.
    host_s
        The median of the same transfers without a link.
    """

    rate_mbps: float
    size: str
    direction: Literal["up", "down"]
    manner: Manner
    ideal_s: float
    errors_s: tuple[float, ...]
    host_s: float

    @property
    def median_s(self) -> float:
        """The median error in seconds."""
        return statistics.median(self.errors_s)

    @property
    def worst_s(self) -> float:
        """The error that is farthest from none."""
        return max(self.errors_s, key=abs)

    def is_within(self, share: float, seconds: float) -> bool:
        """Whether the median error is within a share of the ideal or so many seconds, whichever is more."""
        return abs(self.median_s) <= max(share * self.ideal_s, seconds)


def main() -> int:
    """Measure, print and write; 1 where the aim is not met."""
    options = _parser().parse_args()
    console = Console()
    in_containers = options.docker or options.kernel
    shaping: Shaping = "kernel" if options.kernel else "held"
    over: Over = functools.partial(_containers, shaping) if in_containers else _relay if options.relay else _held
    aim = (DOCKER_AIM_SHARE, DOCKER_AIM_S) if in_containers else (AIM_SHARE, AIM_S)
    wake_s = wake_up_s()
    console.print(
        f"{platform.node()}, load {os.getloadavg()[0]:.2f}, wakes up in {wake_s * 1e3:.2f} ms (4 kB to a "
        "process and back after a rest)",
        highlight=False,
    )
    met = True
    document = []
    for polls in (True,) if in_containers else (True, False):
        cells: list[Transfers] = []
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("transfers", total=len(options.rates) * len(SIZES) * 4)
            for rate_mbps in options.rates:
                progress.update(task, description=f"{rate_mbps:g} Mbit/s")
                for cell in _measure(over, rate_mbps, options.repeats, options.rest, polls):
                    cells.append(cell)
                    progress.advance(task)
        console.print(_table(cells, "polling" if polls else "sleeping"))
        outside = [cell for cell in cells if not cell.is_within(*aim)]
        sentence = (
            f"{len(cells) - len(outside)} of {len(cells)} medians are within {aim[0]:.0%} or {aim[1] * 1e3:g} ms, "
            f"{'polling' if polls else 'sleeping'}"
        )
        console.print(sentence, style="green" if not outside else "yellow", highlight=False)
        document.append({"polls": polls, "cells": [{**asdict(cell), "median_s": cell.median_s} for cell in cells]})
        met &= not (polls and outside)
    if options.json is not None:
        about = {"system": platform.platform(), "load": os.getloadavg()[0], "wake_up_s": wake_s, "aim_met": met}
        options.json.write_text(json.dumps({**about, "runs": document}, indent=2) + "\n", encoding="utf-8")
    return 0 if met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--docker", action="store_true", help="between containers, held by their ends")
    where.add_argument("--kernel", action="store_true", help="between containers, shaped by the kernel")
    where.add_argument("--relay", action="store_true", help="through a relay, as to servers that are not ours")
    add("--rates", type=_rates, default=RATES_MBPS, metavar="A,B", help="in Mbit/s (default: 1,10,50,200)")
    add("--repeats", type=int, default=5, metavar="N", help="transfers of each kind (default: %(default)d)")
    add("--rest", type=float, default=1.0, metavar="S", help="seconds of rest before a transfer (default: %(default)g)")
    add("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    return parser


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        rates = ()
    if not rates or not all(1e-3 <= rate <= 1e6 for rate in rates):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of rates in Mbit/s")
    return rates


def _measure(over: Over, rate_mbps: float, repeats: int, rest_s: float, polls: bool) -> Iterator[Transfers]:
    """Every size in both directions over one link."""
    shape = LinkShape(rate_mbps * 1e6)
    with over(shape, polls) as lines:
        for line in (lines.link, lines.bare):
            if line is not None:
                line.download(f"{PROBE_PATH}?bytes=1")  # opens the connection
        for size, size_bytes in SIZES.items():
            if shape.ideal_s(size_bytes) > LONGEST_S:
                continue
            for direction in ("up", "down"):
                host_s = [_transfer(lines.bare, direction, size_bytes).took_s for _ in range(repeats) if lines.bare]
                for manner in ("rested", "back to back"):
                    found = []
                    for _ in range(repeats):
                        time.sleep(rest_s if manner == "rested" else 0)
                        found.append(_transfer(lines.link, direction, size_bytes))
                    ideal_s = [shape.ideal_s(one.sent_bytes) + shape.ideal_s(one.received_bytes) for one in found]
                    errors_s = tuple(one.took_s - ideal for one, ideal in zip(found, ideal_s, strict=True))
                    host = statistics.median(host_s) if host_s else 0.0
                    yield Transfers(rate_mbps, size, direction, manner, ideal_s[0], errors_s, host)


def _transfer(line: ProbeConnection | None, direction: Literal["up", "down"], size_bytes: int) -> Transfer:
    assert line is not None
    if direction == "up":
        return line.upload(PROBE_PATH, size_bytes)
    return line.download(f"{PROBE_PATH}?bytes={size_bytes}")


def _server(folder: Path, children: list[Child], *options: str) -> Child:
    (folder / "models").mkdir()
    tier = Child("tier", ["pytest_edgeai.serving", "--repository", str(folder / "models"), *options], folder, TIMEOUT_S)
    children.append(tier)
    return tier


@contextlib.contextmanager
def _held(shape: LinkShape, polls: bool) -> Iterator[ProbeConnections]:
    """A tier's server that holds what comes over the link, apart from the core of this process."""
    options = ["--inbound-link", shape.as_argument(), *(["--poll"] if polls else [])]
    with tempfile.TemporaryDirectory() as temporary, family(5.0) as children, _apart() as others:
        tier = _server(Path(temporary), children, *options)
        if others:
            os.sched_setaffinity(tier.pid, others)
        held = Client(HOST, tier.said()["link_port"], timeout_s=TIMEOUT_S, held_link=shape, polls=polls)
        bare = Client(HOST, tier.port, timeout_s=TIMEOUT_S, polls=polls)
        with ProbeConnections(held, bare) as lines:
            yield lines


@contextlib.contextmanager
def _apart() -> Iterator[set[int]]:
    """Keep this process on its first core; the others, where there are any."""
    if not hasattr(os, "sched_setaffinity"):
        yield set()
        return
    allowed = os.sched_getaffinity(0)
    first = min(allowed)
    try:
        if len(allowed) > 1:
            os.sched_setaffinity(0, {first})
        yield allowed - {first}
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def _relay(shape: LinkShape, polls: bool) -> Iterator[ProbeConnections]:
    """A relay before a tier's server."""
    with tempfile.TemporaryDirectory() as temporary, family(5.0) as children:
        folder = Path(temporary)
        tier = _server(folder, children)
        options = ["--rate-bps", repr(shape.rate_bps), "--target", f"{HOST}:{tier.port}"]
        link = Child("link", ["pytest_edgeai.tiers.relay", *options], folder, TIMEOUT_S)
        children.append(link)
        over = Client(HOST, link.port, timeout_s=TIMEOUT_S, polls=polls)
        with ProbeConnections(over, Client(HOST, tier.port, timeout_s=TIMEOUT_S, polls=polls)) as lines:
            yield lines


@contextlib.contextmanager
def _containers(shaping: Shaping, shape: LinkShape, polls: bool) -> Iterator[ProbeConnections]:  # noqa: ARG001  # the backend decides
    """Two containers with a link between them, behind another one that is not measured."""
    topology = Topology.model_validate(
        {
            "origin": "here",
            "tiers": {name: {"cores": 1, "memory": "1 GiB"} for name in ("here", "near", "far")},
            "links": {"here-near": {"rate": "1 Gbit/s"}, "near-far": {"rate": f"{shape.rate_bps} bit/s"}},
            "shaping": shaping,
        }
    )
    allotments = allot(topology.tiers, 2, 2**40)
    with tempfile.TemporaryDirectory() as temporary:
        model = make_model(Path(temporary) / "nothing")
        placement = Placement(("far",))
        site = BackendContext(topology, allotments, (placement,), secrets.token_hex(4), Path(temporary), note=_say)
        with (
            DockerBackend(site) as backend,
            backend.deploy(DeploymentSpec("nothing", model, placement)) as deployment,
            deployment.probe(deployment.hops[-1]) as lines,
        ):
            yield lines


def make_model(folder: Path) -> Path:
    """A model that does nothing."""
    import onnx

    folder.mkdir()
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in ("x", "y")]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "nothing", tensors[:1], tensors[1:])
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "model.onnx")
    return folder


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _table(measured: Sequence[Transfers], how: str) -> Table:
    table = Table(title=f"error against rate and bytes, {how}", caption="median (worst); host: the same without a link")
    for heading in ("Mbit/s", "size", "ideal", "up, rested", "up again", "down, rested", "down again"):
        table.add_column(heading, justify="right")
    table.add_column("host", justify="right")
    rows: dict[tuple[float, str], dict[tuple[str, Manner], Transfers]] = {}
    for one in measured:
        rows.setdefault((one.rate_mbps, one.size), {})[one.direction, one.manner] = one
    for (rate_mbps, size), row in rows.items():
        up = row["up", "rested"]
        columns = [row[direction, manner] for direction in ("up", "down") for manner in ("rested", "back to back")]
        table.add_row(
            f"{rate_mbps:g}",
            size,
            f"{up.ideal_s * 1e3:,.2f} ms",
            *map(_error, columns),
            f"{up.host_s * 1e3:.2f} ms",
            end_section=size == list(SIZES)[-1],
        )
    return table


def _error(one: Transfers) -> str:
    return f"{one.median_s * 1e3:+.2f} ({one.worst_s * 1e3:+.2f}) ms"


if __name__ == "__main__":
    sys.exit(main())
