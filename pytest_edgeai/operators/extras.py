"""What is installed, and which extra of this package installs what is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Final

_OF_SUITE: Final = ("neural_compressor", "onnxscript", "pkg_resources", "safetensors", "six", "sklearn")
_MODULES: Final[Mapping[str, str]] = {
    "neural-compressor": "neural_compressor",
    "onnxscript": "onnxscript",
    "pillow": "PIL",
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "torch": "torch",
    "torch-pruning": "torch_pruning",
    "transformers": "transformers",
}
"""Distributions whose modules are looked for: one that is there and cannot be imported does not count."""


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


def first_missing(distributions: Iterable[str]) -> str:
    """The first of some distributions that is not installed, with the command that installs it; empty if all are.

    Parameters
    ----------
    distributions
        As package indexes call them.
    """
    for name in distributions:
        module = _MODULES.get(name)
        if module is not None and not is_installed(module):
            return f"{name}, which is not installed: {installing(module)}"
        if module is None and not _has_metadata(name):
            return f"{name}, which is not installed: pip install {name}"
    return ""


def _has_metadata(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
