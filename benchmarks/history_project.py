"""A git repository with a real history of twelve commits, each of them measured, and the page of that history.

The project is an ONNX file of a small classifier with its examples. One commit makes the graph deeper, so that it is
slower, one rounds its weights too coarsely, so that it is less accurate, and the others change neither. Each commit is
checked out and measured by a session of its own, on processes. Printed is what `edgeai history` says; the exit code is
1 where it does not blame these two commits, or blames another one.

How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

SLOWER, WORSE = 5, 8
"""Numbers of the commits that change something."""
COMMITS: Final = 12
FEATURES, WIDTH, CLASSES, EXAMPLES = 32, 2048, 10, 800
SETTINGS: Final = """
operators = ["identity", "sptq"]
tiers = ["mobile", "edge"]
backend = "process"
replicates = 3

[subjects.digits]
graph = "digits.onnx"
examples = "digits.npz"
metrics = ["top1"]

[budgets.accuracy_drop_pp]
default = 100

[profiles.quick]
inputs = 8

[tolerances]  # a commit is measured on any host, however busy: what that does to the history is to be seen
link_share = 0.99
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""
SUITE: Final = """
def test_strategy(trial):
    trial()
"""


@dataclass(frozen=True, slots=True)
class Version:
    """What is in a commit.

    Parameters
    ----------
    message
        Of the commit.
    depth
        How many hidden layers the graph has.
    step
        What its last weights are rounded to; 0 for not at all.
    """

    message: str
    depth: int = 2
    step: float = 0.0


def versions() -> list[Version]:
    """All commits, in their order."""
    found = []
    for number in range(COMMITS):
        message = "Say more in the README"
        message = "Four hidden layers instead of two" if number == SLOWER else message
        message = "Round the last weights" if number == WORSE else message
        found.append(Version(message, 4 if number >= SLOWER else 2, 1.0 if number >= WORSE else 0.0))
    return found


def main() -> int:
    """Commit, measure, and write the page; 1 where another commit is blamed than should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="of the repository (default: a temporary one)")
    parser.add_argument("--html", type=Path, metavar="DIR", help="where the page goes (default: the repository)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeai-history-") as scratch:
        folder = (options.folder or Path(scratch, "digits")).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        commits = [_measured(folder, number, version) for number, version in enumerate(versions())]
        page = (options.html or folder / "public").resolve()
        history = ["history", f"--html={page}", "--commit-url=https://example.org/digits/commit/{commit}"]
        print(_run(folder, "edgeai", *history), end="")
        return _judge(json.loads(_run(folder, "edgeai", "history", "--json")), commits)


def write_project(folder: Path, version: Version) -> None:
    """Write the files of a commit."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(4)
    truth = rng.normal(size=(FEATURES, CLASSES)).astype(np.float32)
    examples = rng.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    spread = np.zeros((FEATURES, WIDTH), np.float32)
    spread[:, :FEATURES], spread[:, FEATURES : 2 * FEATURES] = np.eye(FEATURES), -np.eye(FEATURES)
    hidden = np.eye(WIDTH, dtype=np.float32)
    last = np.zeros((WIDTH, CLASSES), np.float32)
    last[: 2 * FEATURES] = np.concatenate([truth, -truth])
    if version.step:
        last = np.round(last / version.step) * np.float32(version.step)
    nodes = [helper.make_node("MatMul", ["x", "spread"], ["h0"]), helper.make_node("Relu", ["h0"], ["r0"])]
    for layer in range(version.depth):
        nodes.append(helper.make_node("MatMul", [f"r{layer}", f"hidden{layer}"], [f"h{layer + 1}"]))
        nodes.append(helper.make_node("Relu", [f"h{layer + 1}"], [f"r{layer + 1}"]))
    nodes.append(helper.make_node("MatMul", [f"r{version.depth}", "last"], ["logits"]))
    weights = {"spread": spread, **{f"hidden{layer}": hidden for layer in range(version.depth)}, "last": last}
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "digits.onnx")
    np.savez(folder / "digits.npz", x=examples, reference=(examples @ truth).argmax(axis=1))
    (folder / "edgeai.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "test_edgeai.py").write_text(SUITE, encoding="utf-8")


def _measured(folder: Path, number: int, version: Version) -> str:
    """Commit a version, measure it and save the session; returns the commit's name."""
    if number == 0:
        _run(folder, "git", "init", "-q", "-b", "main")
        (folder / ".gitignore").write_text(".benchmarks/\nreports/\npublic/\n__pycache__/\n", encoding="utf-8")
    write_project(folder, version)
    (folder / "README.md").write_text(f"A classifier of digits, version {number}.\n", encoding="utf-8")
    _run(folder, "git", "add", "-A")
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    _run(folder, "git", *identity, "commit", "-qm", version.message)
    commit = _run(folder, "git", "rev-parse", "HEAD").strip()
    print(f"{commit[:8]} {version.message} …", file=sys.stderr, flush=True)
    _run(folder, "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-only", "--benchmark-autosave")
    return commit


def _run(folder: Path, program: str, *arguments: str) -> str:
    """Run a program to its end; what it printed."""
    modules = {"pytest": "pytest", "edgeai": "pytest_edgeai.commands.cli"}
    command = [sys.executable, "-m", modules[program]] if program in modules else [program]
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{program} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def _judge(document: dict[str, list[dict[str, object]]], commits: Sequence[str]) -> int:
    """Say whether the right commits are blamed, each for what it did to every strategy."""
    strategies = sorted({str(one["strategy"]) for one in document["series"]})
    found = {(one["strategy"], one["quantity"], one["first_after"]) for one in document["changes"] if one["worse"]}
    wanted = {(name, "CPU time", commits[SLOWER]) for name in strategies}
    wanted |= {(name, "top1", commits[WORSE]) for name in strategies}
    allowed = {commits[SLOWER], commits[WORSE]}
    missed = wanted - found
    false = {one for one in found if one[2] not in allowed}
    print(f"\n{len(wanted) - len(missed)} of {len(wanted)} changes found; {len(false)} blamed on other commits")
    for strategy, quantity, commit in sorted(tuple(map(str, one)) for one in missed | false):
        print(f"  {strategy}: {quantity} at {commit[:8]}")
    return 1 if missed or false else 0


if __name__ == "__main__":
    sys.exit(main())
