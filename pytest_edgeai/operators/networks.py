"""Networks between two operators of a chain: their weights on disk, and how to build a module that takes them.

A file says which definition of the subject model the network came from, which whole numbers in its modules are others
since (channels, features, heads), and holds all tensors. So a network whose channels were removed is built again
without unpickling any code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pytest_edgeai.operators import BuildError
from pytest_edgeai.subjects import SubjectModel

if TYPE_CHECKING:
    import torch

    Builder: TypeAlias = Callable[[], torch.nn.Module]

Origin: TypeAlias = Literal["network", "student"]
"""Whether a network was made from the trained network of a subject model, or from its student."""

FILE_NAME = "network.safetensors"
_Numbers: TypeAlias = Mapping[str, Mapping[str, Any]]


def build(subject: SubjectModel, origin: Origin) -> torch.nn.Module:
    """A network as the subject model defines it.

    Raises
    ------
    BuildError
        It defines no student.
    """
    if origin == "network":
        return subject.trained()
    if subject.training is None or subject.training.student is None:
        raise BuildError(
            f"subject model {subject.name!r} has no student to distil into: give its training a `student`, a function "
            "that returns a smaller network"
        )
    return subject.training.student()


def save(network: torch.nn.Module, origin: Origin, subject: SubjectModel, folder: Path) -> None:
    """Write a network.

    Parameters
    ----------
    network
        On the CPU.
    origin
        Where it came from.
    subject
        Whose network it is.
    folder
        Gets `network.safetensors`.

    Raises
    ------
    BuildError
        It differs from its definition in more than tensors, their shapes and whole numbers.
    """
    from safetensors.torch import save_file

    original = build(subject, origin)
    names = [name for name, _ in network.named_modules()]
    if names != [name for name, _ in original.named_modules()]:
        raise BuildError(f"the network of {subject.name} has other modules than its definition: it cannot be kept")
    before, after = _numbers(original), _numbers(network)
    changed = {name: _difference(before[name], after[name]) for name in names}
    changed = {name: numbers for name, numbers in changed.items() if numbers}
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"origin": origin, "numbers": json.dumps(changed, sort_keys=True)}
    save_file(tensors, folder / FILE_NAME, metadata)


def load(folder: Path, subject: SubjectModel) -> torch.nn.Module:
    """Read a network, in eval mode.

    Parameters
    ----------
    folder
        To which `save` wrote.
    subject
        Whose network it is.

    Raises
    ------
    RuntimeError
        The file is of another network.
    """
    import torch
    from safetensors import safe_open

    with safe_open(folder / FILE_NAME, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    network = build(subject, _origin(metadata))
    for name, numbers in json.loads(metadata["numbers"]).items():
        module = network.get_submodule(name)
        for attribute, value in numbers.items():
            setattr(module, attribute, tuple(value) if isinstance(value, list) else value)
    for name, old in network.state_dict().items():
        if name in tensors and tensors[name].shape != old.shape:
            path, _, attribute = name.rpartition(".")
            module = network.get_submodule(path)
            new = tensors[name]
            is_parameter = isinstance(getattr(module, attribute), torch.nn.Parameter)
            setattr(module, attribute, torch.nn.Parameter(new) if is_parameter else new)
    network.load_state_dict(tensors)
    return network.eval()


def origin_of(folder: Path) -> Origin:
    """Where a network that `save` wrote came from."""
    from safetensors import safe_open

    with safe_open(folder / FILE_NAME, framework="pt") as file:
        return _origin(file.metadata())


def _origin(metadata: Mapping[str, str]) -> Origin:
    return "student" if metadata["origin"] == "student" else "network"


def _numbers(network: torch.nn.Module) -> _Numbers:
    return {
        name: {key: value for key, value in vars(module).items() if _is_number(value)}
        for name, module in network.named_modules()
    }


def _is_number(value: object) -> bool:
    if isinstance(value, tuple):
        return all(type(one) is int for one in value)
    return type(value) is int


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if before.get(key) != value}
