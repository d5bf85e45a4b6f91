"""`pruned_structured`: whole channels, neurons and attention heads removed by torch-pruning, then training.

Unlike `pruned` it makes the network smaller, and so its file, and the time that it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pytest_edgeai.operators import BuildError, Changed, Job, NetworkOperator, training
from pytest_edgeai.operators.training import Lessons, Schedule, fit, reproducible
from pytest_edgeai.operators.verification import weight_counts

if TYPE_CHECKING:
    import torch

LIBRARY = "torch-pruning"
_PROJECTIONS = ("query", "key", "value")


class StructuredParameters(Schedule):
    """Parameters of `pruned_structured`.

    Parameters
    ----------
    channels
        Share of the channels of all convolutions that is removed.
    neurons, heads
        Share of the inner neurons of a transformer's feed-forward networks, and of its attention heads.
    multiple
        Channels are left in multiples of this, in which processors compute.
    """

    training_samples: int = Field(default=3200, ge=1)
    channels: float = Field(default=0.3, gt=0, lt=1)
    neurons: float = Field(default=0.5, gt=0, lt=1)
    heads: float = Field(default=0.25, ge=0, lt=1)
    multiple: int = Field(default=8, ge=1)


class StructuredPruned(NetworkOperator[StructuredParameters]):
    """Structured pruning."""

    name = "pruned_structured"
    promises = ("structure",)
    breaks: ClassVar[Mapping[str, str]] = {
        "zeros": "what has most zeros is removed first, and a smaller share of what is left is zero: write it first"
    }
    trains = True
    promises_speed = True
    parameters_type = StructuredParameters
    libraries: ClassVar[tuple[str, ...]] = (LIBRARY, "torch", "safetensors")

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file and that of the loop."""
        return (*super().sources(), Path(training.__file__))

    def change(self, job: Job) -> Changed:
        """Remove what matters least by its weights' magnitude, and train what is left."""
        with reproducible(job.seed):
            network, lessons = job.network(), Lessons(job)
            before = _size(network)
            job.stage("pruning")
            example = lessons.batch((0, 1)).inputs
            self._prune(network, tuple(tensor.cpu() for tensor in example))
            after = _size(network)
            if after == before:
                raise BuildError("nothing could be removed: raise the operator's channels, neurons or heads")
            seen = fit(network, lessons, self.parameters, job)
        return Changed(
            network,
            job.origin,
            {
                "engine": LIBRARY,
                "training_samples": seen,
                "removed_parameters": before - after,
                "structured_weights": _weights(network),
            },
        )

    def check(self, graph: Path, provenance: Mapping[str, Any]) -> None:
        """Count the weights of the graph: zeros may be added to it, as between merged groups, and nothing else."""
        weights, zeros = weight_counts(graph)
        expected = provenance["structured_weights"]
        if weights - zeros > expected:
            raise BuildError(
                f"{weights - zeros:,} of the graph's weights are not zero, and the network was left with {expected:,} "
                "weights when channels, neurons and heads were removed"
            )

    def _prune(self, network: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> None:
        import torch_pruning
        from torch import nn

        options: Mapping[str, Any]
        attentions = list(_attentions(network))
        if training.is_convolutional(network):
            last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1:]
            options = {"pruning_ratio": self.parameters.channels, "ignored_layers": last}
            options = {**options, "round_to": self.parameters.multiple}
        elif attentions:
            heads = {getattr(one, name): one.num_attention_heads for one in attentions for name in _PROJECTIONS}
            inner = {module for name, module in network.named_modules() if name.endswith("intermediate.dense")}
            # What is between blocks stays as wide as it is: all of them add to it.
            kept = [
                module
                for module in network.modules()
                if isinstance(module, nn.Linear | nn.Embedding) and module not in inner and module not in heads
            ]
            options = {
                "pruning_ratio": self.parameters.neurons,
                "ignored_layers": kept,
                "num_heads": heads,
                "prune_num_heads": True,
                "prune_head_dims": False,
                "head_pruning_ratio": self.parameters.heads,
            }
        else:
            raise BuildError(
                "it is known how to remove channels from convolutions and heads from transformers' attention, and this "
                "network has neither"
            )
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        inputs = example[0] if len(example) == 1 else example
        pruner = torch_pruning.pruner.BasePruner(network, inputs, importance=importance, **options)
        pruner.step()
        for one in attentions:
            one.num_attention_heads = pruner.num_heads[one.query]
            one.all_head_size = one.query.out_features


def _attentions(network: torch.nn.Module) -> Iterator[Any]:
    """Modules with the projections and attributes of transformers' BERT family."""
    from torch import nn

    for module in network.modules():
        if all(isinstance(getattr(module, name, None), nn.Linear) for name in _PROJECTIONS):
            yield module


def _weights(network: torch.nn.Module) -> int:
    """How many weights convolutions and matrix products have."""
    from torch import nn

    return sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))


def _size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
