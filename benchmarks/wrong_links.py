"""Links that are set wrong by hand: whether trials are invalid where that could have changed them, and only there.

The suite's main job runs over links whose rates are 5, 10 and 20 % too low or too high while the declared rates stay as
they are; a first session with right links tells what each strategy's requests and answers take on their links, and so
by what share of its latency a wrong rate changes each strategy. How to run it: README.md beside this file.

As a plugin of pytest (`-p benchmarks.wrong_links`) this module offers the backend `wrong_links`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_edgeai.measure.host_checks import wake_up_s
from pytest_edgeai.tiers.backend import BackendContext, Deployment, DeploymentSpec, TierState
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.specs import Hop
from pytest_edgeai.wire.client import Requests

FACTORS = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
TOLERANCE = 0.02
UNDECIDED = 0.5  # of the tolerance, either side of it: there the trial's own noise decides
_FACTOR = "EDGEAI_WRONG_LINKS"
_ROOT = Path(__file__).parents[1]


class WrongLinks:
    """The process backend over links whose rates are not those that the settings declare.

    Parameters
    ----------
    site
        With the declared links.
    """

    name: ClassVar[str] = "wrong_links"

    def __init__(self, site: BackendContext) -> None:
        self._declared = site.topology
        self._factor = float(os.environ[_FACTOR])
        self._inner = ProcessBackend(_with_rates(site, self._factor))

    def describe(self) -> str:
        """How tiers are run and limited."""
        return f"{self._inner.describe()}; rates × {self._factor:g}"

    @contextlib.contextmanager
    def deploy(self, order: DeploymentSpec) -> Iterator[Deployment]:
        """Start the servers of a placement."""
        with self._inner.deploy(order) as deployment:
            yield _Deployment(deployment, order.way(self._declared))


class _Deployment:
    """A deployment that believes in the declared links."""

    def __init__(self, inner: Deployment, hops: tuple[Hop, ...]) -> None:
        self.hops = hops
        self.cores = inner.cores
        self._inner = inner

    def client(self) -> Requests:
        return self._inner.client()

    def probe(self, hop: Hop) -> ProbeConnections | None:
        return self._inner.probe(next(one for one in self._inner.hops if one.name == hop.name))

    def states(self) -> tuple[TierState, ...]:
        return self._inner.states()

    def reference(self) -> Mapping[str, Mapping[str, Any]]:
        return self._inner.reference()

    def diagnose(self) -> str | None:
        return self._inner.diagnose()


def _with_rates(site: BackendContext, factor: float) -> BackendContext:
    links = {
        name: link.model_copy(update={"rate_bps": link.rate_bps * factor}) for name, link in site.topology.links.items()
    }
    return replace(site, topology=site.topology.model_copy(update={"links": links}))


def pytest_edgeai_backends(config: pytest.Config) -> Mapping[str, Any]:  # noqa: ARG001  # the hook's signature
    """Offer the backend."""
    return {"wrong_links": WrongLinks}


def main() -> int:
    """Run the sessions and print a row for each strategy; 1 where a verdict is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1, metavar="N", help="trials of each strategy (default: 1)")
    options, selection = parser.parse_known_args()
    found = {factor: _session(factor, options.replicates, selection) for factor in FACTORS}
    names = [one["id"] for one in found[1.0]["strategies"]]
    print(f"load {os.getloadavg()[0]:.2f}, wakes up in {wake_up_s() * 1e3:.2f} ms, commit {_commit()}")
    print(f"| strategy | on links | {' | '.join(f'× {factor:g}' for factor in FACTORS if factor != 1)} |")
    print(f"| --- | --- | {' | '.join('---' for factor in FACTORS if factor != 1)} |")
    wrong = decided = 0
    for name in names:
        share = _share_on_links(found[1.0], name)
        cells = []
        for factor in FACTORS:
            if factor == 1:
                continue
            expected = abs(share * (1 / factor - 1)) / (1 + share * (1 / factor - 1))
            outcome = next(one for one in found[factor]["strategies"] if one["id"] == name)
            invalid = outcome["verdict"] == "invalid" and "links made requests" in outcome["reason"]
            must = None if abs(expected / TOLERANCE - 1) < UNDECIDED else expected > TOLERANCE
            decided += must is not None
            is_wrong = must is not None and must != invalid
            wrong += is_wrong
            cells.append(f"{expected:.1%} {'invalid' if invalid else 'valid'}{' WRONG' if is_wrong else ''}")
        print(f"| {name} | {share:.1%} | {' | '.join(cells)} |")
    print(f"{decided - wrong} of {decided} verdicts are right, of those that the tolerance of {TOLERANCE:.0%} decides")
    return 1 if wrong else 0


def _session(factor: float, replicates: int, selection: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "suites/", "--benchmark-only", "-q", "-p", "benchmarks.wrong_links"]
        command += ["--edgeai-backend", "wrong_links", f"--edgeai-report={folder}", f"--edgeai-replicates={replicates}"]
        environment = {**os.environ, _FACTOR: repr(factor)}
        done = subprocess.run([*command, *selection], cwd=_ROOT, env=environment, capture_output=True, text=True)
        results = Path(folder) / "latest" / "results.json"
        if not results.is_file():
            raise SystemExit(
                f"the session with rates × {factor:g} left no results:\n{done.stdout[-2000:]}{done.stderr}"
            )
        document: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
        return document


def _share_on_links(document: Mapping[str, Any], strategy: str) -> float:
    """The share of a strategy's latency that its bytes take on their links; the median over valid trials."""
    shares = [
        trial["link_errors"]["ideal_s"] / statistics.median(trial["latency_s"]) if trial["link_errors"] else 0.0
        for trial in document["trials"]
        if trial["id"].rpartition("-r")[0] == strategy and trial["status"] == "valid"
    ]
    if not shares:
        raise SystemExit(f"{strategy} has no valid trial over right links: this host is too busy to judge by")
    return statistics.median(shares)


def _commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=_ROOT, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
