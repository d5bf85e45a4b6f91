"""The main job with the real models on real tiers: built once, without torch, all measured, in proportion, green."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.suite.hiding import without_torch

for needed in ("neural_compressor", "onnxscript", "safetensors", "sklearn"):
    pytest.importorskip(needed)

ROOT = Path(__file__).parents[2]
MODELS = ("resnet", "resnext", "bert", "roberta")
OPERATORS = ("identity", "sptq")
TIERS = ("mobile", "edge", "cloud")
ANY_HOST = """
[tolerances]  # what a busy host does to latencies is not what is tested
link_share = 0.99
cpu_wait = 1
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that has ended."""

    exit_code: int
    output: str
    results: dict[str, Any]
    rows: list[dict[str, str]]

    def strategy(self, name: str) -> dict[str, Any]:
        """What was found of a strategy."""
        found: dict[str, Any] = next(one for one in self.results["strategies"] if one["id"] == name)
        return found


def _measure(folder: Path, store: Path, *options: str, environment: Mapping[str, str] | None = None) -> Session:
    reports = folder / "reports"
    (folder / "edgeai.toml").write_text(ANY_HOST, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", str(ROOT / "suites"), "--benchmark-only", "-p", "no:cacheprovider"]
    command += [
        "--edgeai-backend",
        "process",
        "--edgeai-store",
        str(store),
        "--edgeai-report",
        str(reports),
        *options,
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    latest = reports / "latest"
    assert latest.exists(), done.stdout + done.stderr
    with (latest / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Session(done.returncode, done.stdout, json.loads((latest / "results.json").read_text("utf-8")), rows)


def _fastest_s(session: Session, model: str, tier: str) -> float:
    """What the fastest request of `identity` took: whatever else a host does only adds to it."""
    rows = (row for row in session.rows if (row["model"], row["operator"], row["tier"]) == (model, "identity", tier))
    return min(float(row["latency_s"]) for row in rows)


def _least_stretch(session: Session, model: str, tier: str) -> float:
    """How many times as long as here a tier computes, within a request: however fast the host is at the moment."""
    rows = (row for row in session.rows if (row["model"], row["operator"], row["tier"]) == (model, "identity", tier))
    return min(1 + float(row["stretch_s"] or 0) / float(row["compute_s"]) for row in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("main-job")


@pytest.fixture(scope="module")
def session(folder: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    environment = without_torch(tmp_path_factory.mktemp("hiding"))
    return _measure(folder, store, "--edgeai-replicates", "1", environment=environment)


def test_every_strategy_is_measured_and_passes(session: Session) -> None:
    assert session.exit_code == 0, session.output
    assert session.results["green"]
    expected = ["-".join(axes) for axes in itertools.product(MODELS, OPERATORS, TIERS)]
    assert [one["id"] for one in session.results["strategies"]] == expected
    assert {one["verdict"] for one in session.results["strategies"]} == {"pass"}
    assert "24 passed" in session.output
    assert "edgeai: 24 pass (green)" in session.output


def test_every_request_is_on_record_with_spans_that_add_up(session: Session) -> None:
    assert len(session.rows) == 24 * 10
    spans = ("load_s", "preprocess_s", "compute_s", "stretch_s", "postprocess_s", "serialize_s", "transmit_s")
    for row in session.rows:
        assert sum(float(row[span] or 0) for span in spans) == pytest.approx(float(row["latency_s"]), rel=1e-6)
        assert float(row["compute_s"]) > 0


def test_images_are_slow_to_reach_the_cloud_and_sentences_slow_to_compute_on_the_phone(session: Session) -> None:
    for model in ("resnet", "resnext"):
        edge_s, cloud_s = (_fastest_s(session, model, tier) for tier in ("edge", "cloud"))
        assert cloud_s > 5 * edge_s
    for model in ("bert", "roberta"):
        mobile, edge = (_least_stretch(session, model, tier) for tier in ("mobile", "edge"))
        assert mobile > 1.5 * edge > 1.5


def test_quantization_makes_artifacts_a_third_and_costs_no_more_than_its_budget(session: Session) -> None:
    sizes = {(one["model"], one["operator"]): one["size_bytes"] for one in session.results["artifacts"]}
    for model in MODELS:
        assert sizes[model, "sptq"] < 0.4 * sizes[model, "identity"]
        for tier in TIERS:
            assert session.strategy(f"{model}-sptq-{tier}")["accuracy_drop"] <= 2.0


def test_provenance_says_what_exported_and_quantized_and_that_torch_did_not(session: Session) -> None:
    engines = {(one["operator"], one["provenance"]["engine"]) for one in session.results["artifacts"]}
    assert engines == {("identity", "onnxscript"), ("sptq", "neural-compressor")}
    assert all("torch" not in one["provenance"]["libraries"] for one in session.results["artifacts"])


def test_a_second_session_with_torch_builds_nothing(session: Session, folder: Path, store: Path) -> None:
    chosen = ("--edgeai-models", "bert", "--edgeai-tiers", "edge", "--edgeai-replicates", "1")
    second = _measure(folder, store, *chosen)
    assert second.exit_code == 0, second.output
    assert "building" in session.output
    assert "building" not in second.output
    digests = {(one["model"], one["operator"]): one["content"] for one in session.results["artifacts"]}
    for one in second.results["artifacts"]:
        assert digests[one["model"], one["operator"]] == one["content"]


def test_the_matrix_is_listed_without_torch_and_without_measuring() -> None:
    script = (
        "import sys, pytest; code = pytest.main(['suites/', '--collect-only', '-q', '-p', 'no:cacheprovider']); "
        "print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules], int(code))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "suites/test_strategies.py::test_strategy[bert-sptq-edge-r0]" in lines
    assert lines[-1] == "[] 0"
