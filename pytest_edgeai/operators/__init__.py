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
from typing import Any, ClassVar, Generic, TypeVar

from pytest_edgeai.artifacts import Entry
from pytest_edgeai.serving.protocol import Array
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.samples import Samples
from pytest_edgeai.tiers.specs import Spec

P = TypeVar("P", bound=Spec)


class BuildError(RuntimeError):
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
    scratch
        An empty folder for intermediate files; dropped afterwards.
    base
        The artifact of the operator named by `Operator.base`, or None.
    calibration
        Samples that are neither trained nor validated on.
    seed
        For every generator of random numbers.
    stage
        Tell it what is going on, in a word or two; shown as progress.
    """

    subject: SubjectModel
    folder: Path
    scratch: Path
    base: Entry | None
    calibration: Samples
    seed: int
    stage: Callable[[str], None]

    def feeds(self, samples: Samples, numbers: Sequence[int]) -> dict[str, Array]:
        """Samples pre-processed into a batch of the graph's inputs."""
        tensors = samples.batch(numbers)
        step = self.subject.pipeline.preprocess
        return tensors if step is None else step(tensors, self.folder)


class NoParameters(Spec):
    """The parameters of an operator that has none."""


class Operator(ABC, Generic[P]):
    """A transformation of a subject model.

    Parameters
    ----------
    parameters
        An instance of `parameters_type`.
    """

    name: ClassVar[str]
    """As in test ids, options and reports."""

    base: ClassVar[str | None] = None
    """The operator whose artifact this one starts from, or None for the network itself."""

    parameters_type: ClassVar[type[Spec]] = NoParameters
    """A frozen model of the operator's parameters with their defaults."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version decides the artifact."""

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Files whose content decides the artifact: by default the one the class is in."""
        return (Path(inspect.getfile(cls)),)

    @abstractmethod
    def build(self, job: Job) -> Mapping[str, Any]:
        """Write `model.onnx` into the job's folder.

        Returns
        -------
        Mapping
            Provenance as JSON values; `engine` says which library did the work.

        Raises
        ------
        BuildError
            The artifact cannot be made.
        """
