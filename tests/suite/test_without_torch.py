"""With the extra `suite`, without torch: what needs torch says so. What needs none is what the main job measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.suite.hiding import without_torch

for needed in ("neural_compressor", "onnxscript", "safetensors", "sklearn"):
    pytest.importorskip(needed)

ROOT = Path(__file__).parents[2]


def _session(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "hiding").mkdir()
    command = [sys.executable, "-m", "pytest", str(ROOT / "suites"), "--benchmark-only", "-p", "no:cacheprovider"]
    command += ["--edgeai-backend", "process", "--edgeai-store", str(folder / "store"), *options]
    return subprocess.run(
        [*command, "--edgeai-report", str(folder / "reports")],
        cwd=folder,
        env=without_torch(folder / "hiding"),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


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
