"""The tutorial's blocks, executed in order in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.plugin.conftest import ANY_HOST

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_every_block_runs_and_the_last_one_tells_the_verdicts(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh", "sh", "python"]
    folders = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": folders, "EDGEAI_STORE": str(tmp_path / "store")}
    project = tmp_path / "project"
    project.mkdir()
    told = ""
    for kind, text in blocks:
        if text.startswith("pytest"):
            with (project / "edgeai.toml").open("a", encoding="utf-8") as file:
                file.write(ANY_HOST)
        command = [sys.executable, "-c", text] if kind == "python" else ["sh", "-ec", text]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        told = done.stdout
    lines = told.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"model-{operator}-{tier}" for operator in ("identity", "sptq") for tier in ("mobile", "edge")
    ]
    assert all("bytes" in line for line in lines)
