"""`distilled`: a smaller network that learned to answer as the subject model does, by Intel Neural Compressor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pytest_edgeai.operators import Changed, Job, NetworkOperator, networks, neural_compressor, teacher, training
from pytest_edgeai.operators.neural_compressor.networks import distil
from pytest_edgeai.operators.teacher import Teacher
from pytest_edgeai.operators.training import Lessons, Schedule, fit, reproducible

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
        """Return this file, and those of the shims, of the teacher and of the loop."""
        return (*super().sources(), neural_compressor.SOURCES, Path(teacher.__file__), Path(training.__file__))

    def change(self, job: Job) -> Changed:
        """Train the student."""
        parameters = self.parameters
        with reproducible(job.seed):
            student = networks.build(job.subject, "student")
            lessons = Lessons(job)
            seen = distil(
                student,
                Teacher(job.network(), lessons),
                lambda trained, interventions: fit(trained, lessons, parameters, job, interventions),
                job.scratch,
                temperature=parameters.temperature,
                teacher_loss=parameters.teacher_loss,
                teacher_weight=parameters.teacher_weight,
            )
        provenance = {"engine": neural_compressor.LIBRARY, "training_samples": seen}
        return Changed(student, "student", provenance)
