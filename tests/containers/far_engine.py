"""Another machine with a container engine of its own: as far as the network is concerned, a namespace is one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

HERE, THERE = "10.213.77.1", "10.213.77.2"
"""The two ends of the cable between this machine and the other."""
PORT = 2375
SOCKET = "docker.sock"


def why_not() -> str | None:
    """Why there can be none, or None."""
    missing = [program for program in ("dockerd", "ip", "nsenter", "iptables") if shutil.which(program) is None]
    if missing:
        return f"a second engine needs {', '.join(missing)}"
    return None if os.geteuid() == 0 else "a second engine needs root"


@contextlib.contextmanager
def far_engine(folder: Path) -> Iterator[str]:
    """Its address; it is gone with the context."""
    name = f"edgeai{os.getpid()}"
    with contextlib.ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        _ip("link", "add", "edgeai-here", "type", "veth", "peer", "name", "edgeai-there", "netns", name)
        stack.callback(_ip, "link", "del", "edgeai-here")
        _ip("address", "add", f"{HERE}/30", "dev", "edgeai-here")
        _ip("link", "set", "edgeai-here", "up")
        _ip("-n", name, "address", "add", f"{THERE}/30", "dev", "edgeai-there")
        _ip("-n", name, "link", "set", "edgeai-there", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "route", "add", "default", "via", HERE)
        command = ["nsenter", f"--net=/run/netns/{name}", "dockerd", "--tls=false", "--host", f"tcp://{THERE}:{PORT}"]
        command.append(f"--host=unix://{folder}/{SOCKET}")
        command += [f"--data-root={folder}/data", f"--exec-root={folder}/run", f"--pidfile={folder}/pid"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        stack.callback(_end, server, folder)
        deadline = time.monotonic() + 60
        while b"API listen on" not in (folder / "log").read_bytes():
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"tcp://{THERE}:{PORT}"


@contextlib.contextmanager
def secure_shell(folder: Path) -> Iterator[Path]:
    """A server for SSH on the other machine, and the `ssh` that gets in, as the first thing on a PATH."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
    options = [f"HostKey={folder}/host", f"AuthorizedKeysFile={folder}/user.pub", f"PidFile={folder}/pid"]
    options += [f"ListenAddress={THERE}:22", "PermitRootLogin=yes", "StrictModes=no"]
    Path("/run/sshd").mkdir(exist_ok=True)  # which the server insists on
    command = ["nsenter", f"--net=/run/netns/edgeai{os.getpid()}", shutil.which("sshd") or "", "-D", "-f", "/dev/null"]
    server = subprocess.Popen([*command, *(word for option in options for word in ("-o", option))])
    (folder / "bin").mkdir()
    program = folder / "bin" / "ssh"
    settings = f"-i {folder}/user -o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known -o LogLevel=ERROR"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {settings} "$@"\n')
    program.chmod(0o755)
    try:
        yield program.parent
    finally:
        server.terminate()
        server.wait(30)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.terminate()
    server.wait(60)
    for mount in sorted(_mounts_under(folder), reverse=True):
        subprocess.run(["umount", mount], check=True)


def _mounts_under(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]
