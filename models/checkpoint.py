"""Weights on disk: half precision in a safetensors file, single precision in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    import torch

Network = TypeVar("Network", bound="torch.nn.Module")

FOLDER: Final = Path(__file__).with_name("weights")


def path_of(name: str) -> Path:
    """The file with the weights of a subject model.

    Parameters
    ----------
    name
        Of the subject model.
    """
    return FOLDER / f"{name}.safetensors"


def skeleton_of(name: str) -> Path:
    """The file with the graph of a subject model, without those weights (`models.skeletons` writes it).

    Parameters
    ----------
    name
        Of the subject model.
    """
    return FOLDER / f"{name}.onnx"


def save(network: torch.nn.Module, path: Path) -> None:
    """Write a network's weights.

    Parameters
    ----------
    network
        Its parameters are rounded to half precision; buffers keep theirs, since the variances of a batch
        normalization can be smaller than half precision goes.
    path
        Is replaced.
    """
    import torch
    from safetensors.torch import save_file

    parameters = {name for name, _ in network.named_parameters()}
    tensors = {
        name: (tensor.to(torch.float16) if name in parameters else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


def load(network: Network, path: Path) -> Network:
    """Read weights into a network, all of them and no others.

    Parameters
    ----------
    network
        As its constructor left it.
    path
        A file that `save` wrote.

    Returns
    -------
    torch.nn.Module
        The same network, in eval mode.

    Raises
    ------
    RuntimeError
        The file is of another network.
    """
    from safetensors.torch import load_file

    # Copying into a parameter converts to the parameter's precision.
    network.load_state_dict(load_file(path))
    return network.eval()
