"""`variants`: lighter variants of the subject model, trained together, whose answers are summed.

After Asadi and Goudarzi, *Variant Parallelism: Lightweight Deep Convolutional Models for Distributed Inference on IoT
Devices* (arXiv 2210.08376): each variant predicts all classes by itself, on a node of its own, and returns its k best.

A variant begins with what it has of the subject model, without the channels that matter least (first-order Taylor
expansion, by torch-pruning). They learn in one pass over the samples. The loss of a step is the mean of their own
losses, each between the labels and the subject model's answers, plus that of their mean probabilities, which is what
the receiver sums.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from pydantic import Field, model_validator

from pytest_edgeai.operators import BuildError, Job, Operator, channels, nodes, teacher, training
from pytest_edgeai.operators.channels import ChannelsParameters, without_channels
from pytest_edgeai.operators.export import EXPORT_LIBRARIES
from pytest_edgeai.operators.identity import IdentityParameters
from pytest_edgeai.operators.nodes import NodesParameters, classes_of, export_node, results_of
from pytest_edgeai.operators.pruned_structured import LIBRARY
from pytest_edgeai.operators.teacher import Teacher
from pytest_edgeai.operators.training import (
    Batch,
    Interventions,
    Lessons,
    fit,
    is_convolutional,
    laid_out,
    reproducible,
)
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.subjects import SubjectModel

if TYPE_CHECKING:
    import torch

_KEPT_BYTES: Final = 500_000_000  # of images that are not decoded again when they come up again
_LEAST_PIXELS: Final = 8
_ANEW: Final = "it removes other channels for each variant"


class VariantsParameters(NodesParameters, IdentityParameters, ChannelsParameters):
    """Parameters of `variants`.

    Parameters
    ----------
    k
        How many classes, with their scores, a variant answers with.
    deadline_s
        How long the receiver waits for variants.
    widths, resolutions
        Shares of the subject model's channels, and of its images' sides: of each variant, or of the first and the last
        with those between at equal distances.
    teacher_weight
        Of the cross-entropy with the subject model's answers in a variant's loss; that of the labels is what is left
        to 1.
    joint_weight
        Of the loss of all variants together beside the mean of their own.
    """

    training_samples: int = Field(default=24_000, ge=1)
    k: int = Field(default=2, ge=1)
    deadline_s: float = Field(default=1.0, gt=0)
    widths: tuple[float, ...] = (0.45, 0.35)
    resolutions: tuple[float, ...] = (1.0, 0.6)
    teacher_weight: float = Field(default=0.5, ge=0, le=1)
    joint_weight: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, shares in (("widths", self.widths), ("resolutions", self.resolutions)):
            if len(shares) not in (2, self.n) or not all(0 < share <= 1 for share in shares):
                raise ValueError(f"{name} are 2 or {self.n} shares above 0 and at most 1")
        return self

    @property
    def sizes(self) -> tuple[tuple[float, float], ...]:
        """Width and resolution of each variant."""
        return tuple(zip(_spread(self.widths, self.n), _spread(self.resolutions, self.n), strict=True))


class Variants(Operator[VariantsParameters]):
    """Variant parallelism."""

    name = "variants"
    gives = "nodes"
    breaks: ClassVar[Mapping[str, str]] = dict.fromkeys(("zeros", "structure"), _ANEW)
    trains = True
    promises_speed = True
    parameters_type = VariantsParameters
    libraries: ClassVar[tuple[str, ...]] = (LIBRARY, *EXPORT_LIBRARIES)

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those of the nodes, of channels, of the teacher and of the loop."""
        return (*super().sources(), *(Path(str(one.__file__)) for one in (nodes, channels, teacher, training)))

    @property
    def nodes(self) -> int:
        """How many variants there are."""
        return self.parameters.n

    def incompatibility(self, subject: SubjectModel) -> str:
        """Subject models without images, and those that nobody knows how to train, cannot be made lighter."""
        if subject.training is None:
            return f"subject model {subject.name!r} declares no training"
        if not isinstance(subject.pipeline.preprocess, ImagePreprocess):
            return f"the pipeline of subject model {subject.name!r} has no images whose resolution could be lowered"
        return ""

    def build(self, job: Job) -> Mapping[str, Any]:
        """Train the variants and write each for a node of its own."""
        parameters, refused = self.parameters, self.incompatibility(job.subject)
        if refused:
            raise BuildError(refused)
        pipelines = [at_resolution(job.subject.pipeline, share, parameters.k) for _, share in parameters.sizes]
        with reproducible(job.seed):
            whole = job.network()
            if not is_convolutional(whole):
                raise BuildError(
                    f"the network of {job.subject.name} has no convolutions of which there could be fewer channels"
                )
            variants = self._narrowed(whole, job)
            classes = classes_of(job, whole)
            if parameters.k > classes:
                raise BuildError(f"k = {parameters.k} is more than the {classes} classes of {job.subject.name}")
            lessons = _Sizes(job, pipelines, parameters.joint_weight)
            distillation = _Distillation(Teacher(whole, lessons), parameters.teacher_weight)
            seen = fit(_together(variants), lessons, parameters, job, distillation)
        job.stage("exporting")
        for number, (pipeline, network) in enumerate(zip(pipelines, variants, strict=True)):
            export_node(job, number, pipeline, network.eval(), parameters.opset)
        k = min(classes, results_of(job.subject.pipeline))
        Aggregation("variants", parameters.n, classes, k, parameters.deadline_s).write(job.folder)
        widths, resolutions = zip(*parameters.sizes, strict=True)
        return {"engine": LIBRARY, "training_samples": seen, "widths": widths, "resolutions": resolutions}

    def _narrowed(self, whole: torch.nn.Module, job: Job) -> list[torch.nn.Module]:
        """The whole network for each variant, without the channels that matter least."""
        parameters, lessons = self.parameters, Lessons(job)
        drawn = np.random.default_rng(job.seed).permutation(len(job.training()))[: parameters.importance_samples]
        numbers = drawn.tolist()
        variants = []
        for number, (width, _) in enumerate(parameters.sizes, start=1):
            job.stage(f"narrowing variant {number} of {parameters.n}")
            whole_width = width == 1
            variants.append(
                copy.deepcopy(whole)
                if whole_width
                else without_channels(whole, 1 - width, lessons, numbers, parameters)
            )
        return variants


