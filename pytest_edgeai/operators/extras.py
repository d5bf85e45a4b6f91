"""Which extra of this package installs what is missing."""

from __future__ import annotations

import importlib.util

_OF_SUITE = ("neural_compressor", "onnxscript", "pkg_resources", "safetensors", "six", "sklearn")


def installing(module: str) -> str:
    """The command that installs a module, which is needed to make artifacts.

    Parameters
    ----------
    module
        With or without the packages that it is in.
    """
    extra = "suite" if module.partition(".")[0] in _OF_SUITE else "operators"
    return f"pip install 'pytest-edgeai[{extra}]'"


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # what hides modules may raise the first, and leaves no specification
        return False
