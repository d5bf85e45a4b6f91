"""How well a link keeps its rate: transfer times over a link to a tier, against bytes × 8 / rate.

Every size crosses every rate in both directions to a real tier server, again and again; what is printed is the median
and the worst. The link is a relay process, or with `--docker` one between two containers that the kernel shapes, and is
then measured from inside. With `--paper` the same transfers cross a link shaped as the study's links were, by a token
bucket as deep as one second of traffic. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
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

from pytest_edgeai.matrix import Placement
from pytest_edgeai.measure.client import Client
from pytest_edgeai.serving.server import PROBE_PATH
from pytest_edgeai.tiers.backend import Order, Site
from pytest_edgeai.tiers.children import Child, family
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.probe import Line
from pytest_edgeai.tiers.relay import BURST_S
from pytest_edgeai.tiers.specs import Topology, allot
from pytest_edgeai.tiers.traffic import shaping_commands

Over: TypeAlias = Callable[[float, float], AbstractContextManager[Line]]

RATES_MBPS = (1, 10, 50, 200)
SIZES = {"10 kB": 10_000, "100 kB": 100_000, "600 kB": 600_000, "2 MB": 2_000_000}
AIM_RATES_MBPS = (1, 10, 50)
AIM_SIZES = ("100 kB", "600 kB", "2 MB")
AIM = 0.03
PAPER_BURST_S = 1.0
FEWEST, MOST = 3, 25
MOST_WITH_REST = 5  # where the bucket has to fill up before every transfer
HOST = "127.0.0.1"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Cell:
    """The transfers of one size over one link in one direction.

    Parameters
    ----------
    rate_mbps, size, direction
        What crossed what.
    burst_s
        The depth of the link's bucket in seconds of its rate.
    ideal_s
        Bytes × 8 / rate.
    took_s
        How long each transfer took.
    """

    rate_mbps: float
    size: str
    direction: Literal["up", "down"]
    burst_s: float
    ideal_s: float
    took_s: tuple[float, ...]

    @property
    def median(self) -> float:
        """Error of the median, relative to the ideal."""
        return statistics.median(self.took_s) / self.ideal_s - 1

    @property
    def worst(self) -> float:
        """The error that is farthest from none."""
        return max((took_s / self.ideal_s - 1 for took_s in self.took_s), key=abs)


def main() -> int:
    """Measure, print and write; 1 where the aim is not met."""
    options = _parser().parse_args()
    console = Console()
    bursts = (BURST_S, PAPER_BURST_S) if options.paper else (BURST_S,)
    over = _containers if options.docker else _relay
    cells: list[Cell] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("transfers", total=len(bursts) * len(options.rates) * len(SIZES) * 2)
        for burst_s in bursts:
            for rate_mbps in options.rates:
                progress.update(task, description=f"{rate_mbps:g} Mbit/s, burst of {burst_s:g} s")
                for cell in _measure(over, rate_mbps, burst_s, options.seconds):
                    cells.append(cell)
                    progress.advance(task)
    ours = [cell for cell in cells if cell.burst_s == BURST_S]
    theirs = [cell for cell in cells if cell.burst_s == PAPER_BURST_S]
    console.print(_table(ours, theirs))
    met, verdict = _verdict(ours)
    console.print(verdict, style="green" if met else "yellow" if met is None else "red", highlight=False)
    if theirs:
        console.print(_let_through(theirs), highlight=False)
    if options.json is not None:
        options.json.write_text(json.dumps(_document(cells, met, verdict), indent=2) + "\n", encoding="utf-8")
    return 1 if met is False else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--paper", action="store_true", help="also with a bucket as deep as one second of traffic, as in the study")
    add("--docker", action="store_true", help="between containers, from inside, instead of through a relay")
    add("--rates", type=_rates, default=RATES_MBPS, metavar="A,B", help="in Mbit/s (default: 1,10,50,200)")
    add(
        "--seconds",
        type=float,
        default=3.0,
        metavar="S",
        help=f"of transfers for each size and direction, from {FEWEST} to {MOST} of them (default: %(default)g)",
    )
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


def _measure(over: Over, rate_mbps: float, burst_s: float, seconds: float) -> Iterator[Cell]:
    """Every size in both directions over one link."""
    rate_bps = rate_mbps * 1e6
    with over(rate_bps, burst_s) as line:
        line.download(f"{PROBE_PATH}?bytes=1")  # opens the connection
        for size, size_bytes in SIZES.items():
            ideal_s = size_bytes * 8 / rate_bps
            most = MOST if burst_s <= BURST_S else MOST_WITH_REST
            repeats = min(most, max(FEWEST, round(seconds / ideal_s)))
            for direction in ("up", "down"):
                took_s = []
                for _ in range(repeats):
                    if burst_s > BURST_S:
                        time.sleep(burst_s)  # until the bucket is full again, as between two sessions
                    if direction == "up":
                        took_s.append(line.upload(PROBE_PATH, size_bytes))
                    else:
                        took_s.append(line.download(f"{PROBE_PATH}?bytes={size_bytes}"))
                yield Cell(rate_mbps, size, direction, burst_s, ideal_s, tuple(took_s))


@contextlib.contextmanager
def _relay(rate_bps: float, burst_s: float) -> Iterator[Line]:
    """A relay before a tier's server."""
    with tempfile.TemporaryDirectory() as temporary, family(5.0) as children:
        folder = Path(temporary)
        (folder / "models").mkdir()
        tier = Child("tier", ["pytest_edgeai.serving", "--repository", str(folder / "models")], folder, TIMEOUT_S)
        children.append(tier)
        shape = ["--rate-bps", repr(rate_bps), "--burst-s", repr(burst_s), "--target", f"{HOST}:{tier.port}"]
        link = Child("link", ["pytest_edgeai.tiers.relay", *shape], folder, TIMEOUT_S)
        children.append(link)
        with Client(HOST, link.port, timeout_s=TIMEOUT_S) as client:
            yield client


