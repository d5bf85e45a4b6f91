"""Operators: transformations of a subject model into an artifact, all behind one protocol.

An operator is a class in a file of its own, found by an entry point of the group `pytest_edgeai.operators` or
returned by the hook `pytest_edgeai_operators`. Importing it must be light; `build` imports what it needs.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, final

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.store import Entry
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.examples import Examples
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.specs import Spec, Topology

if TYPE_CHECKING:
    import torch

    from pytest_edgeai.measure.host import Host
    from pytest_edgeai.operators.networks import Origin
    from pytest_edgeai.subjects.graphs import GraphInputs

P = TypeVar("P", bound=Spec)

Form: TypeAlias = Literal["network", "graph", "int8 graph", "any graph", "parts", "nodes"]
"""What an operator starts from and what it makes: a torch network that can be trained, or an ONNX graph.

`any graph` is only taken; `parts` of a graph and graphs for several `nodes` are only given.
"""


class BuildError(EdgeAIError, RuntimeError):
    """An artifact that cannot be made; one sentence that names the mend where there is one."""


@dataclass(frozen=True, slots=True)
class Job:
    """What an operator gets to work with.

    Parameters
    ----------
    subject
        The subject model.
    folder
        Where to write `model.onnx`; pipeline and assets are put beside it by the caller.
    assets
        Where the files that the pipeline names are.
    scratch
        An empty folder for intermediate files; dropped afterwards.
    base
        What the operator before this one made, a graph or a network; None for the first of a chain.
    calibration
        Samples that are neither trained nor validated on.
    training
        Returns the samples to train on; only for an operator that says it `trains`.
    seed
        For every generator of random numbers.
    stage
        Tell it what is going on, in a word or two; shown as progress.
    """

    subject: SubjectModel
    folder: Path
    assets: Path
    scratch: Path
    base: Entry | None
    calibration: Examples
    training: Callable[[], Examples]
    seed: int
    stage: Callable[[str], None]

    def feeds(self, samples: Examples, numbers: Sequence[int]) -> dict[str, Array]:
        """Preprocess examples into a batch of the graph's inputs.

        Parameters
        ----------
        samples
            Of any split.
        numbers
            Which of them, in this order.
        """
        tensors = samples.batch(numbers)
        step = self.subject.pipeline.preprocess
        return tensors if step is None else step(tensors, self.assets)

    def example(self) -> dict[str, Array]:
        """A batch of two for exporters: the graph's inputs in the order of the network's arguments."""
        feeds = self.feeds(self.calibration, range(min(2, len(self.calibration))))
        return {name: feeds[name] for name in self.graph_inputs}

    @property
    def graph_inputs(self) -> tuple[str, ...]:
        """The names of the graph's inputs, in the order of the network's arguments or of the graph."""
        return self.subject.graph_inputs or tuple(self._given_inputs.shapes)

    @property
    def has_batch(self) -> bool:
        """Whether several examples can be put into one run of the graph."""
        return self.subject.graph is None or self._given_inputs.has_batch

    @property
    def _given_inputs(self) -> GraphInputs:
        from pytest_edgeai.subjects.graphs import inputs_of

        assert self.subject.graph is not None
        return inputs_of(self.subject.graph)

    def network(self) -> torch.nn.Module:
        """The network to start from, in eval mode: the one before this in a chain, or the subject model's."""
        from pytest_edgeai.operators import networks

        return self.subject.trained() if self.base is None else networks.load(self.base.folder, self.subject)

    @property
    def origin(self) -> Origin:
        """Which of the subject model's networks `network` came from."""
        from pytest_edgeai.operators import networks

        return "network" if self.base is None else networks.origin_of(self.base.folder)


class NoParameters(Spec):
    """The parameters of an operator that has none."""


