"""The first command with the extra `suite`: `identity` and `sptq` without torch, and what needs torch says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

for needed in ("neural_compressor", "onnxscript", "safetensors", "sklearn"):
    pytest.importorskip(needed)

ROOT = Path(__file__).parents[2]
HIDDEN = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torch_pruning", "torchvision", "transformers"):
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Finder if one is PathFinder else one for one in sys.meta_path]
"""
"""For `sitecustomize`: also the process that builds, and those of tiers, can import none of them."""


def _session(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(HIDDEN, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(folder / "hidden"), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "pytest", str(ROOT / "suites"), "--benchmark-only", "-p", "no:cacheprovider"]
    command += ["--edgeai-backend", "process", "--edgeai-store", str(folder / "store"), *options]
    return subprocess.run(
        [*command, "--edgeai-report", str(folder / "reports")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def test_identity_and_sptq_are_green_and_sptq_is_neural_compressors(tmp_path: Path) -> None:
    # What a busy host does to latencies is not what is tested.
    tolerant = "link_share = 0.99\ncpu_wait = 1\nwaiting_requests = 1\nforeign_cores = 1000\nslow_host = 1000\n"
    (tmp_path / "edgeai.toml").write_text(f"[tolerances]\n{tolerant}", encoding="utf-8")
    options = ("--edgeai-models", "resnext", "--edgeai-tiers", "edge", "--edgeai-replicates", "1")
    done = _session(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "edgeai: 2 pass (green)" in done.stdout
    results = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text("utf-8"))
    engines = {one["operator"]: one["provenance"]["engine"] for one in results["artifacts"]}
    assert engines == {"identity": "onnxscript", "sptq": "neural-compressor"}
    assert all("torch" not in one["provenance"]["libraries"] for one in results["artifacts"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--edgeai-operators", "identity,qat"), "operator qat changes a torch network, and torch is not installed"),
        (("--edgeai-operators", "dsptq"), "operator distilled changes a torch network, and torch is not installed"),
        (
            ("--edgeai-scale", "paper", "--edgeai-weights", "random", "--edgeai-models", "resnet"),
            "model resnet is a torch network, and torch is not",
        ),
    ],
)
def test_what_needs_torch_is_refused_before_anything_is_built(
    tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    done = _session(tmp_path, *options)
    assert done.returncode == 4, done.stdout + done.stderr
    (told,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
    assert told.startswith(f"ERROR: {sentence}")
    assert told.endswith("installed: pip install 'pytest-edgeai[operators]'")
    assert not (tmp_path / "store" / "artifacts").exists()
