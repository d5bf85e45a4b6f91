"""A container engine behind SSH, and its ports, brought here by the `ssh` program, which knows the user's keys."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pytest_edgeai.tiers.backend import TierError

SCHEME: Final = "ssh"
_ENGINE_SOCKET = "/var/run/docker.sock"
_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
_POLL_S = 0.05
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A connection of `ssh` that is open.

    Parameters
    ----------
    url
        Where it leads.
    socket
        The engine's socket, here.
    control
        The socket by which `ssh` is told to forward more.
    """

    url: str
    socket: Path
    control: Path

    @contextlib.contextmanager
    def port(self, host: str, port: int) -> Iterator[int]:
        """A port here, at an address of this host, that leads to a port of the loopback interface there.

        Parameters
        ----------
        host
            The address here.
        port
            The port there.

        Raises
        ------
        TierError
            `ssh` does not forward it.
        """
        for _ in range(_TRIES):
            with socket.create_server((host, 0)) as free:
                here = int(free.getsockname()[1])
            forward = f"{host}:{here}:127.0.0.1:{port}"
            done = self._tell("forward", forward)
            if done.returncode == 0:  # else somebody else may have taken the port that was free
                break
        else:
            words = " ".join(done.stderr.split())
            raise TierError(f"{self.url} does not forward port {port}: {words or 'ssh gives no reason'}")
        try:
            yield here
        finally:
            self._tell("cancel", forward)

    def _tell(self, what: str, forward: str) -> subprocess.CompletedProcess[str]:
        command = ["ssh", "-S", str(self.control), "-O", what, "-L", forward, *_destination(self.url)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_START_TIMEOUT_S)


@contextlib.contextmanager
def tunnel(url: str) -> Iterator[Tunnel]:
    """A socket here that leads to the engine's socket there, and a way to its ports.

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
        here, control = Path(folder) / "docker.sock", Path(folder) / "control"
        # With a program on the far side that ends with its input, the tunnel ends when this process does, however.
        options = ["-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-L", f"{here}:{there}"]
        options += ["-M", "-S", str(control), "-o", "ControlPersist=no"]
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
            yield Tunnel(url, here, control)
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
