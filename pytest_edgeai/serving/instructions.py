"""Instructions that threads retire, counted by the processor: neither load nor waiting changes their number.

Linux lets a process count them by `perf_event_open`, where the processor's counters may be read at all: many virtual
machines have none, and `kernel.perf_event_paranoid` or a container's filter may forbid it. Then it is said why.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
import sys
import threading
from collections.abc import Iterable
from typing import Final

_CALLS: Final = {"x86_64": 298, "aarch64": 241}
"""The number of the system call, which the C library has no function for."""
_ATTRIBUTE_BYTES: Final = 112
_FLAGS_AT: Final = 40
_HARDWARE, _INSTRUCTIONS = 0, 1
_USER_ONLY: Final = 1 << 5 | 1 << 6  # without the kernel and the hypervisor, which needs no rights
_CLOSE_ON_EXEC: Final = 8


class InstructionCounter:
    """Counts the instructions of the thread that asks, and of further threads.

    Parameters
    ----------
    workers
        Numbers of further threads, as the kernel has them.
    kind
        What the kernel calls the event: its type and its number.
    """

    def __init__(self, workers: Iterable[int] = (), kind: tuple[int, int] = (_HARDWARE, _INSTRUCTIONS)) -> None:
        self._kind = kind
        self._own = threading.local()
        self._others = [_Event(one, kind) for one in workers]

    def read(self) -> int:
        """How many there were since the first call in this thread, all threads together.

        Raises
        ------
        OSError
            They cannot be counted; says why.
        """
        if not hasattr(self._own, "event"):
            self._own.event = _Event(0, self._kind)
        return sum(one.read() for one in (self._own.event, *self._others))


class _Event:
    """An event of one thread; its file is closed when nobody has it any more, at the latest when the thread ends."""

    def __init__(self, thread: int, kind: tuple[int, int]) -> None:
        self._descriptor = _opened(thread, kind)
        self._close = os.close  # which the interpreter has taken away when it ends

    def read(self) -> int:
        return int.from_bytes(os.read(self._descriptor, 8), sys.byteorder)

    def __del__(self) -> None:
        if hasattr(self, "_close"):
            self._close(self._descriptor)


@functools.cache
def why_not_counted() -> str:
    """Why this process cannot count instructions, as part of a sentence; empty where it can."""
    try:
        InstructionCounter().read()
    except OSError as error:
        return f"perf_event_open: {error.strerror}"
    return ""


def _opened(thread: int, kind: tuple[int, int]) -> int:
    call = _CALLS.get(platform.machine()) if platform.system() == "Linux" else None
    if call is None:
        raise OSError(0, f"its number is not known for {platform.system()} on {platform.machine()}")
    attribute = bytearray(_ATTRIBUTE_BYTES)
    struct.pack_into("=IIQ", attribute, 0, kind[0], _ATTRIBUTE_BYTES, kind[1])
    struct.pack_into("=Q", attribute, _FLAGS_AT, _USER_ONLY)
    library = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * _ATTRIBUTE_BYTES).from_buffer(attribute)
    descriptor: int = library.syscall(call, buffer, thread, -1, -1, _CLOSE_ON_EXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
