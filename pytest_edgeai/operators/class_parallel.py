"""`class_parallel`: the network for each of several groups of classes by itself, pruned to what that group needs.

After Wang et al., *sensAI: ConvNets Decomposition via Class Parallelism for Fast Inference on Live Data* (MLSys 2021).
Every node returns the logits of its group, and all are needed for an answer.

sensAI removes channels by how little a group's samples activate them, and trains each part by itself with samples of
other classes as negatives. Here channels go by the first-order Taylor expansion of the loss on the group's samples
(torch-pruning), and the parts learn in one pass over the samples by the loss of their joined logits: what the receiver
joins has to be of one scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pytest_edgeai.operators import BuildError, Job, Operator, channels, nodes, training
from pytest_edgeai.operators.channels import ChannelsParameters, without_channels
from pytest_edgeai.operators.export import EXPORT_LIBRARIES
from pytest_edgeai.operators.identity import IdentityParameters
from pytest_edgeai.operators.nodes import NodesParameters, classes_of, export_node, results_of
from pytest_edgeai.operators.pruned_structured import LIBRARY
from pytest_edgeai.operators.training import Lessons, fit, is_convolutional, reproducible
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.serving.pipeline import Pipeline, TextPreprocess
from pytest_edgeai.subjects import SubjectModel

if TYPE_CHECKING:
    import torch


_FEWER = "it removes other channels for each group of classes"


class ClassParallelParameters(NodesParameters, IdentityParameters, ChannelsParameters):
    """Parameters of `class_parallel`.

    Parameters
    ----------
    channels
        Share of the channels of all convolutions that is removed from each part.
    """

    training_samples: int = Field(default=9600, ge=1)
    channels: float = Field(default=0.5, gt=0, lt=1)


class ClassParallel(Operator[ClassParallelParameters]):
    """Class parallelism."""

    name = "class_parallel"
    gives = "nodes"
    breaks: ClassVar[Mapping[str, str]] = dict.fromkeys(("zeros", "structure"), _FEWER)
    trains = True
    promises_speed = True
    parameters_type = ClassParallelParameters
    libraries: ClassVar[tuple[str, ...]] = (LIBRARY, *EXPORT_LIBRARIES)

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those of the nodes, of channels and of the loop."""
        return (*super().sources(), *(Path(str(one.__file__)) for one in (nodes, channels, training)))

    @property
    def nodes(self) -> int:
        """How many groups of classes there are."""
        return self.parameters.n

    def incompatibility(self, subject: SubjectModel) -> str:
        """Text models, and those that nobody knows how to train, are not taken apart by classes."""
        if isinstance(subject.pipeline.preprocess, TextPreprocess):
            return f"subject model {subject.name!r} is one of text, and channels of convolutions are what is divided"
        return "" if subject.training else f"subject model {subject.name!r} declares no training"

    def build(self, job: Job) -> Mapping[str, Any]:
        """Prune a part for each group, train the parts and write each for a node of its own."""
        parameters, refused = self.parameters, self.incompatibility(job.subject)
        if refused:
            raise BuildError(refused)
        with reproducible(job.seed):
            whole, lessons = job.network(), Lessons(job)
            if not is_convolutional(whole):
                raise BuildError(
                    f"the network of {job.subject.name} has no convolutions whose channels could be divided"
                )
            classes = classes_of(job, whole)
            if classes < parameters.n:
                raise BuildError(f"{classes} classes cannot be divided among {parameters.n} nodes")
            groups = [group.tolist() for group in np.array_split(np.arange(classes), parameters.n)]
            parts = []
            for number, group in enumerate(groups):
                job.stage(f"pruning for group {number + 1} of {parameters.n}")
                parts.append(self._part(whole, group, job, lessons))
            seen = fit(_joined(parts), lessons, parameters, job)
        job.stage("exporting")
        for number, part in enumerate(parts):
            export_node(job, number, Pipeline(job.subject.pipeline.preprocess), part.eval(), parameters.opset)
        k = min(classes, results_of(job.subject.pipeline))
        aggregation = Aggregation("classes", parameters.n, classes, k, groups=tuple(map(tuple, groups)))
        aggregation.write(job.folder)
        return {"engine": LIBRARY, "training_samples": seen, "groups": groups}

    def _part(self, whole: torch.nn.Module, group: Sequence[int], job: Job, lessons: Lessons) -> torch.nn.Module:
        """The network without the channels that matter least to a group, and with its logits only."""
        from torch import nn

        part = without_channels(whole, self.parameters.channels, lessons, self._samples(group, job), self.parameters)
        name, head = [(name, one) for name, one in part.named_modules() if isinstance(one, nn.Linear)][-1]
        part.set_submodule(name, _rows(head, group))
        return part

    def _samples(self, group: Sequence[int], job: Job) -> tuple[int, ...]:
        """Numbers of training samples of a group's classes."""
        numbers = np.flatnonzero(np.isin(job.training().labels, group))
        if not len(numbers):
            raise BuildError(f"there is no training sample of the classes {group[0]} to {group[-1]}")
        chosen = np.random.default_rng(job.seed).permutation(numbers)[: self.parameters.importance_samples]
        return tuple(chosen.tolist())


def _rows(head: torch.nn.Linear, group: Sequence[int]) -> torch.nn.Linear:
    """The rows of a classifier for some classes."""
    import torch

    rows = torch.nn.Linear(head.in_features, len(group), bias=head.bias is not None)
    with torch.no_grad():
        rows.weight.copy_(head.weight[list(group)])
        if head.bias is not None:
            rows.bias.copy_(head.bias[list(group)])
    return rows


def _joined(parts: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """One network that joins the logits of its parts, whose classes follow each other."""
    import torch

    class Joined(torch.nn.ModuleList):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return torch.cat([part(*inputs) for part in self], 1)

    return Joined(parts)
