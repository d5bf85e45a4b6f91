"""The same matrix on processes and on containers: identical predictions, and the same order of tiers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
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
APART = 1.25
"""Tiers whose medians are nearer to each other than this have no order that a single trial would show."""
SETTINGS = """
models = ["resnet", "bert"]
operators = ["identity", "sptq"]
replicates = 1

[profiles.quick]  # other tests keep the host busy: what they spoil twice is not tried again
inputs = 6
retries = 1
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


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, store: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By backend: results and predictions."""
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
        found[backend] = (results, predictions)
    return found


def test_the_same_matrix_passes_on_both_but_for_what_the_host_spoils(
    measured: dict[str, tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    for backend in BACKENDS:
        results, _ = measured[backend]
        assert results["backend"]["name"] == backend
        assert len(results["strategies"]) == 3 * len(STRATEGIES)
        assert {one["verdict"] for one in results["strategies"]} <= {"pass", "invalid"}
        assert {one["cause"] for one in results["trials"] if one["status"] == "invalid"} <= {"host"}


def test_predictions_are_identical(measured: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    process, containers = (measured[backend][1] for backend in BACKENDS)
    assert len(process) == 3 * len(STRATEGIES)
    assert process == containers


def test_both_give_the_same_order_of_tiers(measured: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    process, containers = (
        {(one["model"], one["operator"], one["tier"]): one["median_s"] for one in measured[backend][0]["strategies"]}
        for backend in BACKENDS
    )
    valid = [name for name in process if process[name] is not None and containers[name] is not None]
    pairs = [
        (one, other)
        for one, other in itertools.permutations(valid, 2)
        if one[:2] == other[:2] and process[one] > APART * process[other]
    ]
    if not pairs:
        pytest.skip("this host is too busy: no two tiers of a model have valid medians that are apart")
    assert [pair for pair in pairs if containers[pair[0]] <= containers[pair[1]]] == []
