"""Other versions: saved sessions, other commits, and what each left to be compared with."""

from __future__ import annotations

from typing import Final

DEFAULT_STORAGE: Final = "file://./.benchmarks"
"""Where pytest-benchmark keeps saved sessions, unless it is told otherwise."""
