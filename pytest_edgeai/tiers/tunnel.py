"""A container engine behind SSH, brought here as a socket by the `ssh` program, which knows the user's keys."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pytest_edgeai.tiers.backend import TierError

SCHEME: Final = "ssh"
_ENGINE_SOCKET = "/var/run/docker.sock"
_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
_POLL_S = 0.05


@contextlib.contextmanager
def tunnel(url: str) -> Iterator[Path]:
    """A socket here that leads to the engine's socket there.

    Parameters
    ----------
    url
        `ssh://[USER@]HOST[:PORT][/PATH/OF/SOCKET]`.

    Raises
    ------
    TierError
        There is no `ssh`, or it cannot log in without asking or reach the socket.
    """
    there = urlsplit(url).path or _ENGINE_SOCKET
    with tempfile.TemporaryDirectory(prefix="edgeai-ssh-") as folder, tempfile.TemporaryFile() as said:
        here = Path(folder) / "docker.sock"
        # With a program on the far side that ends with its input, the tunnel ends when this process does, however.
        options = ["-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-L", f"{here}:{there}"]
        command = ["ssh", *options, *_destination(url), "cat"]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        except OSError as error:
            raise TierError(f"{url} cannot be reached: {error.strerror}: ssh") from None
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not _answers(here):
                ended = process.poll() is not None
                if ended or time.monotonic() > deadline:
                    said.seek(0)
                    words = " ".join(said.read().decode("utf-8", "replace").split())
                    raise TierError(f"{url} cannot be reached: {words or 'ssh does not connect'}")
                time.sleep(_POLL_S)
            yield here
        finally:
            process.kill()
            process.communicate(timeout=_END_TIMEOUT_S)


def host_name(url: str) -> str | None:
    """The host behind the name that the user's SSH settings give it."""
    try:
        asked = subprocess.run(["ssh", "-G", *_destination(url)], capture_output=True, text=True, check=False)
    except OSError:
        return urlsplit(url).hostname
    settings = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)
    return settings.get("hostname", urlsplit(url).hostname)


def _destination(url: str) -> list[str]:
    parts = urlsplit(url)
    port = [] if parts.port is None else ["-p", str(parts.port)]
    return [*port, "--", parts.netloc.rpartition("@")[0] + "@" * ("@" in parts.netloc) + (parts.hostname or "")]


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(path))
        return True
    return False
