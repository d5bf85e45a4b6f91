"""An environment for processes in which torch, and what needs it, seems not to be installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_FINDER: Final = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torch_pruning", "torchvision", "transformers"):
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Finder if one is PathFinder else one for one in sys.meta_path]
"""


def without_torch(folder: Path) -> dict[str, str]:
    """The environment, for which a `sitecustomize` is written into a folder: it holds for all processes of a session.

    Parameters
    ----------
    folder
        An empty one.
    """
    (folder / "sitecustomize.py").write_text(_FINDER, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}
