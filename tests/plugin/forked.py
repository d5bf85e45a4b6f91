"""pytest in a process that is forked from one in which all libraries are imported: most of a session of toys."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

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
_SERVER: Final = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([*_LIBRARIES, *_OWN])
_PATH: Final = tuple(sys.path)
"""Before the tests that run in this process change it."""


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
    process = _SERVER.Process(target=_run, args=(arguments, folder, dict(os.environ), (stdout, stderr), _PATH))
    process.start()
    return process


def _run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
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
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [str(folder), *path]  # as `python -m pytest` does
    sys.argv[:] = ["pytest", *arguments]
    code = pytest.main(list(arguments))
    sys.exit(code)
