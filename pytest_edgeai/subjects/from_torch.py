"""Subject models from torch: a function that returns a module, or a module, with inputs that show their shapes."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_edgeai.serving.pipeline import ImagePreprocess, Pipeline, TextPreprocess
from pytest_edgeai.subjects import SubjectError, SubjectModel, Training
from pytest_edgeai.subjects.metrics import Metric
from pytest_edgeai.subjects.pairs import (
    Convert,
    GivenExamples,
    ImagePair,
    TensorPair,
    TextPair,
    name_of,
    refuse_unpicklable,
    source_files,
    source_of,
)

if TYPE_CHECKING:
    import torch

INPUT = "input"
"""The name of the only input of a network, where none is given."""


@dataclass(frozen=True)
class FunctionNetwork:
    """Returns the module that a function returns, in eval mode.

    Parameters
    ----------
    function
        At the top of a module.
    """

    function: Callable[[], torch.nn.Module]

    def __call__(self) -> torch.nn.Module:
        """Build the network.

        Raises
        ------
        SubjectError
            The function returns something else.
        """
        import torch

        network = self.function()
        if not isinstance(network, torch.nn.Module):
            raise SubjectError(f"{name_of(self.function)} returned {type(network).__name__}, not a torch.nn.Module")
        return network.eval()


@dataclass(frozen=True, eq=False)
class GivenNetwork:
    """Returns copies of a module, in eval mode; it goes to the process that builds with its weights.

    Parameters
    ----------
    module
        On any device.
    """

    module: torch.nn.Module

    def __call__(self) -> torch.nn.Module:
        """A copy on the CPU."""
        return copy.deepcopy(self.module).cpu().eval()


def subject_from_torch(
    network: torch.nn.Module | Callable[[], torch.nn.Module],
    example_inputs: Any,
    *,
    name: str,
    examples: GivenExamples,
    metrics: tuple[str | Metric, ...],
    task: str,
    pipeline: Pipeline,
    training: Training | None,
    sources: tuple[Path, ...],
    key: str,
) -> SubjectModel:
    """As `SubjectModel.from_torch` says.

    Raises
    ------
    SubjectError
        Something given cannot be used.
    """
    inputs = _specs(example_inputs, name)
    step = pipeline.preprocess
    if step is not None and {*step.produced()} != {one for one, _, _ in inputs}:
        raise SubjectError(
            f"subject model {name}: the preprocess makes {', '.join(step.produced())}, and the example inputs are "
            f"{', '.join(one for one, _, _ in inputs)}"
        )
    try:
        made, files, digest = _network(network)
        source = source_of(examples, _convert(pipeline, inputs), step)
    except SubjectError as error:
        raise SubjectError(f"subject model {name}: {error}") from None
    return SubjectModel(
        name=name,
        task=task or f"the answers of {name_of(network)}",
        network=made,
        graph_inputs=tuple(one for one, _, _ in inputs),
        examples=source,
        pipeline=pipeline,
        metrics=metrics,
        sources=(Path(__file__), *files, *sources),
        key=" ".join(one for one in (digest, key) if one),
        training=training,
    )


def _specs(example_inputs: Any, name: str) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Name, type and shape without the batch of each input."""
    given = example_inputs if isinstance(example_inputs, Mapping) else {INPUT: example_inputs}
    arrays = {one: np.asarray(value) for one, value in given.items()}
    for one, array in arrays.items():
        if not isinstance(one, str) or array.ndim == 0 or array.dtype == object:
            raise SubjectError(
                f"subject model {name}: example input {one!r} is not a tensor whose first dimension is the batch"
            )
    if not arrays:
        raise SubjectError(f"subject model {name}: there are no example inputs")
    return tuple((one, array.dtype.name, array.shape[1:]) for one, array in arrays.items())


def _convert(pipeline: Pipeline, inputs: tuple[tuple[str, str, tuple[int, ...]], ...]) -> Convert:
    step = pipeline.preprocess
    if isinstance(step, ImagePreprocess):
        return ImagePair(step)
    return TextPair(step) if isinstance(step, TextPreprocess) else TensorPair(inputs)


def _network(given: Any) -> tuple[Callable[[], torch.nn.Module], tuple[Path, ...], str]:
    """What returns the network, the files that decide it, and the digest of its weights."""
    torch = sys.modules.get("torch")  # without it, there is no module that could have been given
    if torch is not None and isinstance(given, torch.nn.Module):
        refuse_unpicklable(given, f"the module {name_of(given)}")
        return GivenNetwork(given), _files_of(given), _digest(given)
    if not callable(given):
        raise SubjectError(f"a network is a torch.nn.Module or a function that returns one, not {given!r}")
    refuse_unpicklable(given, f"the function {name_of(given)}")
    return FunctionNetwork(given), source_files(given), ""


def _files_of(module: torch.nn.Module) -> tuple[Path, ...]:
    """The files that the classes of a module are in, those of torch left out: its version counts."""
    classes = dict.fromkeys(type(one) for one in module.modules())
    own = (one for one in classes if one.__module__.partition(".")[0] != "torch")
    return tuple(dict.fromkeys(file for one in own for file in source_files(one)))


def _digest(module: torch.nn.Module) -> str:
    import torch

    digest = hashlib.sha256(f"{name_of(module)}\n{module}".encode())
    for name, tensor in module.state_dict().items():
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()
