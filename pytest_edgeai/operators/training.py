"""Training of networks by operators: a subject model's lessons in batches, and one loop for all who train.

What is learned is the subject model's business (`subjects.Training`), what happens between two steps that of whoever
passes `Interventions`. Reproducible on one processor: one thread, one seed.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field

from pytest_edgeai.operators import BuildError, Job
from pytest_edgeai.operators.device import training_device
from pytest_edgeai.serving.pipeline import TextPreprocess
from pytest_edgeai.tiers.specs import Spec

if TYPE_CHECKING:
    import torch

    Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LARGEST_GRADIENT = 1.0
_WARM_UP = 0.1
_REPORTS = 20


class Schedule(Spec):
    """How long and how fast to learn; the parameters that all training operators share.

    Parameters
    ----------
    training_samples
        How many samples are learned from, counted again each time they come up.
    learning_rate
        At its highest, after a tenth of all steps; it begins and ends near zero. None takes a share of the subject
        model's.
    learning_rate_share
        That share.
    weight_decay
        Of AdamW.
    batch
        Samples a step.
    """

    training_samples: int = Field(ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    learning_rate_share: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    batch: int = Field(default=32, ge=2)

    @property
    def steps(self) -> int:
        """How many steps that makes."""
        return max(1, self.training_samples // self.batch)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some training samples.

    Parameters
    ----------
    numbers
        Which ones.
    inputs
        The positional tensors of a network.
    labels
        True classes, shape [n].
    """

    numbers: tuple[int, ...]
    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor


class Interventions:
    """What a compression does around the steps of training; by default nothing."""

    def before_step(self, step: int) -> None:
        """Before the network is run."""

    def loss(self, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  # for others
        """Another loss in place of the subject's."""
        return loss

    def before_update(self) -> None:
        """When gradients are known."""

    def after_update(self) -> None:
        """When weights have changed."""


class Lessons:
    """A subject model's training samples as tensors, and the loss that is learned by.

    Parameters
    ----------
    job
        Of a subject model that declares its training.

    Raises
    ------
    BuildError
        It declares none.
    """

    def __init__(self, job: Job) -> None:
        if job.subject.training is None:
            raise BuildError(
                f"subject model {job.subject.name!r} declares no training, without which nothing can be trained: give "
                "its SubjectModel a `training`"
            )
        job.stage("reading training samples")
        self._job = job
        self._samples = job.training()
        self.loss: Loss = job.subject.training.loss
        self.learning_rate = job.subject.training.learning_rate
        self.device = training_device()

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    def batch(self, numbers: tuple[int, ...]) -> Batch:
        """Samples by their numbers, pre-processed."""
        import torch

        feeds = self._job.feeds(self._samples, numbers)
        inputs = [torch.from_numpy(feeds[name]) for name in self._job.graph_inputs]
        preprocess = self._job.subject.pipeline.preprocess
        if isinstance(preprocess, TextPreprocess):
            mask = inputs[self._job.subject.graph_inputs.index(preprocess.outputs["attention_mask"])]
            # Padding takes as long as words and teaches nothing.
            longest = int(mask.sum(1).max())
            inputs = [tensor[:, :longest] for tensor in inputs]
        labels = torch.from_numpy(self._samples.labels[list(numbers)])
        return Batch(numbers, tuple(laid_out(tensor).to(self.device) for tensor in inputs), labels.to(self.device))

    def batches(self, schedule: Schedule, seed: int) -> Iterator[Batch]:
        """As many batches as a schedule has steps, shuffled anew each time the samples are through."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        size = min(schedule.batch, len(self))
        order: list[int] = []
        for _ in range(schedule.steps):
            if len(order) < size:
                order = torch.randperm(len(self), generator=generator).tolist()
            yield self.batch(tuple(order[:size]))
            del order[:size]


def fit(
    network: torch.nn.Module, lessons: Lessons, schedule: Schedule, job: Job, interventions: Interventions | None = None
) -> int:
    """Train a network.

    Parameters
    ----------
    network
        Is trained in place and left in eval mode, on the CPU. In a chain, weights of convolutions and matrix products
        that an operator before this has left at zero stay there.
    lessons
        What to learn.
    schedule
        How long and how fast.
    job
        Whose seed decides the order of samples, and which is told about progress.
    interventions
        What else happens.

    Returns
    -------
    int
        How many samples were learned from.

    Raises
    ------
    BuildError
        The loss is no number any more.
    """
    import torch

    between = interventions or Interventions()
    network.to(lessons.device).train()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    highest = schedule.learning_rate or schedule.learning_rate_share * lessons.learning_rate
    optimizer = torch.optim.AdamW(parameters, highest, weight_decay=schedule.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=schedule.steps + 1, pct_start=_WARM_UP)
    zeros = [] if job.base is None else _zeros(network)
    seen = 0
    for step, batch in enumerate(lessons.batches(schedule, job.seed)):
        if step % max(1, schedule.steps // _REPORTS) == 0:
            job.stage(f"training, {step / schedule.steps:.0%}")
        between.before_step(step)
        logits = network(*batch.inputs)
        loss = between.loss(batch, logits, lessons.loss(logits, batch.labels))
        if not torch.isfinite(loss):
            raise BuildError(
                f"training collapsed: the loss of step {step + 1} of {schedule.steps} is {loss.item()}; lower the "
                "operator's learning_rate"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types there
        torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        between.before_update()
        optimizer.step()
        between.after_update()
        for weight, held in zeros:
            weight.data[held] = 0
        rate.step()
        seen += len(batch.numbers)
    network.cpu().eval()
    return seen


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread and one seed for torch; what was before is put back afterwards."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.set_flush_denormal(True)  # vanishing gradients would take ten times as long
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The value of the smallest subnormal", UserWarning)  # numpy notices
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(mode=deterministic)
        torch.set_num_threads(threads)


def is_convolutional(network: torch.nn.Module) -> bool:
    """Whether there is a convolution in it; the study has other settings for transformers."""
    import torch

    return any(isinstance(module, torch.nn.Conv2d) for module in network.modules())


def _zeros(network: torch.nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights that are zero: the tensors they are in, and where."""
    from torch import nn

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [(layer.weight, layer.weight.detach() == 0) for layer in layers]


def laid_out(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as it is trained on: of images, the channels last, with which one thread is a third faster."""
    import torch

    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
