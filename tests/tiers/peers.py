"""The other ends of a relay: small servers and clients on plain sockets, with timeouts everywhere."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

Talk: TypeAlias = Callable[[socket.socket], object]
TIMEOUT_S = 60.0


@contextlib.contextmanager
def peer(talk: Talk) -> Iterator[int]:
    """A server that talks to every connection in a thread of its own; its port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(TIMEOUT_S)
                threading.Thread(target=_talk, args=(talk, connection), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT_S)


def _talk(talk: Talk, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        talk(connection)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while data := connection.recv(65536):
        pieces.append(data)
    return b"".join(pieces)


def count_then_tell(connection: socket.socket) -> None:
    """Read to the end, then answer how much it was: works only if one side can end before the other."""
    connection.sendall(str(len(read_all(connection))).encode())


def reset(connection: socket.socket) -> None:
    """End a connection as a crash does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def run_module(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_until(true: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process, and let it go on afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        # A thread that runs on another core stops when it next comes to the kernel, which may be after a request.
        assert wait_until(lambda: all(state == "T" for state in _thread_states(pid)))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _thread_states(pid: int) -> list[str]:
    """What the system says of each thread of a process; nothing where there is no /proc."""
    states = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            states.append(path.read_text(encoding="utf-8").rpartition(")")[2].split()[0])
    return states


def processes() -> dict[int, tuple[int, str]]:
    """The parent and the command line of every process that is not a zombie; empty where there is no /proc."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found[int(folder.name)] = int(parent), command.strip()
    return found


def children_of(pid: int) -> dict[int, str]:
    """The command lines of a process's children, by number."""
    return {child: command for child, (parent, command) in processes().items() if parent == pid}
