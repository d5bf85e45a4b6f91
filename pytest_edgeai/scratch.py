"""Temporary folders that say whether their owner lives, so that those of killed processes can be removed.

Each holds a lock file that its owner keeps locked, which the system lets go of when the owner ends, however it ends.
Only folders with such a file are ever removed, and only those of the same user.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIXES = ("edgeai-session-", "edgeai-build-", "edgeai-profile-")
"""What the names of our temporary folders begin with."""
_OWNER = ".owner"
_NEW = "edgeai-new-"


@contextlib.contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that only this user may read; it is removed at the end.

    Parameters
    ----------
    prefix
        One of `PREFIXES`.
    """
    assert prefix in PREFIXES
    new = Path(tempfile.mkdtemp(prefix=_NEW))
    lock = FileLock(new / _OWNER)
    lock.acquire()
    # Only now it has a name that is looked for, so that nobody finds it unlocked.
    path = new.rename(new.with_name(prefix + new.name.removeprefix(_NEW)))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


def sweep(within: Path | None = None) -> list[Path]:
    """Remove the temporary folders of processes that have ended.

    Parameters
    ----------
    within
        Where to look; None is the system's folder for temporary files.

    Returns
    -------
    list of Path
        What was removed.
    """
    root = Path(tempfile.gettempdir()) if within is None else within
    removed = []
    for path in sorted(one for prefix in PREFIXES for one in root.glob(f"{prefix}*")):
        with contextlib.suppress(OSError, Timeout):  # somebody else's, alive, or removed by another process meanwhile
            if path.is_symlink() or path.stat().st_uid != os.getuid() or not (path / _OWNER).is_file():
                continue
            with FileLock(path / _OWNER, timeout=0):
                shutil.rmtree(path)
                removed.append(path)
    return removed
