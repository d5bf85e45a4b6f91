"""A process that starts tier servers by forking: what they import is there already, which is most of their start.

A forked server is a process of its own with a session of its own, as fresh as one that is started by itself; only the
imports are shared. `python -m pytest_edgeai.tiers.fork_server FD` runs it; it ends when the other end of its socket is
closed, and servers end with their input (`pytest_edgeai.tiers.children`).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, NoReturn

from pytest_edgeai.wire.closing import Closing

_IMPORTED = ("onnxruntime", "tokenizers", "PIL.Image", "pytest_edgeai.serving.__main__")
_LARGEST_REQUEST_BYTES = 2**16
_READY_S, _END_S = 60.0, 5.0
_LEAST_FILE = 3  # above standard input, output and error


class ForkedProcess:
    """A server that was forked: the part of `subprocess.Popen` that children of a deployment need.

    Parameters
    ----------
    pid
        Its number.
    stdin, stdout
        Our ends of its standard streams.
    status
        Where the fork server tells how it ended.
    """

    def __init__(self, pid: int, stdin: BinaryIO, stdout: BinaryIO, status: BinaryIO) -> None:
        self.pid = pid
        self.stdin: BinaryIO | None = stdin
        self.stdout: BinaryIO | None = stdout
        self._status = status
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that ended it, as `subprocess.Popen.wait` has them.

        Raises
        ------
        subprocess.TimeoutExpired
            It is still running.
        """
        if self._code is None:
            poll = select.poll()
            poll.register(self._status, select.POLLIN)
            if not poll.poll(None if timeout is None else max(0.0, timeout) * 1e3):
                raise subprocess.TimeoutExpired("a forked server", timeout or 0.0)
            told = self._status.read(16)
            self._status.close()
            self._code = int(told) if told else -signal.SIGKILL  # with the fork server, nobody is left to tell
        return self._code

    def kill(self) -> None:
        """Force its end."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer(Closing):
    """The fork server, seen from the process that wants servers started. A context manager.

    Parameters
    ----------
    environment
        Of the fork server, and so of all that it starts.

    Raises
    ------
    OSError
        It cannot be started, or does not get ready.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pytest_edgeai.tiers.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env={**environment, "ORT_DISABLE_TELEMETRY": "1"},  # its thread would not outlive a fork
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is for us, who then end our children in order
            )
        self._socket = ours
        ours.settimeout(_READY_S)
        self._is_ready = False

    def close(self) -> None:
        """End it; servers that it has started are not its business any more."""
        self._socket.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def start(self, arguments: Sequence[str], log: BinaryIO) -> ForkedProcess:
        """Start a server.

        Parameters
        ----------
        arguments
            Of `python -m pytest_edgeai.serving`.
        log
            Where its standard error goes.

        Raises
        ------
        OSError
            The fork server has ended or does not answer.
        """
        if not self._is_ready:
            self._answer()
            self._is_ready = True
        (input_end, stdin), (stdout, output_end), (status, status_end) = os.pipe(), os.pipe(), os.pipe()
        theirs = [input_end, output_end, log.fileno(), status_end]
        try:
            request = json.dumps(list(arguments)).encode()
            socket.send_fds(self._socket, [len(request).to_bytes(4, "little") + request], theirs)
            pid = self._answer()
        except OSError:
            for descriptor in (stdin, stdout, status):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (input_end, output_end, status_end):
                os.close(descriptor)
        return ForkedProcess(
            pid, os.fdopen(stdin, "wb", buffering=0), os.fdopen(stdout, "rb", buffering=0), os.fdopen(status, "rb")
        )

    def _answer(self) -> int:
        told = self._socket.recv(8)
        if len(told) < 8:
            raise ConnectionResetError("the process that starts servers has ended")
        return int.from_bytes(told, "little")


def available() -> bool:
    """Whether servers can be forked here: on Linux, where a process with one thread may fork safely."""
    return sys.platform == "linux"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start servers until the other end of the socket is closed; the exit code."""
    (descriptor,) = sys.argv[1:] if arguments is None else arguments
    for name in _IMPORTED:
        importlib.import_module(name)
    with socket.socket(fileno=int(descriptor)) as asked:
        serve(asked)
    return 0


def serve(asked: socket.socket) -> None:
    """Answer requests with the numbers of new processes, and tell how each of them ended."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    asked.sendall(bytes(8))
    poll = select.poll()
    for one in (asked.fileno(), woken):
        poll.register(one, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == woken:
                os.read(woken, 1024)
                _tell_ended(running)
            else:
                request, descriptors = _request(asked)
                if not request:
                    return
                pid = os.fork()
                if pid == 0:
                    _become_server(json.loads(request), descriptors)
                *taken, status = descriptors
                for descriptor in taken:
                    os.close(descriptor)
                running[pid] = status
                asked.sendall(pid.to_bytes(8, "little"))


def _request(asked: socket.socket) -> tuple[bytes, list[int]]:
    """The next request with its four descriptors; empty where the other end is closed."""
    try:
        data, descriptors, _, _ = socket.recv_fds(asked, _LARGEST_REQUEST_BYTES, 4)
    except ConnectionResetError:  # closed before anything was asked for, as where no artifact could be made
        return b"", []
    if not data:
        return b"", []
    length = int.from_bytes(data[:4], "little")
    while len(data) < 4 + length:
        data += asked.recv(4 + length - len(data))
    return data[4:], descriptors


def _tell_ended(running: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            told = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(told)


def _become_server(arguments: Sequence[str], descriptors: Sequence[int]) -> NoReturn:
    """Be the server, with the descriptors as standard streams and none of the fork server's own."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        for target, descriptor in enumerate(descriptors[:_LEAST_FILE]):
            os.dup2(descriptor, target)
        os.closerange(_LEAST_FILE, os.sysconf("SC_OPEN_MAX"))
        from pytest_edgeai.serving.__main__ import main as serve_tier

        os.read(0, 1)  # the first line of input says that the limits of this process are set
        code = serve_tier(arguments)
    except SystemExit as end:  # how argparse refuses arguments
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # nothing of this may come back to the fork server's loop
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
