"""Taking turns: servers that share a core compute one after the other, so that each measures its own compute.

The lock is one of the system's on a folder that they all see; it is free again when its holder ends, however it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path


class CoreLock:
    """A place in the queue.

    Parameters
    ----------
    folder
        Stands for the core; it has to be there, and nothing is written to it.

    Raises
    ------
    OSError
        The folder cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # The system's lock belongs to the descriptor: threads of this process would all have it.
        self._own = threading.Lock()

    def close(self) -> None:
        """Leave the queue."""
        os.close(self._descriptor)

    @contextlib.contextmanager
    def take(self) -> Iterator[float]:
        """Wait for the turn and have it; the seconds that were waited."""
        began = time.perf_counter()
        with self._own:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield time.perf_counter() - began
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