class Operator(ABC, Generic[P]):
    """A transformation of a subject model.

    Parameters
    ----------
    parameters
        An instance of `parameters_type`.
    """

    name: str
    """As in test ids, options and reports."""

    takes: ClassVar[Form] = "network"
    """What it starts from. At the beginning of a chain a network is the subject model's, a graph that of `identity`."""

    gives: ClassVar[Form] = "graph"
    """What it makes."""

    promises: ClassVar[tuple[str, ...]] = ()
    """What `check` looks for in every graph that comes of what it makes, a word each: `zeros`, `structure`."""

    breaks: ClassVar[Mapping[str, str]] = {}
    """What it cannot keep of that which operators before it in a chain promise, with the reasons."""

    trains: ClassVar[bool] = False
    """Whether it reads the training samples, which then decide what it makes."""

    promises_speed: ClassVar[bool] = False
    """Whether there is no benefit in it where computing takes as long as the baseline's."""

    parameters_type: ClassVar[type[Spec]] = NoParameters
    """A frozen model of the operator's parameters with their defaults."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """The distributions whose version decides the artifact."""

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Files whose content decides the artifact: by default the one the class is in."""
        return (Path(inspect.getfile(cls)),)

    def takes_network(self, subject: SubjectModel, *, first: bool) -> bool:  # noqa: ARG002  # for others
        """Whether it starts from a torch network, and needs torch.

        Parameters
        ----------
        subject
            The subject model.
        first
            Whether no operator comes before it in a chain.
        """
        return self.takes == "network"

    def libraries_for(self, subject: SubjectModel, *, first: bool) -> tuple[str, ...]:  # noqa: ARG002  # for others
        """The distributions whose version decides the artifact of a subject model: by default `libraries`.

        Parameters
        ----------
        subject, first
            As in `takes_network`.
        """
        return self.libraries

    def requirements_for(self, subject: SubjectModel, *, first: bool) -> tuple[str, ...]:
        """The distributions without which nothing can be made: by default those of `libraries_for`.

        Parameters
        ----------
        subject, first
            As in `takes_network`.
        """
        return self.libraries_for(subject, first=first)

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers that the artifact's parts are made for; empty where it is whole."""
        return ()

    @property
    def nodes(self) -> int:
        """How many nodes of a tier the artifact is made for; above 1, it has what `pytest_edgeai.parallel` says."""
        return 1

    def bind(self, topology: Topology, allotments: Mapping[str, Allotment]) -> Operator[P]:  # noqa: ARG002  # for others
        """The operator for certain tiers and links: itself, where these decide nothing about the artifact.

        Parameters
        ----------
        topology
            The tiers and links of the settings.
        allotments
            The cores, memory and compute scale that each tier gets of this host.
        """
        return self

    def settled(self, host: Host) -> Operator[P]:  # noqa: ARG002  # for others
        """The operator with all decided that its artifact depends on: itself, unless the host decides something.

        Parameters
        ----------
        host
            The machine that builds the artifact.
        """
        return self

    def incompatibility(self, subject: SubjectModel) -> str:  # noqa: ARG002  # for others
        """Why nothing can be made of a subject model, in a sentence; empty where it can be tried.

        Parameters
        ----------
        subject
            The subject model.
        """
        return ""

    def check(self, graph: Path, provenance: Mapping[str, Any]) -> None:
        """Check a graph that came of what this operator made, be it by later steps of a chain, for what it promises.

        Parameters
        ----------
        graph
            Of floats, or int8 in QuantizeLinear/DequantizeLinear pairs.
        provenance
            What `build` returned, among other things.

        Raises
        ------
        BuildError
            The graph does not keep a promise.
        """

    @abstractmethod
    def build(self, job: Job) -> Mapping[str, Any]:
        """Write `model.onnx` into the job's folder; for several nodes, what `pytest_edgeai.parallel` says.

        Parameters
        ----------
        job
            What to work with.

        Returns
        -------
        Mapping
            Provenance as JSON values; `engine` says which library did the work.

        Raises
        ------
        BuildError
            The artifact cannot be made.
        """

    def divide(self, job: Job) -> Mapping[str, Any]:  # noqa: ARG002  # for others
        """Take the verified `model.onnx` of the job's folder apart, into a folder for each part; or leave it whole.

        Parameters
        ----------
        job
            What the graph was made with.

        Returns
        -------
        Mapping
            Provenance as JSON values.

        Raises
        ------
        BuildError
            It cannot be taken apart.
        """
        return {}


@dataclass(frozen=True, slots=True)
class Changed:
    """What an operator made of a network.

    Parameters
    ----------
    network
        On the CPU, in eval mode.
    origin
        Which of the subject model's networks it was made from.
    provenance
        JSON values; `engine` says which library did the work.
    """

    network: torch.nn.Module
    origin: Origin
    provenance: Mapping[str, Any]


class NetworkOperator(Operator[P]):
    """A transformation of a network into another network, which is exported where a graph is needed.

    Parameters
    ----------
    parameters
        An instance of `parameters_type`.
    """

    gives = "network"

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return the file the class is in, and that which keeps networks."""
        from pytest_edgeai.operators import networks

        return (*super().sources(), Path(networks.__file__))

    @abstractmethod
    def change(self, job: Job) -> Changed:
        """Make another network of the job's.

        Parameters
        ----------
        job
            What to work with.

        Raises
        ------
        BuildError
            It cannot be made.
        """

    @final
    def build(self, job: Job) -> Mapping[str, Any]:
        """Write the network into the job's folder.

        Parameters
        ----------
        job
            What to work with.
        """
        from pytest_edgeai.operators import networks

        changed = self.change(job)
        networks.save(changed.network, changed.origin, job.subject, job.folder)
        return changed.provenance
