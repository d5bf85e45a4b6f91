"""`distilled`: a smaller network that learned to answer as the subject model does, by Intel Neural Compressor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pytest_edgeai.operators import Changed, Job, NetworkOperator, networks, neural_compressor, training
from pytest_edgeai.operators.neural_compressor.networks import distil
from pytest_edgeai.operators.training import Batch, Lessons, Schedule, fit, reproducible

if TYPE_CHECKING:
    import torch

_ANEW = "it trains another network, the student: write it first"


class DistilledParameters(Schedule):
    """Parameters of `distilled`.

    Parameters
    ----------
    temperature
        By which the logits of both are divided.
    label_loss, teacher_loss
        Between the student's answers and the labels, or the teacher's answers.
    teacher_weight
        Of the second loss; that of the first is what is left to 1.
    """

    training_samples: int = Field(default=6400, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    teacher_loss: Literal["CE", "KL", "MSE"] = "CE"
    teacher_weight: float = Field(default=0.5, ge=0, le=1)


class Distilled(NetworkOperator[DistilledParameters]):
    """Knowledge distillation into the subject model's student."""

    name = "distilled"
    breaks: ClassVar[Mapping[str, str]] = dict.fromkeys(("zeros", "structure"), _ANEW)
    trains = True
    promises_speed = True
    parameters_type = DistilledParameters
    libraries: ClassVar[tuple[str, ...]] = (*neural_compressor.LIBRARIES, "torch", "safetensors")

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those of the shims and of the loop."""
        return (*super().sources(), neural_compressor.SOURCES, Path(training.__file__))

    def change(self, job: Job) -> Changed:
        """Train the student."""
        parameters = self.parameters
        with reproducible(job.seed):
            student = networks.build(job.subject, "student")
            lessons = Lessons(job)
            teacher = _Teacher(job.network(), lessons)
            seen = distil(
                student,
                teacher,
                lambda trained, interventions: fit(trained, lessons, parameters, job, interventions),
                job.scratch,
                temperature=parameters.temperature,
                teacher_loss=parameters.teacher_loss,
                teacher_weight=parameters.teacher_weight,
            )
        provenance = {"engine": neural_compressor.LIBRARY, "training_samples": seen}
        return Changed(student, "student", provenance)


class _Teacher:
    """The teacher's logits, computed once a sample."""

    def __init__(self, network: torch.nn.Module, lessons: Lessons) -> None:
        self._network = network.to(lessons.device).eval()
        self._logits: dict[int, torch.Tensor] = {}

    def __call__(self, batch: Batch) -> torch.Tensor:
        import torch

        new = [place for place, number in enumerate(batch.numbers) if number not in self._logits]
        if new:
            with torch.no_grad():
                logits = self._network(*(tensor[new] for tensor in batch.inputs))
            self._logits.update(zip((batch.numbers[place] for place in new), logits, strict=True))
        return torch.stack([self._logits[number] for number in batch.numbers])
