"""How long containers take: from asking for a deployment until it is ready, a restart, and until nothing is left.

One table of medians, and the aim: under 3 seconds a tier. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shaping import make_model

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.settings import Settings
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec
from pytest_edgeai.tiers.container_deployment import DockerDeployment
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.wire.client import RequestError

AIM_S = 3.0


def main() -> int:
    """Measure, print and write; 1 where the aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console()
    took_s: dict[str, list[float]] = {}
    for what, seconds in _measure(options.repeats):
        took_s.setdefault(what, []).append(seconds)
    table = Table("what", "median", "slowest", title="containers")
    for what, values in took_s.items():
        table.add_row(what, f"{statistics.median(values):.2f} s", f"{max(values):.2f} s")
    console.print(table)
    slowest_s = max(statistics.median(values) for what, values in took_s.items() if what.endswith("ready"))
    met = slowest_s < AIM_S
    verdict = f"{'met' if met else 'NOT MET'}: a tier is ready in under {AIM_S:g} s (slowest median {slowest_s:.2f} s)"
    console.print(verdict, style="green" if met else "red", highlight=False)
    if options.json is not None:
        document = {"aim_met": met, "verdict": verdict, "took_s": took_s}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if met else 1


def _measure(repeats: int) -> Iterator[tuple[str, float]]:
    topology, host = Settings().topology, this_host()
    placements = tuple(Placement((tier,)) for tier in topology.tiers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = make_model(folder / "nothing")
        allotments = allot(topology.tiers, host.cores, host.memory_bytes)
        site = BackendContext(topology, allotments, placements, secrets.token_hex(4), folder)
        with DockerBackend(site) as backend:
            for _ in range(repeats):
                for placement in placements:
                    started = time.perf_counter()
                    with backend.deploy(DeploymentSpec("nothing", model, placement)) as deployment:
                        ready_s = time.perf_counter() - started
                        tiers = f"{placement} ({', '.join(sorted(deployment.containers))})"
                        yield f"{tiers}: ready", ready_s
                        if placement == placements[0]:
                            yield f"{tiers}: restarted and ready", _restart(deployment)
                        started = time.perf_counter()
                    yield f"{tiers}: removed", time.perf_counter() - started


def _restart(deployment: DockerDeployment) -> float:
    (container,) = deployment.containers.values()
    started = time.perf_counter()
    container.inner.restart(timeout=0)
    while True:
        try:
            with deployment.client() as client:
                client.download("/v2/health/ready")
        except RequestError:
            time.sleep(0.01)
        else:
            return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