@contextlib.contextmanager
def _containers(rate_bps: float, burst_s: float) -> Iterator[Line]:
    """Two containers; what leaves either is shaped by the kernel."""
    topology = Topology.model_validate(
        {
            "origin": "near",
            "tiers": {name: {"cores": 1, "memory": "1 GiB"} for name in ("near", "far")},
            "links": {"near-far": {"rate": f"{rate_bps} bit/s"}},
        }
    )
    allotments = allot(topology.tiers, 2, 2**40)
    with tempfile.TemporaryDirectory() as temporary:
        model = make_model(Path(temporary) / "nothing")
        placement = Placement(("far",))
        site = Site(topology, allotments, (placement,), secrets.token_hex(4), Path(temporary), note=_say)
        with DockerBackend(site) as backend, backend.deploy(Order("nothing", model, placement)) as deployment:
            (hop,) = deployment.hops
            if burst_s > BURST_S:
                for end in deployment.containers.values():
                    burst_bytes = round(rate_bps / 8 * burst_s)
                    ((_, _, _, *command),) = shaping_commands("$i", hop.link, burst_bytes)
                    change = " ".join(["tc", "qdisc", "replace", *command])
                    end.as_root(f"for i in $(ls /sys/class/net | grep ^eth); do {change}; done")
            yield deployment.probe(hop)


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


def _table(ours: Sequence[Cell], theirs: Sequence[Cell]) -> Table:
    table = Table(title="transfer time against bytes × 8 / rate", caption="median (worst)")
    table.add_column("Mbit/s", justify="right")
    for heading in ("size", "ideal", "up", "down"):
        table.add_column(heading, justify="right")
    if theirs:
        table.add_column("up, burst 1 s", justify="right")
        table.add_column("down, burst 1 s", justify="right")
    for up, down in zip(ours[::2], ours[1::2], strict=True):
        row = [f"{up.rate_mbps:g}", up.size, f"{up.ideal_s * 1e3:,.1f} ms", _errors(up), _errors(down)]
        row += [_errors(cell) for cell in theirs if (cell.rate_mbps, cell.size) == (up.rate_mbps, up.size)]
        table.add_row(*row, end_section=up.size == list(SIZES)[-1])
    return table


def _errors(cell: Cell) -> str:
    return f"{cell.median:+.2%} ({cell.worst:+.2%})"


def _verdict(cells: Sequence[Cell]) -> tuple[bool | None, str]:
    """Whether the aim is met, None where not all of it was measured, and the sentence about it."""
    aimed = [cell for cell in cells if cell.rate_mbps in AIM_RATES_MBPS and cell.size in AIM_SIZES]
    aim = f"{', '.join(AIM_SIZES)} at {', '.join(map(str, AIM_RATES_MBPS))} Mbit/s within {AIM:.0%}, both directions"
    if len(aimed) < 2 * len(AIM_RATES_MBPS) * len(AIM_SIZES):
        return None, f"not all was measured of the aim: {aim}"
    largest = max(aimed, key=lambda cell: abs(cell.median))
    met = abs(largest.median) <= AIM
    sentence = (
        f"{'met' if met else 'NOT MET'}: {aim} (the largest error of a median is {largest.median:+.2%}, "
        f"{largest.size} {largest.direction} at {largest.rate_mbps:g} Mbit/s)"
    )
    fastest = [cell.median for cell in cells if cell.rate_mbps == RATES_MBPS[-1] and cell.size in AIM_SIZES]
    if fastest:
        sentence += f"; at {RATES_MBPS[-1]} Mbit/s from {min(fastest):+.2%} to {max(fastest):+.2%}"
    return met, sentence


def _let_through(cells: Sequence[Cell]) -> str:
    unshaped = [f"{cell.size} {cell.direction} at {cell.rate_mbps:g}" for cell in cells if cell.median < -0.5]
    return (
        f"a burst of one second makes {len(unshaped)} of {len(cells)} transfers take less than half their time: "
        f"{', '.join(unshaped) or 'none'} Mbit/s"
    )


def _document(cells: Sequence[Cell], met: bool | None, verdict: str) -> dict[str, object]:
    return {
        "aim_met": met,
        "verdict": verdict,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "cells": [{**asdict(cell), "median_error": cell.median, "worst_error": cell.worst} for cell in cells],
    }


if __name__ == "__main__":
    sys.exit(main())
