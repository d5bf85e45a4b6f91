"""The same matrix on processes and on containers: identical predictions, and the same order of tiers."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.image import ensure_image
from pytest_edgeai.tiers.specs import ImageSpec

for needed in ("torch", "neural_compressor", "transformers", "safetensors", "sklearn", "onnxscript"):
    pytest.importorskip(needed)

ROOT = Path(__file__).parents[2]
BACKENDS = ("process", "docker")
STRATEGIES = ("resnet-identity", "bert-sptq")
"""On each of three tiers."""
APART = 1.5
"""Tiers whose fastest requests are nearer to each other than this have no order that a single trial would show."""
SETTINGS = """
models = ["resnet", "bert"]
operators = ["identity", "sptq"]
replicates = 1

[profiles.quick]
inputs = 6

[tolerances]  # what a busy host does to latencies is not what is tested
link_share = 0.99
cpu_wait = 1
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""
CONFTEST = """
pytest_plugins = ["fixtures.subjects"]
"""
SUITE = """
import json
from pathlib import Path

def test_strategy(trial):
    trial()

def test_predictions(deployment, artifact, subject, strategy):
    answers = []
    with deployment.client() as client:
        for sample in subject.examples.generate("validation")[:10]:
            outputs = client.infer(artifact.name, sample.inputs).outputs
            answers.append([outputs["labels"].tolist(), outputs["scores"].tolist()])
    folder = Path("predictions")
    folder.mkdir(exist_ok=True)
    (folder / f"{strategy.id}.json").write_text(json.dumps(answers))
"""


@dataclass(frozen=True, slots=True)
class Session:
    """What a backend's session measured.

    Parameters
    ----------
    results
        `results.json`.
    predictions
        The answers of each strategy's tier.
    fastest_s
        The fastest request by model, operator and tier: whatever else a host does only adds to it.
    """

    results: dict[str, Any]
    predictions: dict[str, Any]
    fastest_s: dict[tuple[str, str, str], float]


def _fastest_s(samples: Path) -> dict[tuple[str, str, str], float]:
    fastest: dict[tuple[str, str, str], float] = {}
    with samples.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = (row["model"], row["operator"], row["tier"])
            fastest[name] = min(fastest.get(name, math.inf), float(row["latency_s"]))
    return fastest


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, store: Path) -> dict[str, Session]:
    """By backend."""
    try:
        ensure_image(engine.connect(), ImageSpec(), print)
    except engine.EngineError as error:
        if os.environ.get("EDGEAI_REQUIRE_ENGINE"):
            raise
        pytest.skip(str(error))
    found = {}
    for backend in BACKENDS:
        project = tmp_path_factory.mktemp(backend)
        for name, text in {"edgeai.toml": SETTINGS, "conftest.py": CONFTEST, "test_it.py": SUITE}.items():
            (project / name).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "--rootdir", str(project), "-p", "no:cacheprovider"]
        command += ["--edgeai-store", str(store)]
        # Images and sentences, float and int8.
        command += ["--edgeai-backend", backend, "-k", " or ".join(STRATEGIES)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=1200, check=False
        )
        report = project / "reports" / "latest" / "results.json"
        assert report.is_file(), done.stdout + done.stderr
        results = json.loads(report.read_text("utf-8"))
        predictions = {path.stem: json.loads(path.read_text("utf-8")) for path in (project / "predictions").iterdir()}
        found[backend] = Session(results, predictions, _fastest_s(report.with_name("samples.csv")))
    return found


def test_the_same_matrix_passes_on_both(measured: dict[str, Session]) -> None:
    for backend in BACKENDS:
        results = measured[backend].results
        assert results["backend"]["name"] == backend
        assert len(results["strategies"]) == 3 * len(STRATEGIES)
        assert {one["verdict"] for one in results["strategies"]} == {"pass"}


def test_predictions_are_identical(measured: dict[str, Session]) -> None:
    process, containers = (measured[backend].predictions for backend in BACKENDS)
    assert len(process) == 3 * len(STRATEGIES)
    assert process == containers


def test_both_give_the_same_order_of_tiers(measured: dict[str, Session]) -> None:
    process, containers = (measured[backend].fastest_s for backend in BACKENDS)
    assert set(process) == set(containers)
    pairs = [
        (one, other)
        for one, other in itertools.permutations(process, 2)
        if one[:2] == other[:2] and process[one] > APART * process[other]
    ]
    assert len(pairs) >= len(STRATEGIES), process
    assert [pair for pair in pairs if containers[pair[0]] <= containers[pair[1]]] == []
