"""What a shell is told when it completes: argcomplete's protocol, as `register-python-argcomplete` speaks it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_edgeai.collection.completion import OPTIONS

pytest.importorskip("argcomplete")

SETTINGS = """
[subjects.price]
graph = "price.onnx"
examples = "houses.npz"
metrics = ["mae"]

[profiles.thorough]
replicates = 1
warmup = 1
inputs = 9
passes = 1
"""
STRATEGY = {"model": "bert", "operator": "pruned", "tier": "mobile+edge"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with settings and a report."""
    folder = tmp_path_factory.mktemp("project")
    folder.joinpath("edgeai.toml").write_text(SETTINGS, encoding="utf-8")
    folder.joinpath("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    report = folder / "reports" / "latest"
    report.mkdir(parents=True)
    report.joinpath("results.json").write_text(json.dumps({"strategies": [STRATEGY]}), encoding="utf-8")
    return folder


def completed(folder: Path, line: str) -> list[str]:
    """What completes a command line at its end."""
    answer = folder / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_SHELL": "zsh",  # bash gets names without what it takes for words of their own
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
        "COMP_TYPE": "9",
    }
    started = {"edgeai": ["-c", "from pytest_edgeai.commands.cli import main; main()"], "pytest": ["-m", "pytest"]}
    words = [sys.executable, *started[line.split()[0]]]
    answer.unlink(missing_ok=True)
    subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True, timeout=300)
    return sorted(one.partition(":")[0] for one in answer.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("pytest --edgeai-operators identity,sptq", ["identity,sptq", "identity,sptq_partition"]),
        ("edgeai export bert-", ["bert-pruned"]),
        ("edgeai c", ["check", "clean", "comment", "compare"]),
    ],
)
def test_a_shell_completes_options_and_commands(folder: Path, line: str, names: list[str]) -> None:
    assert completed(folder, line) == names


@pytest.mark.parametrize(
    ("destination", "prefix", "names"),
    [
        ("edgeai_models", "", ["bert", "price"]),
        ("edgeai_operators", "identity,pr", ["identity,pruned", "identity,pruned_structured"]),
        ("edgeai_tiers", "mobile,mo", ["mobile,mobile+edge"]),
        ("edgeai_profile", "", ["paper", "quick", "thorough"]),
        ("edgeai_backend", "d", ["docker"]),
        ("edgeai_scale", "", ["paper", "small"]),
    ],
)
def test_names_are_those_of_settings_installed_operators_and_the_newest_report(
    folder: Path, destination: str, prefix: str, names: list[str]
) -> None:
    assert sorted(OPTIONS[destination](prefix, argparse.Namespace(root=folder))) == names


def test_settings_that_cannot_be_used_leave_the_names_that_there_are_anyway(tmp_path: Path) -> None:
    tmp_path.joinpath("edgeai.toml").write_text("no settings", encoding="utf-8")
    assert OPTIONS["edgeai_profile"]("", argparse.Namespace(root=tmp_path)) == ["quick", "paper"]