def at_resolution(pipeline: Pipeline, share: float, k: int) -> Pipeline:
    """A pipeline of smaller images that answers with k classes.

    Parameters
    ----------
    pipeline
        Of images.
    share
        Of each side, in whole pixels.
    k
        How many classes, with their scores, it answers with.
    """
    before = pipeline.preprocess
    assert isinstance(before, ImagePreprocess)
    resize = _scaled(before.resize, share) if isinstance(before.resize, int) else _smaller(before.resize, share)
    crop = None if before.crop is None else _smaller(before.crop, share)
    after = pipeline.postprocess or Classification()
    return Pipeline(
        dataclasses.replace(before, resize=resize, crop=crop),
        dataclasses.replace(after, k=k),
    )


class _Sizes(Lessons):
    """Each sample at the subject model's own resolution, and after it at those of the variants.

    Parameters
    ----------
    job
        Of a subject model with images.
    pipelines
        Of the variants.
    joint_weight
        Of the loss of all together.
    """

    def __init__(self, job: Job, pipelines: Sequence[Pipeline], joint_weight: float) -> None:
        super().__init__(job)
        self._steps = [one.preprocess for one in (job.subject.pipeline, *pipelines)]
        self._kept: dict[int, tuple[torch.Tensor, ...]] = {}
        self._kept_bytes = 0
        alone = self.loss

        def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            """Of logits [variants, n, classes], without a teacher."""
            import torch

            own = torch.stack([alone(one, labels) for one in logits]).mean()
            # Logarithms of probabilities are logits, too.
            together = logits.log_softmax(2).logsumexp(0) - np.log(len(logits))
            return own + joint_weight * alone(together, labels)

        self.loss = loss

    def batch(self, numbers: tuple[int, ...]) -> Batch:
        """Samples by their numbers, at all resolutions."""
        import torch

        rows = [self._images(number) for number in numbers]
        inputs = tuple(laid_out(torch.cat(column)).to(self.device) for column in zip(*rows, strict=True))
        labels = torch.from_numpy(self._samples.labels[list(numbers)])
        return Batch(numbers, inputs, labels.to(self.device))

    def _images(self, number: int) -> tuple[torch.Tensor, ...]:
        import torch

        if number in self._kept:
            return self._kept[number]
        tensors = self._samples.batch([number])
        name = self._job.subject.graph_inputs[0]
        steps = (step for step in self._steps if step is not None)
        images = tuple(torch.from_numpy(step(tensors, self._job.assets)[name]) for step in steps)
        size_bytes = sum(image.nbytes for image in images)
        if self._kept_bytes + size_bytes <= _KEPT_BYTES:
            self._kept[number] = images
            self._kept_bytes += size_bytes
        return images


class _Distillation(Interventions):
    """The subject model's answers as part of each variant's loss."""

    def __init__(self, whole: Teacher, weight: float) -> None:
        self._whole = whole
        self._weight = weight

    def loss(self, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        """Mix both losses."""
        if not self._weight:
            return loss
        known = self._whole(dataclasses.replace(batch, inputs=batch.inputs[:1])).softmax(1)
        taught = -(known * logits.log_softmax(2)).sum(2).mean()
        return (1 - self._weight) * loss + self._weight * taught


def _together(variants: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """One network that takes each variant's images after those of the subject model, and stacks their logits."""
    import torch

    class Together(torch.nn.ModuleList):
        def forward(self, whole: torch.Tensor, *images: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  # the teacher's
            return torch.stack([variant(image) for variant, image in zip(self, images, strict=True)])

    return Together(variants)


def _spread(shares: Sequence[float], count: int) -> tuple[float, ...]:
    if len(shares) == count:
        return tuple(shares)
    return tuple(np.linspace(shares[0], shares[-1], count).round(4).tolist())


def _smaller(size: tuple[int, int], share: float) -> tuple[int, int]:
    return _scaled(size[0], share), _scaled(size[1], share)


def _scaled(side: int, share: float) -> int:
    return min(side, max(_LEAST_PIXELS, round(side * share)))
