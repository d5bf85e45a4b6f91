"""A temporary project of toys for `provocations.py`: its files, commands with a time limit, and what they said."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from pytest_edgeai.versions.checksum import sign
from tests.plugin import toy_models
from tests.plugin.conftest import ANY_HOST, CONFTEST, SETTINGS, SUITE

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 180.0
GATE = """
[profiles.quick]
inputs = 4

[gate]
max_replicates = 1
"""
"""Below `SETTINGS`: sessions that are compared send few requests, and are not made longer."""


class ProvocationError(RuntimeError):
    """What was to be provoked could not be; says why."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Parameters
    ----------
    code
        Its exit code.
    lines
        What it printed, errors last.
    """

    code: int
    lines: tuple[str, ...]

    def with_lines(self, lines: Iterable[str]) -> Ended:
        """The same, with lines from files that it wrote."""
        return Ended(self.code, (*self.lines, *lines))


@dataclass(frozen=True)
class Finding:
    """What a provocation led to.

    Parameters
    ----------
    provoked
        What was done, in one line.
    code
        The exit code, or None where no command ran.
    said
        The lines that tell of it.
    well
        Whether that is as it should be; None where it was not provoked.
    """

    provoked: str
    code: int | None
    said: tuple[str, ...]
    well: bool | None


def judged(provoked: str, ended: Ended, codes: Iterable[int], *wanted: str, never: str = "") -> Finding:
    """What was said, by regular expressions: each has to be in a line, and the exit code among those that may be.

    Parameters
    ----------
    provoked
        What was done.
    ended
        How it ended.
    codes
        Exit codes that are right.
    wanted
        What has to be said.
    never
        What may not be said.
    """
    found = {pattern: [line for line in ended.lines if re.search(pattern, line)] for pattern in wanted}
    wrong = [line for line in ended.lines if never and re.search(never, line)]
    said = dict.fromkeys(line for lines in found.values() for line in lines[:1])
    missing = [f"(nothing is said that matches {pattern!r})" for pattern, lines in found.items() if not lines]
    well = ended.code in set(codes) and not missing and not wrong
    told = (*said, *missing, *wrong)
    return Finding(provoked, ended.code, told if well else (*told, *ended.lines[-5:]), well)


class Project:
    """A folder with toy models and a suite, in which pytest and `edgeai` run as processes of their own.

    Parameters
    ----------
    folder
        An empty folder; the project is a folder in it, beside what it needs.
    store
        Of artifacts, which projects may share.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self._store = store
        self.path = folder / "project"
        self.beside = folder
        self.path.mkdir()
        shutil.copy(Path(toy_models.__file__), self.path / "toy_models.py")
        self.write("pytest.ini", "[pytest]\npythonpath = .\n")
        self.write("conftest.py", CONFTEST)
        self.write("test_suite.py", SUITE)
        self.settings(SETTINGS)

    def take_own_store(self) -> None:
        """Use an empty store that no other project has."""
        self._store = self.beside / "store"
        shutil.rmtree(self._store, ignore_errors=True)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.write_text(text, encoding="utf-8")
        return path

    def settings(self, text: str) -> None:
        """Write settings that hold on a host as busy as may be."""
        self.write("edgeai.toml", text if "[tolerances]" in text else text + ANY_HOST)

    def pytest(self, *arguments: str, **environment: str) -> Ended:
        """Run a session."""
        return self._run(["pytest", "-p", "no:cacheprovider", "--edgeai-wait=2m", *arguments], environment)

    def edgeai(self, *arguments: str) -> Ended:
        """Run the command `edgeai`."""
        return self._run(["pytest_edgeai.commands.cli", *arguments], {})

    def git(self, *words: str) -> None:
        """Run git."""
        identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
        subprocess.run(["git", *identity, *words], cwd=self.path, check=True, capture_output=True, timeout=LIMIT_S)

    def save(self, name: str, *arguments: str, **environment: str) -> Path:
        """Run a session that is saved under a name; its file."""
        ended = self.pytest("--benchmark-only", f"--benchmark-save={name}", *arguments, **environment)
        found = sorted(self.path.glob(f".benchmarks/*/*_{name}.json"))
        if ended.code != 0 or not found:
            raise ProvocationError(f"the session to compare with ended with {ended.code}: {' / '.join(ended.lines)}")
        return found[-1]

    def save_changed(self, session: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Save a copy of a saved session, its part of this plugin changed, with the checksum of what it holds now."""
        document = json.loads(session.read_text(encoding="utf-8"))
        change(document["edgeai"])
        number = len(list(session.parent.iterdir())) + 1
        session.with_name(f"{number:04d}_{name}.json").write_text(json.dumps(sign(document)), encoding="utf-8")

    @property
    def results(self) -> dict[str, Any]:
        """The newest results."""
        path = self.path / "reports" / "latest" / "results.json"
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return document

    def strategy(self, name: str) -> dict[str, Any]:
        """A strategy's row in the newest results."""
        found: dict[str, Any] = next(row for row in self.results["strategies"] if row["id"] == name)
        return found

    def samples(self) -> list[dict[str, str]]:
        """The rows of the newest `samples.csv`."""
        path = self.path / "reports" / "latest" / "samples.csv"
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, strict=True))

    def entries(self) -> dict[str, Path]:
        """The folders of artifacts in the store, by operator."""
        found = {}
        for manifest in (self._store / "artifacts").glob("*/manifest.json"):
            recipe = json.loads(manifest.read_text(encoding="utf-8"))["recipe"]
            found[str(recipe["operator"]["name"])] = manifest.parent
        return found

    def _run(self, module: list[str], environment: Mapping[str, str]) -> Ended:
        python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TOY_", "PYTEST_"))}
        own = {"EDGEAI_STORE": str(self._store), "PYTHONPATH": python_path, "COLUMNS": "200"}
        with subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=self.path,
            env={**inherited, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                raise ProvocationError(f"{' '.join(module)} did not end within {LIMIT_S:g} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return Ended(process.returncode, tuple(_plain((output + errors).splitlines())))


def scale(document: dict[str, Any], factor: float) -> None:
    """Make every request of a saved session slower."""
    for strategy in document["strategies"].values():
        for trial in strategy["trials"]:
            trial["latency_s"] = [factor * one for one in trial["latency_s"]]


def exchange(document: dict[str, Any], latencies_s: Any) -> None:
    """Give every strategy these latencies, of shape (trials, inputs, 1)."""
    for strategy in document["strategies"].values():
        strategy["trials"] = [
            {
                "input": list(range(len(trial))),
                "latency_s": [float(one) for one in trial[:, 0]],
                "peak_memory_bytes": None,
            }
            for trial in latencies_s
        ]


def forget_accuracies(document: dict[str, Any]) -> None:
    """Leave out what a saved session knows of accuracy."""
    for artifact in document["artifacts"].values():
        artifact["metrics"], artifact["correct"] = {}, ""


def junit_failures(path: Path) -> list[str]:
    """What a JUnit report counts as failures, and why."""
    tree = ET.parse(path)
    failed = [case for case in tree.iter("testcase") if case.find("failure") is not None]
    counted = sum(int(suite.get("failures", "0")) for suite in tree.iter("testsuite"))
    return [f"JUnit: failures {counted}: {', '.join(str(case.get('name')) for case in failed)}"]


def bits_of_weights(folder: Path) -> str:
    """How many bits the weights of a graph take."""
    import onnx
    from onnx import numpy_helper

    weights = [
        numpy_helper.to_array(one).astype(int)
        for one in onnx.load(folder / "model.onnx").graph.initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    ]
    largest = max(int(np.abs(one).max()) for one in weights)
    return f"its weights are up to {largest}: {8 if largest > 64 else 7} bits"


def _plain(lines: Iterable[str]) -> Iterable[str]:
    """Lines without the padding of a terminal."""
    return filter(None, (" ".join(line.split()).strip("= ") for line in lines))
