"""Subject models: a trained network or graph with its examples, its pre- and post-processing and its metrics.

A definition is data plus callables (`network` and the example source's `generate`), so that it can be imported,
listed and pickled without torch; the callables import what they need when they are called. They must be
module-level functions, because artifacts are built in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.serving.pipeline import Pipeline
from pytest_edgeai.subjects.metrics import Metric

if TYPE_CHECKING:
    import torch

    from pytest_edgeai.subjects.pairs import GivenExamples

Split: TypeAlias = Literal["train", "calibration", "validation"]


class SubjectError(EdgeAIError, RuntimeError):
    """Weights or samples that cannot be had; one sentence that names the setting."""


@dataclass(frozen=True, slots=True)
class Example:
    """One item of a data set: what a request sends, and what its answer is compared with.

    Parameters
    ----------
    inputs
        The tensors that a client sends, as the pipeline's `inputs` describe them, for a batch of one.
    reference
        What is right: the index of a class, a number, a sequence, an array, a mapping of these (boxes and their
        classes). Anything that JSON or numpy holds; None where nobody knows.
    """

    inputs: Mapping[str, Array]
    reference: Any = None


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """Where examples come from.

    Parameters
    ----------
    name
        What the examples are, in a few words; appears in reports.
    generate
        Returns all examples of a split, the same ones every time. A module-level function.
    sources
        Files and folders whose content decides what `generate` returns: its own module, data files.
    libraries
        Distributions whose version decides it, too (an image encoder, a package that ships the data).
    key
        What else decides it: for data too large to be read again at each session, a digest of names and sizes.
    """

    name: str
    generate: Callable[[Split], Sequence[Example]]
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
    """A trained network, or a graph of one, and all that is needed to compress, serve and judge it.

    Parameters
    ----------
    name
        Letters, digits and underscores; used in test ids, options and reports.
    task
        What the model does, in a few words; appears in reports.
    examples
        For training, calibration and validation.
    metrics
        Accuracy metrics, by name (`pytest_edgeai.subjects.metrics`) or as `Metric`; budgets are about the first.
    network
        Returns the trained network in eval mode, on the CPU. Its forward takes the graph's inputs as positional
        tensors, in the order of `graph_inputs`, and returns logits [n, classes]. A module-level function.
    graph
        An ONNX file, in the place of `network` or beside it; its weights may lie beside the file as external data, or
        in a safetensors file (`pytest_edgeai.subjects.skeletons`). Where there are both, operators that change a
        network start from the network, all others from the graph, without torch; the two have to answer the same.
    graph_inputs
        Names of the graph's inputs, in the order of the network's arguments; dimension 0 of each is the batch. A graph
        without a network has its own.
    pipeline
        From an example's inputs to the graph's, and from the graph's outputs to those of an answer; by default these
        are the same.
    assets
        Files that the pipeline names (a tokenizer), copied beside the graph.
    sources
        Files whose content decides the artifact: the definition, the network's module, the weights.
    libraries
        Distributions whose version decides what `network` returns; torch, where there is one.
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
    examples: ExampleSource
    metrics: tuple[str | Metric, ...]
    network: Callable[[], torch.nn.Module] | None = None
    graph: Path | None = None
    graph_inputs: tuple[str, ...] = ()
    pipeline: Pipeline = field(default_factory=Pipeline)
    assets: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    libraries: tuple[str, ...] | None = None
    key: str = ""
    unmeasured: str = ""
    missing: str = ""
    training: Training | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name of a subject model is letters, digits and underscores, not {self.name!r}")
        if not self.metrics:
            raise ValueError(f"subject model {self.name!r} declares no metric")
        if self.network is None and self.graph is None:
            raise ValueError(f"subject model {self.name!r} has neither a network nor a graph")
        if self.network is not None and not self.graph_inputs:
            raise ValueError(f"subject model {self.name!r} has a network and names no graph_inputs")
        if self.graph is not None:
            if self.graph_inputs and self.network is None:
                raise ValueError(f"subject model {self.name!r}: a graph has inputs of its own; leave graph_inputs out")
            object.__setattr__(self, "graph", Path(self.graph).absolute())
            if not self.graph.is_file() and not self.missing:
                object.__setattr__(self, "missing", f"subject model {self.name}: there is no file {self.graph}")
        if self.libraries is None:
            object.__setattr__(self, "libraries", () if self.network is None else ("torch",))

    @classmethod
    def from_torch(
        cls,
        network: torch.nn.Module | Callable[[], torch.nn.Module],
        example_inputs: Any,
        *,
        name: str,
        examples: GivenExamples,
        metrics: tuple[str | Metric, ...],
        task: str = "",
        pipeline: Pipeline | None = None,
        training: Training | None = None,
        sources: tuple[Path, ...] = (),
        key: str = "",
    ) -> SubjectModel:
        """A subject model from a torch module.

        Parameters
        ----------
        network
            A function at the top of a module that returns the trained module, or the module itself: its weights are
            part of `key` then. A module that returns several tensors names them in its attribute `output_names`.
        example_inputs
            Tensors by the name of the module's arguments, in their order, or the only one, which is called `input`.
            Dimension 0 is the batch.
        name
            As in `SubjectModel`.
        examples
            Pairs of an input and its reference in a list, a function that returns those of a split, or a file as the
            settings name it. An input is a tensor, tensors by name, or what the pipeline takes: text, or an image's
            path. Of a list or a file, every fourth one calibrates operators and the others are validated on.
        metrics
            As in `SubjectModel`.
        task
            What the model does, in a few words.
        pipeline
            By default, tensors are sent and the module's outputs are the answers.
        training
            As in `SubjectModel`.
        sources
            Files whose content decides the network, such as its weights; those of the function or the module's classes
            are added.
        key
            What else decides the network.

        Raises
        ------
        SubjectError
            Something given cannot be used.
        """
        from pytest_edgeai.subjects.from_torch import subject_from_torch

        return subject_from_torch(
            network,
            example_inputs,
            name=name,
            examples=examples,
            metrics=metrics,
            task=task,
            pipeline=pipeline or Pipeline(),
            training=training,
            sources=sources,
            key=key,
        )

    @classmethod
    def from_transformers(
        cls,
        folder: Path | str,
        task: str,
        *,
        name: str,
        examples: GivenExamples,
        metrics: tuple[str | Metric, ...] | None = None,
        max_length: int | None = None,
        sentences: Literal[1, 2] = 1,
        training: Training | None = None,
    ) -> SubjectModel:
        """A subject model from a folder as transformers' `save_pretrained` writes it.

        Parameters
        ----------
        folder
            With the model, and its tokenizer (`tokenizer.json`) or image processor; or a model's name on the hub.
        task
            `text-classification`, `token-classification`, `image-classification` or `feature-extraction`.
        name
            As in `SubjectModel`.
        examples
            As in `from_torch`. An input is a text (a list of two where `sentences` is 2; a list of words for token
            classification), or an image's path; a reference is a label of the model, by name or number, a list of
            them for token classification, and None for feature extraction.
        metrics
            By default `top1` of a classifier, `f1` if it has two labels; `accuracy` of labels of tokens; `cosine` of
            features.
        max_length
            In tokens; by default 128, or what the model takes if that is less.
        sentences
            How many texts an input has.
        training
            As in `SubjectModel`.

        Raises
        ------
        SubjectError
            Something given cannot be used.
        """
        from pytest_edgeai.subjects.from_transformers import subject_from_transformers

        return subject_from_transformers(
            folder,
            task,
            name=name,
            examples=examples,
            metrics=metrics,
            max_length=max_length,
            sentences=sentences,
            training=training,
        )

    def trained(self) -> torch.nn.Module:
        """The trained network, in eval mode.

        Raises
        ------
        SubjectError
            The model is a graph.
        """
        if self.network is None:
            raise SubjectError(f"subject model {self.name} is the ONNX file {self.graph} and has no network")
        return self.network()

    @property
    def has_classes(self) -> bool:
        """Whether its answers are ranked classes."""
        return self.pipeline.postprocess is not None
