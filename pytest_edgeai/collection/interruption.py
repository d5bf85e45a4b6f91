"""SIGTERM and SIGHUP end a measuring session as Ctrl-C does: what was measured is judged and reported, children end.

A CI system that cancels a job sends the one, a terminal that is closed the other.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import pytest

_SIGNALS = ("SIGTERM", "SIGHUP")


class Interruption:
    """Handlers of these signals, from `install` to `restore`.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored, and one that somebody else handles stays theirs.
    """

    def __init__(self) -> None:
        self.name = ""
        self._is_ending = False
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Handle the signals, where Python can: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)  # not every system has SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                self._before[number] = signal.signal(number, self._interrupt)

    def restore(self) -> None:
        """Leave the signals as they were."""
        while self._before:
            signal.signal(*self._before.popitem())

    def end(self) -> None:
        """From now on the session is ending anyway, and a signal is not to keep it from writing its reports."""
        self._is_ending = True

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # a handler takes both
        if not self._is_ending:
            self._is_ending = True
            self.name = signal.Signals(number).name
            raise KeyboardInterrupt(self.name)


def heed_signals(config: pytest.Config) -> Interruption:
    """Let the signals end the session as Ctrl-C does, until pytest is done with it."""
    interruption = Interruption()
    config.add_cleanup(interruption.restore)
    interruption.install()
    return interruption


def end_of(interruption: Interruption | None, exitstatus: int) -> str:
    """What ended the session before its last trial, as a sentence goes on, or nothing; no signal interrupts it now."""
    if interruption is not None:
        interruption.end()
    if exitstatus != pytest.ExitCode.INTERRUPTED:
        return ""
    return f"by {interruption.name}" if interruption is not None and interruption.name else "before its end"
