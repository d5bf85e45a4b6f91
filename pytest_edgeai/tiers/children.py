"""Child processes of a deployment: each says in one line that it is ready, keeps a log and ends with its parent.

A child holds the read end of a pipe as its standard input and ends when the other end is closed: by us, or by the
system when we are killed. What a child is for is not known here.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.fork_server import ForkedProcess, ForkServer

_LOG_LINES = 5
_LOG_LINE_LENGTH = 300
_LOG_BYTES = 16 * 1024
_LONGEST_FIRST_LINE_BYTES = 2**20


class Child:
    """A Python module that runs as a process; it may not be ready yet.

    Parameters
    ----------
    name
        What it is, for sentences: `tier edge`, `link mobile-edge`.
    command
        The module and its arguments.
    folder
        Where its log is written.
    start_timeout_s
        How long it may take until it is ready.
    explain
        What else is known of its end, to go on with the sentence that it has ended.
    forks
        What starts it, where it is a tier server; it waits for `begin` then.
    search_path
        Folders that it searches for modules before all others, unless `forks` starts it.

    Raises
    ------
    TierError
        The system cannot start it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        start_timeout_s: float,
        explain: Callable[[], str] = str,
        forks: ForkServer | None = None,
        search_path: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._explain = explain
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._start_timeout_s = start_timeout_s
        self._deadline = time.monotonic() + start_timeout_s
        self._said: Mapping[str, Any] | None = None
        self._process: ForkedProcess | subprocess.Popen[bytes]
        try:
            with self._log.open("wb") as log:
                if forks is not None:
                    self._process = forks.start([*command[1:], "--exit-with-parent"], log)
                    return
                self._process = subprocess.Popen(
                    # Without -P the current folder, the user's project, would come before the standard library.
                    [sys.executable, "-P", "-m", *command, "--exit-with-parent"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    env=environment(search_path),
                    process_group=0,  # Ctrl-C is for us, who then end our children in order
                )
        except OSError as error:
            raise TierError(f"{name} cannot be started: {error}") from None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it listens, once it is ready.

        Raises
        ------
        TierError
            It ended or does not get ready in time.
        """
        port: int = self.said()["port"]
        return port

    def said(self) -> Mapping[str, Any]:
        """What it says when it is ready.

        Raises
        ------
        TierError
            It ended or does not get ready in time.
        """
        if self._said is None:
            self._said = self._first_line()
        return self._said

    def begin(self) -> None:
        """Let a forked server begin, whose limits are set now; others have begun by themselves."""
        if isinstance(self._process, ForkedProcess):
            self.tell("")

    def tell(self, line: str) -> None:
        """Write a line to its standard input.

        Raises
        ------
        TierError
            It has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode("ascii"))
        except OSError as error:
            raise TierError(self.exit_reason(wait_s=1) or f"{self.name} cannot be reached: {error}") from None

    def exit_reason(self, wait_s: float = 0.0) -> str | None:
        """A sentence if it has ended.

        Parameters
        ----------
        wait_s
            How long to wait for its end where there are signs of it: a broken connection comes a little earlier.
        """
        try:
            code = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None
        return f"{self.name} {_how(code)}{self._explain()}{self.last_words()}"

    def last_words(self) -> str:
        """The end of its log as the end of a sentence; nothing where the log is empty."""
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()[-_LOG_LINES:]
            if lines:
                return "; its log ends: " + " | ".join(line[:_LOG_LINE_LENGTH].strip() for line in lines)
        return ""

    def request_stop(self) -> None:
        """Ask it to end, without waiting."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def stop(self, timeout_s: float) -> None:
        """Wait for its end, and force it when the time is over."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _first_line(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None
        poll = select.poll()  # unlike select.select it knows no largest file descriptor
        poll.register(self._process.stdout, select.POLLIN)
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST_FIRST_LINE_BYTES:
            if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1e3):
                raise TierError(
                    f"{self.name} was not ready after {self._start_timeout_s:g} s{self.last_words()}", cause="host"
                )
            piece = self._process.stdout.read(2**16)
            if not piece:
                raise TierError(
                    self.exit_reason(wait_s=1) or f"{self.name} did not say that it is ready{self.last_words()}"
                )
            line += piece
        try:
            said = json.loads(line)
            if said["ready"] and 0 < said["port"] < 2**16:
                return dict(said)
        except (ValueError, TypeError, KeyError):
            pass
        raise TierError(f"{self.name} said something else than that it is ready: {line[:_LOG_LINE_LENGTH]!r}")


@contextlib.contextmanager
def family(end_timeout_s: float) -> Iterator[list[Child]]:
    """A list of children, all of which have ended when it is left.

    Parameters
    ----------
    end_timeout_s
        How long they may take to end by themselves.
    """
    children: list[Child] = []
    try:
        yield children
    finally:
        deadline = time.monotonic() + end_timeout_s
        try:
            for child in children:
                child.request_stop()
            for child in children:
                child.stop(max(0.0, deadline - time.monotonic()))
        except BaseException:  # another Ctrl-C: no time is left
            for child in children:
                child.stop(0)
            raise


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def environment(search_path: Sequence[str] = ()) -> dict[str, str]:
    """The environment of children: without threads that they were not given, and with output that is not held back.

    Parameters
    ----------
    search_path
        Folders to put before all others that modules are searched in.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if search_path:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (*search_path, os.environ.get("PYTHONPATH"))))
    return variables


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"
