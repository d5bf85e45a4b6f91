"""Processes that are forked from one in which libraries are imported: to import them is most of a session of toys."""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import pytest

import pytest_edgeai

_LIBRARIES: Final = (
    "jinja2", "onnx", "onnxruntime", "pytest_benchmark.plugin", "rich.table", "scikit_posthocs", "scipy.stats",
    "xdist.plugin",
)  # fmt: skip
_OWN: Final = [
    one.name
    for one in pkgutil.walk_packages(pytest_edgeai.__path__, "pytest_edgeai.")
    if not one.name.endswith((".__main__", ".encoder"))  # the one runs a command, the other needs torch
]
_PATH: Final = tuple(sys.path)
"""Before the tests that run in this process change it."""


class _Process(ForkServerProcess):
    """Has the environment of the process that starts it, as any other process."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._environment = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class _Server(ForkServerContext):
    Process = _Process


SERVER: Final = _Server()
SERVER.set_forkserver_preload([*_LIBRARIES, *_OWN])


def started(arguments: Sequence[str], folder: Path, stdout: Path, stderr: Path) -> BaseProcess:
    """Begin a session, in the environment of this moment.

    Parameters
    ----------
    arguments
        pytest's.
    folder
        Where it runs.
    stdout, stderr
        What to write to: files, or a terminal, which becomes the session's own.
    """
    process = SERVER.Process(target=_run, args=(arguments, folder, (stdout, stderr), _PATH))
    process.start()
    return process


def run(arguments: Sequence[str], folder: Path) -> pytest.RunResult:
    """Run a session to its end, in the environment of this moment.

    Parameters
    ----------
    arguments
        pytest's.
    folder
        Where it runs.
    """
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch, name) for name in ("out", "err")]
        session = started(arguments, folder, *outputs)
        session.join()
        out, err = (path.read_text(encoding="utf-8") for path in outputs)
    print(out, err)  # for the report of a test that fails
    assert session.exitcode is not None
    return pytest.RunResult(session.exitcode, out.splitlines(), err.splitlines(), time.perf_counter() - begun)


def _run(
    arguments: Sequence[str],
    folder: Path,
    outputs: tuple[Path, Path],
    path: Sequence[str],
) -> None:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP):  # which the tests' own parent may ignore
        signal.signal(number, signal.SIG_DFL)
    for descriptor, output in enumerate(outputs, start=1):
        opened = os.open(output, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    if os.isatty(1):
        os.dup2(1, 0)
    os.chdir(folder)
    sys.path[:] = [str(folder), *path]  # as `python -m pytest` does
    sys.argv[:] = ["pytest", *arguments]
    code = pytest.main(list(arguments))
    sys.exit(code)
