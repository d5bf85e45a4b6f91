"""Removes what a session made on a container engine when the session's process is gone, however it ended.

`python -m pytest_edgeai.tiers.watchdog SESSION ENGINES`, with the engines' addresses as a JSON list, waits for the end
of its input, whose other end the session's process holds: also `kill -9` closes that.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys

from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.specs import EngineAddress


def main() -> int:
    """Wait, then remove."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it outlives those that end the session
    sys.stdin.buffer.read()
    session_id, addresses = sys.argv[1], json.loads(sys.argv[2])
    for address in addresses:
        # Nobody would read why it fails; the next session's sweep tries again.
        with contextlib.suppress(engine.EngineError), engine.reached(EngineAddress(**address)) as there:
            engine.remove(engine.connect(there), session_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
