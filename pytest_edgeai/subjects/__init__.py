"""Subject models: a trained network with its samples, its pre- and post-processing and its accuracy metrics.

A definition is data plus two callables (`network` and the sample source's `generate`), so that it can be imported,
listed and pickled without torch; the callables import what they need when they are called. They must be
module-level functions, because artifacts are built in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.serving.pipeline import Pipeline

if TYPE_CHECKING:
    import torch

Split: TypeAlias = Literal["train", "calibration", "validation"]


class SubjectError(EdgeAIError, RuntimeError):
    """Weights or samples that cannot be had; one sentence that names the setting."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request with its answer.

    Parameters
    ----------
    inputs
        The tensors that a client sends, as the pipeline's `inputs` describe them, for a batch of one.
    label
        The index of the true class.
    """

    inputs: Mapping[str, Array]
    label: int


@dataclass(frozen=True, slots=True)
class SampleSource:
    """Where samples come from.

    Parameters
    ----------
    name
        What the samples are, in a few words; appears in reports.
    generate
        Returns all samples of a split, the same ones every time. A module-level function.
    sources
        Files and folders whose content decides what `generate` returns: its own module, data files.
    libraries
        Distributions whose version decides it, too (an image encoder, a package that ships the data).
    key
        What else decides it: for data too large to be read again at each session, a digest of names and sizes.
    """

    name: str
    generate: Callable[[Split], Sequence[Sample]]
    sources: tuple[Path, ...]
    libraries: tuple[str, ...] = ()
    key: str = ""


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of logits [n, classes] and labels [n]."""
    import torch

    return torch.nn.functional.cross_entropy(logits, labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What an operator has to know that trains a network of a subject model.

    Parameters
    ----------
    loss
        From logits [n, classes] and labels [n] to the mean loss. A module-level function.
    learning_rate
        Of AdamW, at which a student learns fast; operators that train a network further take a share of it.
    student
        Returns a smaller network that takes and returns the same, as distillation finds it; what is random in it is
        drawn from torch's global generator. A module-level function, or None where there is none. What decides an
        object that is called instead of one belongs into the subject model's `key`.
    sources
        Files whose content decides what these do.
    """

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = cross_entropy
    learning_rate: float = 1e-3
    student: Callable[[], torch.nn.Module] | None = None
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectModel:
    """A trained network and all that is needed to compress, serve and judge it.

    Parameters
    ----------
    name
        Letters, digits and underscores; used in test ids, options and reports.
    task
        What the model does, in a few words; appears in reports.
    network
        Returns the trained network in eval mode, on the CPU. Its forward takes the graph's inputs as positional
        tensors, in the order of `graph_inputs`, and returns logits [n, classes]. A module-level function.
    graph_inputs
        Names of the graph's inputs; dimension 0 of each is the batch.
    samples
        Training, calibration and validation samples.
    pipeline
        From a sample's inputs to the graph's, and from logits to ranked labels.
    metrics
        Names of accuracy metrics (`pytest_edgeai.subjects.metrics`); budgets are about the first.
    assets
        Files that the pipeline names (a tokenizer), copied beside the graph.
    sources
        Files whose content decides the artifact: the definition, the network's module, the weights.
    libraries
        Distributions whose version decides what `network` returns.
    key
        What else decides what `network` returns: where on a hub its weights are, or that they are random.
    unmeasured
        Why its accuracy means nothing and is not measured (`random weights`); empty where it is.
    missing
        Why it cannot be used as things are set, in a sentence that names the setting; empty where it can.
    training
        For operators that train; None where they are not to be used.
    """

    name: str
    task: str
    network: Callable[[], torch.nn.Module]
    graph_inputs: tuple[str, ...]
    samples: SampleSource
    pipeline: Pipeline
    metrics: tuple[str, ...]
    assets: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    libraries: tuple[str, ...] = field(default=("torch",))
    key: str = ""
    unmeasured: str = ""
    missing: str = ""
    training: Training | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name of a subject model is letters, digits and underscores, not {self.name!r}")
        if not self.metrics:
            raise ValueError(f"subject model {self.name!r} declares no metric")
