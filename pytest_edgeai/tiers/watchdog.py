"""Removes what a session made on a container engine when the session's process is gone, however it ended.

`python -m pytest_edgeai.tiers.watchdog SESSION` waits for the end of its input, whose other end the session's process
holds: also `kill -9` closes that.
"""

from __future__ import annotations

import signal
import sys

from pytest_edgeai.tiers import engine


def main() -> int:
    """Wait, then remove."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it outlives those that end the session
    sys.stdin.buffer.read()
    try:
        engine.remove(engine.connect(), sys.argv[1])
    except engine.EngineError:
        return 1  # nobody reads why; the next session's sweep tries again
    return 0


if __name__ == "__main__":
    sys.exit(main())
