"""One measuring session at a time on a host: two at once would measure each other.

The lock is one of the system's on a file that all users of the host share, so it is free again when its holder ends,
however that ends. A file beside it says who holds it. Sessions in containers share it where they share its folder.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_edgeai.errors import EdgeAIError

FOLDER_VARIABLE = "EDGEAI_LOCK_DIR"
_SHARED = Path("/tmp")
_NAME = "edgeai-measuring"
_ANY_USER = 0o666
_NOTE_EVERY_S = 60.0
_POLL_S = 0.2
_LONGEST_COMMAND = 200


class HostTakenError(EdgeAIError):
    """Another session measures on this host, or the lock cannot be had; one sentence."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock.

    Parameters
    ----------
    pid, command, user
        The process, as its holder sees it: in a container the number is another.
    since
        Seconds since the epoch.
    """

    pid: int
    command: str
    user: str
    since: float

    def describe(self, now: float) -> str:
        """Who it is and since when.

        Parameters
        ----------
        now
            Seconds since the epoch.
        """
        clock = time.strftime("%H:%M:%S", time.localtime(self.since))
        ago = _minutes(max(0.0, now - self.since))
        return f"process {self.pid} of user {self.user} ({self.command}), since {clock}, {ago} ago"


def lock_folder() -> Path:
    """Where the lock is: `EDGEAI_LOCK_DIR`, or a folder that all users of this host share."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    return _SHARED if _SHARED.is_dir() else Path(tempfile.gettempdir())


@contextlib.contextmanager
def only_session(wait_s: float, note: Callable[[str], None]) -> Iterator[None]:
    """Be the only measuring session of this host.

    Parameters
    ----------
    wait_s
        How long to wait for another one to end.
    note
        Is told who is waited for, a sentence at a time.

    Raises
    ------
    HostTakenError
        Another session is still going on, or the lock's file cannot be written.
    """
    folder = lock_folder()
    path, about = folder / f"{_NAME}.lock", folder / f"{_NAME}.json"
    lock = FileLock(path, mode=_ANY_USER)
    deadline = time.monotonic() + wait_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        patience_s = 0.0
        while not _acquired(lock, patience_s):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise HostTakenError(_refusal(about, wait_s))
            note(f"waiting up to {_minutes(left_s)} for another session: {_holder(about)}")
            patience_s = min(left_s, _NOTE_EVERY_S)
    except OSError as error:
        raise HostTakenError(
            f"{path} cannot be locked, so that another session might measure at the same time: {error.strerror}; "
            f"set {FOLDER_VARIABLE} to a folder that everybody who measures on this host can write"
        ) from None
    try:
        _write(about, Holder(os.getpid(), _own_command(), _user(), time.time()))
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, timeout_s: float) -> bool:
    try:
        lock.acquire(timeout=timeout_s, poll_interval=_POLL_S)
    except Timeout:
        return False
    return True


def _refusal(about: Path, wait_s: float) -> str:
    after = f"still after {_minutes(wait_s)} " if wait_s > 0 else ""
    return (
        f"another session is {after}measuring on this host, and two at once would measure each other: "
        f"{_holder(about)}; wait for it by --edgeai-wait 10m"
    )


def _holder(about: Path) -> str:
    try:
        return Holder(**json.loads(about.read_text(encoding="utf-8"))).describe(time.time())
    except (OSError, ValueError, TypeError):
        return f"a process that {about} does not name"


def _write(about: Path, holder: Holder) -> None:
    """Say who holds the lock; what another user has left there is written over, not replaced."""
    no_links = getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(OSError):
        # Some systems refuse O_CREAT for a file of another user in a folder that all may write.
        create = 0 if about.exists() else os.O_CREAT
        descriptor = os.open(about, os.O_WRONLY | os.O_TRUNC | no_links | create, _ANY_USER)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if create:
                os.fchmod(descriptor, _ANY_USER)
            json.dump(asdict(holder), file)


def _own_command() -> str:
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name  # python -m pytest
    command = shlex.join([name, *sys.argv[1:]])
    return command if len(command) <= _LONGEST_COMMAND else command[: _LONGEST_COMMAND - 1] + "…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have a number and no name
        return str(os.getuid())


def _minutes(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if duration_s < 120 else f"{duration_s / 60:.0f} min"
