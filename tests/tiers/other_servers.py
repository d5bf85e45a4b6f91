"""Servers of others from the package index, each in an environment of its own, with graphs that they serve."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from pytest_edgeai.wire.client import Client, RequestError, model_path

NAMES: Final = ("mlserver", "kserve", "triton")
_SCRIPTS = Path(__file__).with_name("others")
_INSTALL_S = 600.0
_PATIENCE_S = 180.0
# What runs the models whose settings name no runtime, as those that are exported do not.
_ENVIRONMENT = {"MLSERVER_MODEL_IMPLEMENTATION": "serve_mlserver.OnnxModel"}


class NotInstalledError(RuntimeError):
    """The packages of a server cannot be had; says why."""


@dataclass(frozen=True, slots=True)
class OtherServer:
    """A server that runs.

    Parameters
    ----------
    name
        Which.
    http_port, grpc_port
        Where it listens.
    """

    name: str
    http_port: int
    grpc_port: int

    def url(self, scheme: str) -> str:
        """Its address by `http` or `grpc`."""
        return f"{scheme}://127.0.0.1:{self.http_port if scheme == 'http' else self.grpc_port}"


def unsupported(name: str) -> str:
    """Why a server cannot run beside this Python, in a sentence; empty where it can be tried."""
    if name != "triton":
        return ""
    library = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    if find_library(library) is None and not any(folder.glob(f"lib{library}.so*")):
        return f"Triton's Python backend needs lib{library}.so, and this Python is built without it"
    return ""


def python_of(name: str, cache: Path) -> Path:
    """The Python of an environment with a server's packages, which is made where the cache does not have it.

    Raises
    ------
    NotInstalledError
        The packages cannot be installed.
    """
    wanted = _SCRIPTS / f"{name}.txt"
    key = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache / f"{name}-{key}"
    python, complete = folder / "bin" / "python", folder / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not complete.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, symlinks=True)
            # Versions are whole in the list; leaving out what resolves dependencies, and compiles, halves the work.
            command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
            command += ["--no-deps", "--only-binary=:all:", "--requirement", str(wanted)]
            try:
                ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
            except subprocess.TimeoutExpired:
                raise NotInstalledError(f"{name} is not installed within {_INSTALL_S:g} s") from None
            if ended.returncode != 0:
                lines = [line for line in ended.stderr.splitlines() if "ERROR" in line] or ["pip gives no reason"]
                raise NotInstalledError(f"{name} cannot be installed: {lines[0]}")
            complete.touch()
    return python


@contextlib.contextmanager
def other_server(name: str, python: Path, models: Path) -> Iterator[OtherServer]:
    """A server of the models in a folder, `NAME/1/model.onnx` each, with what else it needs beside them."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        server = OtherServer(name, first.getsockname()[1], second.getsockname()[1])
    command = [str(python), "-E", str(_SCRIPTS / f"serve_{name}.py")]
    command += [str(server.http_port), str(server.grpc_port), str(models)]
    log = models.with_suffix(f".{name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # it ends with this process, which holds the other end
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT},
        )
    try:
        for model in models.iterdir():
            _wait_until_ready(server, model.name, process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        assert process.stdin is not None
        process.stdin.close()


def _wait_until_ready(server: OtherServer, model: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with Client("127.0.0.1", server.http_port, timeout_s=5) as client:
            try:
                client.download(model_path(model, None, "/ready"))
            except RequestError as error:
                reason = str(error)
            else:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{server.name} does not serve {model}: {reason}\n{last}")
        time.sleep(0.1)
