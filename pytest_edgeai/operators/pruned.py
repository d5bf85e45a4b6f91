"""`pruned`: weights set to zero in small blocks while training, by Intel Neural Compressor's SNIP with momentum.

The zeros are stored like other numbers: the file is as large, and ONNX Runtime as slow, as before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pytest_edgeai.operators import BuildError, Changed, Job, NetworkOperator, neural_compressor, training
from pytest_edgeai.operators.neural_compressor.networks import prune
from pytest_edgeai.operators.training import Lessons, Schedule, fit, reproducible
from pytest_edgeai.operators.verification import weight_counts

_TOLERANCE = 0.01
_LAYER_OUTPUT = re.compile(r"\.layer\.\d+\.output$")  # in transformers' encoders


class PrunedParameters(Schedule):
    """Parameters of `pruned`.

    Parameters
    ----------
    pattern
        Blocks of output channels by input channels that are pruned together; None chooses by the network: `2x1` in a
        convolutional one, `4x1` in a transformer, as in the study.
    sparsity
        Share of zeros among the weights of all convolutions and matrix products but the last; None chooses by the
        network: 0.75 in a convolutional one, 0.9 in a transformer, as in the study.
    pruning_end
        Share of the training after which masks stay as they are.
    masks
        How often masks are drawn until then.
    excluded
        Regular expressions of the names of torch modules that are left alone.
    match_layers
        Whether the outputs of a transformer's layers are kept close to what they were; at nine zeros in ten weights,
        answers alone are too little to learn from.
    label_weight
        Of the subject model's loss beside the errors of matched layers.
    match_training_samples, match_learning_rate, match_batch
        Instead of `training_samples`, `learning_rate` and `batch` where layers are matched: there is more to learn from
        each sample, and it takes larger steps and more of them.
    """

    training_samples: int = Field(default=3200, ge=1)
    learning_rate_share: float = Field(default=0.5, gt=0)
    pattern: str | None = Field(default=None, pattern=r"^[0-9]+x[0-9]+$")
    sparsity: float | None = Field(default=None, gt=0, lt=1)
    pruning_end: float = Field(default=0.6, gt=0, le=1)
    masks: int = Field(default=25, ge=1)
    excluded: tuple[str, ...] = ()
    match_layers: bool = True
    label_weight: float = Field(default=0.1, ge=0)
    match_training_samples: int = Field(default=8800, ge=1)
    match_learning_rate: float = Field(default=2e-3, gt=0)
    match_batch: int = Field(default=16, ge=2)


class Pruned(NetworkOperator[PrunedParameters]):
    """Pruning in blocks."""

    name = "pruned"
    promises = ("zeros",)
    trains = True
    parameters_type = PrunedParameters
    libraries: ClassVar[tuple[str, ...]] = (*neural_compressor.LIBRARIES, "torch", "safetensors")

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those of the shims and of the loop."""
        return (*super().sources(), neural_compressor.SOURCES, Path(training.__file__))

    def change(self, job: Job) -> Changed:
        """Prune while training."""
        parameters = schedule = self.parameters
        with reproducible(job.seed):
            lessons = Lessons(job)
            network = job.network().to(lessons.device)
            convolutional = training.is_convolutional(network)
            pattern = parameters.pattern or ("2x1" if convolutional else "4x1")
            sparsity = parameters.sparsity or (0.75 if convolutional else 0.9)
            matched = [name for name, _ in network.named_modules() if _LAYER_OUTPUT.search(name)]
            if not parameters.match_layers:
                matched = []
            if matched:
                schedule = parameters.model_copy(
                    update={
                        "learning_rate": parameters.match_learning_rate,
                        "training_samples": parameters.match_training_samples,
                        "batch": parameters.match_batch,
                    }
                )
            last = max(1, int(parameters.pruning_end * schedule.steps))
            seen = prune(
                network,
                lambda trained, interventions: fit(trained, lessons, schedule, job, interventions),
                job.scratch,
                pattern=pattern,
                sparsity=sparsity,
                first_step=0,
                last_step=last,
                frequency=max(1, last // parameters.masks),
                excluded=parameters.excluded,
                model=job.network().to(lessons.device),
                matched=matched,
                loss_weight=parameters.label_weight if matched else 1.0,
            )
        weights, zeros, pruned = _count(network)
        reached = zeros / pruned if pruned else 0.0
        if abs(reached - sparsity) > _TOLERANCE:
            raise BuildError(
                f"pruning reached a sparsity of {reached:.1%} and not {sparsity:.1%}: train longer "
                "(training_samples), or prune less (sparsity)"
            )
        return Changed(
            network,
            job.origin,
            {
                "engine": neural_compressor.LIBRARY,
                "training_samples": seen,
                "pattern": pattern,
                "pruned_layers_sparsity": reached,
                "network_sparsity": zeros / weights,
            },
        )

    def check(self, graph: Path, provenance: Mapping[str, Any]) -> None:
        """Count the zeros of the graph."""
        weights, zeros = weight_counts(graph)
        expected = provenance["network_sparsity"]
        if weights == 0 or zeros / weights < expected - _TOLERANCE:
            raise BuildError(
                f"{zeros / max(1, weights):.1%} of the graph's weights are zero, and not the {expected:.1%} of the "
                "network's that were pruned"
            )


def _count(network: Any) -> tuple[int, int, int]:
    """Weights of convolutions and matrix products, zeros among them, and how many are in layers with any zero."""
    from torch import nn

    weights = zeros = pruned = 0
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            size, zero = module.weight.numel(), int((module.weight == 0).sum())
            weights, zeros, pruned = weights + size, zeros + zero, pruned + (size if zero else 0)
    return weights, zeros, pruned
