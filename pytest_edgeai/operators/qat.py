"""`qat`: quantization-aware training by Intel Neural Compressor, exported as an int8 graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pytest_edgeai.operators import Job, neural_compressor, training
from pytest_edgeai.operators.neural_compressor.networks import FLOAT_IN_TRANSFORMERS, train_quantized
from pytest_edgeai.operators.reduced_range import QuantizingOperator, RangeParameters
from pytest_edgeai.operators.training import Lessons, Schedule, fit, reproducible
from pytest_edgeai.serving.repository import GRAPH_NAME


class QatParameters(Schedule, RangeParameters):
    """Parameters of `qat`.

    Parameters
    ----------
    keep_float
        Types of torch modules that are not quantized; None chooses by the network: none in a convolutional one; in a
        transformer all but the matrix products, since the exporter has no way to write quantized embeddings.
    opset
        Version of the ONNX operator set. The exporter that can write quantized modules ends at 17.
    """

    training_samples: int = Field(default=960, ge=1)
    learning_rate_share: float = Field(default=0.1, gt=0)
    keep_float: tuple[str, ...] | None = None
    opset: int = Field(default=17, ge=13, le=17)


class QuantizationAwareTraining(QuantizingOperator[QatParameters]):
    """Quantization-aware training."""

    name = "qat"
    gives = "int8 graph"
    trains = True
    promises_speed = True
    parameters_type = QatParameters
    libraries: ClassVar[tuple[str, ...]] = (*neural_compressor.LIBRARIES, "torch")

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those of the shims and of the loop."""
        return (*super().sources(), neural_compressor.SOURCES, Path(training.__file__))

    def build(self, job: Job) -> Mapping[str, Any]:
        """Train with simulated quantization and export."""
        parameters = self.parameters
        with reproducible(job.seed):
            network, lessons = job.network(), Lessons(job)
            keep_float = parameters.keep_float
            if keep_float is None:
                keep_float = () if training.is_convolutional(network) else FLOAT_IN_TRANSFORMERS
            seen = train_quantized(
                network,
                lambda trained, interventions: fit(trained, lessons, parameters, job, interventions),
                job.example(),
                job.folder / GRAPH_NAME,
                job.scratch,
                opset=parameters.opset,
                keep_float=keep_float,
                reduce_range=self.reduces_range,
            )
        return {
            "engine": neural_compressor.LIBRARY,
            "training_samples": seen,
            "kept_float": list(keep_float),
            "opset": parameters.opset,
            "reduce_range": self.reduces_range,
        }
