"""A tier stays small: what it imports, and only when it needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import graphs, tiers

NEVER = {"torch", "transformers", "pytest", "_pytest", "pydantic", "rich", "scipy", "onnx", "matplotlib", "email"}
WHEN_NEEDED = {"PIL", "tokenizers"}


def imported(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=tiers.environment(), timeout=60, check=True
    )
    return set(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def of_a_running_tier(repository: Path) -> set[str]:
    """What is imported after a model without a pipeline and one with a post-processing step were loaded and run."""
    return imported(
        "import numpy as np\n"
        "from pathlib import Path\n"
        "import pytest_edgeai.serving.__main__\n"
        "from pytest_edgeai.serving.repository import Execution, load_repository\n"
        f"models = load_repository(Path({str(repository)!r}), Execution())\n"
        "models['classifier'].infer({'x': np.zeros((1, 3), np.float32)})"
    )


def test_a_tier_imports_nothing_large(of_a_running_tier: set[str]) -> None:
    assert not of_a_running_tier & NEVER


def test_a_tier_imports_image_and_text_libraries_only_for_pipelines_that_need_them(of_a_running_tier: set[str]) -> None:
    assert not of_a_running_tier & WHEN_NEEDED


def of_children_s() -> float:
    """CPU time of processes that have ended: how busy the host is makes it no longer."""
    used = os.times()
    return used.children_user + used.children_system


def test_a_tier_is_ready_soon_after_its_runtime_could_be_imported(tmp_path: Path) -> None:
    graphs.write_echo(tmp_path / "echo")
    importing, starting = [], []
    for _ in range(3):
        before_s = of_children_s()
        subprocess.run([sys.executable, "-c", "import onnxruntime"], env=tiers.environment(), check=True)
        importing.append(of_children_s() - before_s)
        before_s = of_children_s()
        with tiers.started(tmp_path):
            pass
        starting.append(of_children_s() - before_s)
    assert min(starting) < 3 * min(importing)


def test_a_client_imports_no_runtime() -> None:
    assert not imported("import pytest_edgeai.wire.client") & (NEVER | WHEN_NEEDED | {"onnxruntime"})
