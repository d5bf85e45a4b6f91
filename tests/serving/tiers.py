"""Real tiers for tests: servers in processes of their own, and in threads where a setting has no option."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_edgeai
from pytest_edgeai.serving.repository import Execution, load_repository
from pytest_edgeai.serving.server import ServerSettings, TierServer

ROOT = Path(pytest_edgeai.__file__).parent.parent
PATIENCE_S = 60.0
"""How long a test waits for what has to come; never how long something may take."""


def command(*options: str | Path) -> list[str]:
    """The command line of a tier."""
    return [sys.executable, "-m", "pytest_edgeai.serving", *map(str, options)]


def environment() -> dict[str, str]:
    """Where the package is found, whether it is installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tier that is expected to end by itself."""
    return subprocess.run(
        command(*options), capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False
    )


@dataclass(frozen=True)
class Tier:
    """A tier that is ready."""

    process: subprocess.Popen[bytes]
    port: int
    said: Mapping[str, Any]

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def started(repository: Path, *options: str | Path, stdin: int | None = subprocess.PIPE) -> Iterator[Tier]:
    """Start a tier and wait until it is ready."""
    process = subprocess.Popen(
        command("--repository", repository, *options), stdin=stdin, stdout=subprocess.PIPE, env=environment()
    )
    try:
        said = json.loads(first_line(process))
        yield Tier(process, said["port"], said)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    """What a process says first."""
    assert process.stdout is not None
    poll = select.poll()  # unlike select.select it knows no largest file descriptor
    poll.register(process.stdout, select.POLLIN)
    assert poll.poll(PATIENCE_S * 1e3), "the process says nothing"
    line: bytes = process.stdout.readline()
    return line


@contextlib.contextmanager
def in_thread(repository: Path, settings: ServerSettings) -> Iterator[int]:
    """Run a server in a thread of this process; its port."""
    with TierServer(("127.0.0.1", 0), load_repository(repository, Execution()), settings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


@dataclass(frozen=True)
class Reply:
    """What a server sent, as the standard library reads it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def sentence(self) -> str:
        """The sentence of an error."""
        error = self.json["error"]
        assert isinstance(error, str)
        assert error
        assert "\n" not in error
        return error


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection on which nothing waits for ever."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        yield connection


def read_reply(connection: socket.socket, method: str = "POST") -> Reply:
    """Read one reply."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        response.close()


def talk(port: int, sent: bytes, *, end: bool = False, method: str = "POST") -> Reply:
    """Send bytes on a connection of their own and read one reply; `end` says that nothing more comes."""
    with connected(port) as connection:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return read_reply(connection, method)


def request(method: str, target: str, body: bytes | None = None, headers: Mapping[str, object] | None = None) -> bytes:
    """A request as bytes."""
    lines = [f"{method} {target} HTTP/1.1", "Host: tier"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None and "Content-Length" not in (headers or {}):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes the connection without a further word."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True
