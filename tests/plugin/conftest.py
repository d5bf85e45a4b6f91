"""A temporary project with toy models, in which the plugin is run."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2  # noqa: F401  # stays imported
import onnx  # noqa: F401  # stays imported
import onnxruntime  # noqa: F401  # stays imported
import pytest
import rich.table  # noqa: F401  # stays imported
import scikit_posthocs  # noqa: F401  # stays imported
import scipy.stats  # noqa: F401  # stays imported
import vl_convert  # noqa: F401  # stays imported, since it can be imported once only
from jsonschema import Draft202012Validator

import pytest_edgeai
from tests.plugin import forked

# pytester forgets what a run in this process imported, which takes half of a run of toys: what is imported here stays.
for _module in pkgutil.walk_packages(pytest_edgeai.__path__, "pytest_edgeai."):
    if not _module.name.endswith((".__main__", ".encoder")):  # the one runs a command, the other needs torch
        importlib.import_module(_module.name)

SCHEMA: dict[str, Any] = json.loads(
    resources.files("pytest_edgeai.reporting").joinpath("results.schema.json").read_text(encoding="utf-8")
)
"""What `results.json` may hold."""

CONFTEST = """
import toy_models

def pytest_edgeai_subjects(config):
    return [toy_models.subject("toy"), toy_models.subject("other")]

def pytest_edgeai_operators(config):
    return [toy_models.Plain, toy_models.Worse, toy_models.Slow]

def pytest_edgeai_backends(config):
    return {"instant": toy_models.InstantBackend}
"""
SUITE = """
def test_strategy(trial):
    trial()
"""
SETTINGS = """
models = ["toy"]
operators = ["identity", "worse"]
tiers = ["mobile", "edge"]
backend = "instant"
replicates = 2

[budgets.accuracy_drop_pp]
default = 100
"""
PROCESSES = """
backend = "process"
replicates = 1

[profiles.quick]
inputs = 3
warmup = 1
probe_s = 0.01

[budgets.accuracy_drop_pp]
default = 100

[tolerances]  # a busy host's links are not what is tested
link_share = 0.99
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""
"""Settings for toys on real tiers, below `models` and `operators`."""


ANY_HOST = """
[tolerances]  # how busy the host is that tests run on is not what is tested
link_share = 0.99
waiting_requests = 1
foreign_cores = 1000
slow_host = 1000
"""


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests share, so that most find their artifacts built."""
    return tmp_path_factory.mktemp("store")


class Project:
    """A project that `pytest` is run in."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def run(self, *arguments: str, subprocess: bool = False) -> pytest.RunResult:
        """Run pytest."""
        absent = ["-p", "no:cacheprovider"]
        if not any(one.startswith("--reruns") for one in arguments):
            absent += ["-p", "no:rerunfailures"]  # it listens on a port until the process ends
        if subprocess:
            return forked.run([*absent, *arguments], self.path)
        return self.pytester.runpytest_inprocess(*absent, *arguments)

    def collected(self, *arguments: str) -> list[str]:
        """The ids of the tests that `--collect-only` lists."""
        result = self.run("--collect-only", "-q", *arguments)
        tests = [line for line in result.outlines if line.startswith("test_suite.py::")]
        return sorted(line.partition("[")[2].removesuffix("]") for line in tests)

    def settings(self, text: str) -> None:
        """Write settings, top-level keys first; those that say nothing of tolerances hold on any host."""
        whole = text if "[tolerances]" in text else text + ANY_HOST
        self.path.joinpath("edgeai.toml").write_text(whole, encoding="utf-8")

    @property
    def report(self) -> Path:
        """The folder of the newest report."""
        return self.path / "reports" / "latest"

    @property
    def results(self) -> dict[str, Any]:
        """The newest results, which hold what the schema documents and nothing else."""
        document: dict[str, Any] = json.loads((self.report / "results.json").read_text(encoding="utf-8"))
        Draft202012Validator(SCHEMA).validate(document)
        return document

    def verdicts(self) -> dict[str, str]:
        """The newest verdicts by strategy."""
        return {row["id"]: row["verdict"] for row in self.results["strategies"]}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, store: Path) -> Project:
    """A project of toys, with a backend that takes no time and budgets that nothing breaks."""
    monkeypatch.setenv("EDGEAI_STORE", str(store))
    # pytester's home is empty, and what the page keeps there takes seconds to make.
    monkeypatch.setenv("XDG_CACHE_HOME", str(store.parent / "cache"))
    monkeypatch.delenv("TOY_FAULT", raising=False)
    # What a process that builds has to import takes it most of its time.
    monkeypatch.setattr("pytest_edgeai.operators.worker.get_context", lambda method: forked.SERVER)
    shutil.copy(Path(__file__).with_name("toy_models.py"), pytester.path)
    pytester.makeini("[pytest]\npythonpath = .\naddopts = -p no:hypothesispytest\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_suite=SUITE)
    made = Project(pytester)
    made.settings(SETTINGS)
    return made


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Ask the toys for a fault."""
    return lambda name: monkeypatch.setenv("TOY_FAULT", name)
