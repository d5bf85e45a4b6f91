"""Whether weights of a hub can be had, from the libraries' caches or a server that answers; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

_PATIENCE_S = 10.0
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@runtime_checkable
class Fetched(Protocol):
    """A subject model's `network` whose weights are downloaded when it is called."""

    def unreachable(self) -> str:
        """Why the weights cannot be had, in a sentence that names the setting; empty where they can."""
        ...


def ask_for_file(url: str) -> None:
    """Ask for a file that `torch.hub` downloads, unless its cache has it.

    Parameters
    ----------
    url
        Of the file.

    Raises
    ------
    OSError
        Nothing answers, or there is no such file.
    """
    from urllib.request import Request, urlopen

    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    if not Path(home, "hub", "checkpoints", url.rpartition("/")[2]).expanduser().is_file():
        with urlopen(Request(url, method="HEAD"), timeout=_PATIENCE_S):
            pass


def ask_for_model(hub_id: str, revision: str | None) -> None:
    """Ask for a model of the Hugging Face hub, unless its cache has the weights.

    Parameters
    ----------
    hub_id
        The model's name.
    revision
        The hub's, or None for its newest.

    Raises
    ------
    Exception
        The library is not installed, nothing answers, or there is no such model.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    cached = (try_to_load_from_cache(hub_id, name, revision=revision) for name in _WEIGHTS)
    if not any(isinstance(path, str) for path in cached):
        get_hf_file_metadata(hf_hub_url(hub_id, "config.json", revision=revision), timeout=_PATIENCE_S)
