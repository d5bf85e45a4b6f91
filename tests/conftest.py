"""For all tests: locks of their own, which are slow, and which run one after the other when they run side by side."""

from __future__ import annotations

import concurrent.futures.process  # noqa: F401  # sessions in this process forget it, and what pickles by name must stay
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings

from pytest_edgeai.measure.session_lock import FOLDER_VARIABLE

HERE: Final = Path(__file__).parent
WITH_ENGINE: Final = ("tests/containers/", "tests/suite/test_backends_agree.py")
FIRST: Final = (
    *WITH_ENGINE,
    "tests/suite/",
    "tests/models/test_subjects.py",
    "tests/plugin/test_against.py",
    "tests/examples/",
    "tests/plugin/test_preparation.py",
    "tests/operators/test_trained.py",
    "tests/models/test_paper_subjects.py",
    "tests/commands/",
    "tests/plugin/",
)
"""The files that take longest, and where they are, longest first."""
SLOW: Final = (
    "commands",
    "containers",
    "examples",
    "models",
    "operators",
    "page",
    "parallel",
    "plugin",
    "suite",
    "tiers",
)
"""Folders of tests that train, start containers and servers, or run whole sessions: `-m "not slow"` leaves them out."""

# torch's threads would spin while they wait, which takes three times the CPU time where two workers share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# How long an example takes is the host's business.
settings.register_profile("any host", deadline=None)
settings.load_profile("any host")
# What is imported and collected is hundreds of thousands of objects that stay.
gc.set_threshold(50_000, 20, 20)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of what `-m "not slow"` leaves out, unless it is named."""
    if config.option.markexpr != "not slow" or collection_path.parent != HERE or collection_path.name not in SLOW:
        return None
    named = [Path(one.partition("::")[0]).resolve() for one in config.args]
    return True if all(one == HERE or one in HERE.parents for one in named) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what `-m "not slow"` leaves out."""
    if item.nodeid.split("/")[1] in SLOW:
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole files, since the tests of a file share what is slow to make; the slowest are begun first.

    All tests that need a container engine run in one worker: they look at everything that is on the engine.
    """
    config.option.loadscopereorder = False  # it would begin with the files that have the most tests
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            return "engine" if nodeid.startswith(WITH_ENGINE) else nodeid.partition("::")[0]

    return Files(config, log)


_BEGUN: Final[set[Path]] = set()
"""The files whose first test has begun."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first, so that no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: _place(item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let no collection of garbage, of which tests make many, walk through what earlier files have imported."""
    if item.path not in _BEGUN:
        _BEGUN.add(item.path)
        gc.collect()
        gc.freeze()


def _place(nodeid: str) -> int:
    rest = len(FIRST) + (nodeid.split("/")[1] not in SLOW)
    return next((place for place, start in enumerate(FIRST) if nodeid.startswith(start)), rest)


@pytest.fixture(scope="session", autouse=True)
def sessions_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let processes that tests start know nothing of this run, and name a new folder for their lock.

    Hundreds of them run pytest. Where they write no bytecode, each compiles the plugin again, and at its end
    hypothesis' plugin imports hypothesis: together that is 40 % of what a session of toys takes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("lock")))
        patch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):  # they are no workers of it
            patch.delenv(name, raising=False)
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield
