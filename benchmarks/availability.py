"""What is answered where nodes are gone: artifacts on several nodes or tiers, of which two are killed one by one.

Requests are sent one at a time over the study's links. Within one in flight a server is killed, and within a later one
a second, as by a crash: processes by a signal, containers by their engine. Each phase sends the same samples, so that
accuracy differs by what is missing and nothing else. Artifacts come from the store, or are built now.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.host import this_host, usable_cores
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.chains import nodes_of, tiers_of, with_chains
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.store import default_root
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, Deployment, DeploymentSpec, TierError
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.nodes import NodesDeployment, deploy
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.sharing import share_among_nodes
from pytest_edgeai.tiers.specs import Topology, paper_topology
from pytest_edgeai.wire.client import RequestError, Requests

OPERATORS: Final = ("variants", "class_parallel", "partition")
Kill: TypeAlias = Callable[[str], None]
Asked: TypeAlias = Sequence[tuple[Mapping[str, Array], int]]
"""Requests with their labels."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Some requests while the same servers were there.

    Parameters
    ----------
    gone
        The servers that were killed so far.
    answered, failed
        Requests with an answer, and without.
    partly
        Of those with an answer, how many lack a node's.
    right
        Answers whose first label is the sample's.
    median_s
        Latency of the answers; None where there are none.
    failed_after_s
        Median of how long it took until a request had failed.
    reason
        What the last failure said.
    """

    artifact: str
    placement: str
    gone: tuple[str, ...]
    answered: int
    failed: int
    partly: int
    right: int
    median_s: float | None
    failed_after_s: float | None
    reason: str


def run(client: Requests, model: str, placement: str, asked: Asked, deaths: Sequence[str], kill: Kill) -> list[Phase]:
    """Send the requests, and again after each death.

    Parameters
    ----------
    client
        A connection to the artifact.
    model, placement
        The name it is served under, and where.
    asked
        The requests of each phase.
    deaths
        The servers to kill, in turn, while the first request of a phase is in flight.
    kill
        Ends a server at once.
    """
    phases = []
    for number in range(len(deaths) + 1):
        latencies_s, failures_s = [], []
        right = partly = 0
        reason = ""
        for position, (inputs, label) in enumerate(asked):
            killer = threading.Thread(target=kill, args=(deaths[number - 1],)) if number and not position else None
            if killer is not None:
                killer.start()
            began = time.perf_counter()
            try:
                answer = client.infer(model, inputs)
                latencies_s.append(answer.latency_s)
                right += int(answer.outputs["labels"][0, 0]) == label
                partly += bool(answer.missing)
            except RequestError as error:
                failures_s.append(time.perf_counter() - began)
                reason = str(error)
            if killer is not None:
                killer.join()
        phases.append(
            Phase(
                model,
                placement,
                tuple(deaths[:number]),
                len(latencies_s),
                len(failures_s),
                partly,
                right,
                statistics.median(latencies_s) if latencies_s else None,
                statistics.median(failures_s) if failures_s else None,
                reason,
            )
        )
    return phases


def table(phases: Sequence[Phase]) -> str:
    """Markdown."""
    lines = [
        "| artifact | placement | killed | answered | of them without a node | failed | right of the answered "
        "| right of all requests | median latency | median time to fail |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in phases:
        requests = one.answered + one.failed
        accuracy = f"{one.right / one.answered:.1%}" if one.answered else "–"
        lines.append(
            f"| {one.artifact} | {one.placement} | {', '.join(one.gone) or 'none'} | {one.answered} | {one.partly} "
            f"| {one.failed} | {accuracy} | {one.right / requests:.1%} | {_milliseconds(one.median_s)} "
            f"| {_milliseconds(one.failed_after_s)} |"
        )
    return "\n".join(lines)


def _milliseconds(value_s: float | None) -> str:
    return "–" if value_s is None else f"{value_s * 1e3:.1f} ms"


@contextmanager
def backend_for(placements: Sequence[Placement], *, docker: bool) -> Iterator[ProcessBackend | DockerBackend]:
    """A backend for the study's tiers and links, whose nodes take turns where this host has too few cores."""
    topology = Topology.model_validate(paper_topology())
    alone = allot(topology.tiers, usable_cores(), this_host().memory_bytes)
    allotments = share_among_nodes(alone, placements, topology, usable_cores())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeai-availability-")))
        site = BackendContext(topology, allotments, tuple(placements), f"availability-{time.time_ns():x}", folder)
        yield stack.enter_context(DockerBackend(site)) if docker else ProcessBackend(site)


def deaths_of(placement: Placement, deployment: Deployment) -> tuple[list[str], Kill]:
    """The two servers to kill, and how: the first nodes, or the last tiers of a chain.

    Variants are in order of their size, so that it is the largest that are lost.
    """
    if isinstance(deployment, NodesDeployment):
        nodes: Mapping[str, Any] = deployment.nodes
        return list(nodes)[:2], lambda name: nodes[name].kill(name)
    chain: Any = deployment
    return list(reversed(placement.tiers))[:2], chain.kill


def _asked(prepared: Prepared, requests: int) -> Asked:
    """Samples spread evenly over those that accuracy is evaluated on."""
    count = len(prepared.validation)
    chosen = [prepared.validation[number * count // requests] for number in range(min(requests, count))]
    return [(sample.inputs, sample.reference) for sample in chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every operator's artifact, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks/availability.py", description=__doc__)
    parser.add_argument("--model", default="resnet")
    parser.add_argument("--operators", default=",".join(OPERATORS), metavar="A,B")
    parser.add_argument("--tier", default="mobile", help="of which several nodes are used")
    parser.add_argument("--store", type=Path, default=default_root(), help="default: the plugin's")
    parser.add_argument("--requests", type=int, default=100, help="in each phase")
    parser.add_argument("--docker", action="store_true", help="containers instead of processes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    subject: SubjectModel = import_module(f"models.{options.model}").SUBJECT
    chosen = tuple(options.operators.split(","))
    operators = with_chains(registry.instantiate(registry.merged([]), {}), chosen)
    placements = {
        name: Placement(tiers_of(name, operators) or (options.tier,), nodes_of(name, operators)) for name in chosen
    }
    plan = Plan(options.store, {options.model: subject}, operators, this_host())
    made = prepare_all(plan, [(options.model, name) for name in chosen], _say)
    phases: list[Phase] = []
    failed = False
    with backend_for(list(placements.values()), docker=options.docker) as backend:
        for (_, name), ready in made.items():
            if isinstance(ready, Failure):
                print(f"{options.model}-{name} could not be made: {ready.sentence}", file=sys.stderr)
                failed = True
                continue
            placement = placements[name]
            order = DeploymentSpec(ready.artifact.name, ready.artifact.entry.folder, placement)
            try:
                with deploy(backend, order) as deployment, deployment.client() as client:
                    deaths, kill = deaths_of(placement, deployment)
                    asked = _asked(ready, options.requests)
                    phases += run(client, order.name, str(placement), asked, deaths, kill)
            except TierError as error:
                print(f"{order.name}: {error}", file=sys.stderr)
                failed = True
    print(table(phases))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in phases], indent=1) + "\n", encoding="utf-8")
    return int(failed)


def _say(progress: Progress) -> None:
    if progress.done or progress.note:
        what = progress.note or progress.failure or progress.stage
        print(f"{'-'.join(progress.wanted)}: {what} after {progress.elapsed_s:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
