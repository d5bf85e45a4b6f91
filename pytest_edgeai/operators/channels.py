"""Channels removed from a trained network: those that matter least to some of its samples, by torch-pruning."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pytest_edgeai.operators import BuildError
from pytest_edgeai.operators.training import Lessons, Schedule

if TYPE_CHECKING:
    import torch


class ChannelsParameters(Schedule):
    """Parameters of operators that remove channels by what they matter to samples.

    Parameters
    ----------
    multiple
        Channels are left in multiples of this, in which processors compute.
    importance_samples
        How many samples say which channels matter.
    """

    multiple: int = Field(default=8, ge=1)
    importance_samples: int = Field(default=128, ge=1)


def without_channels(
    whole: torch.nn.Module, share: float, lessons: Lessons, numbers: Sequence[int], parameters: ChannelsParameters
) -> torch.nn.Module:
    """A copy of a network without a share of the channels of all its convolutions.

    Parameters
    ----------
    whole
        Trained; on any device, and left as it is.
    share
        Of the channels that are removed; those by whose removal the loss on the samples changes least, by its
        first-order Taylor expansion.
    lessons
        Samples and loss.
    numbers
        Of the samples.
    parameters
        What is left, and how many samples are looked at at a time.

    Returns
    -------
    torch.nn.Module
        On the CPU, with the same outputs.

    Raises
    ------
    BuildError
        Nothing could be removed.
    """
    import torch_pruning
    from torch import nn

    part = copy.deepcopy(whole).to(lessons.device)
    for at in range(0, len(numbers), parameters.batch):
        batch = lessons.batch(tuple(numbers[at : at + parameters.batch]))
        lessons.loss(part(*batch.inputs), batch.labels).backward()  # type: ignore[no-untyped-call]
    part.cpu()
    example = tuple(tensor.cpu() for tensor in lessons.batch((0, 1)).inputs)
    before = _size(part)
    torch_pruning.pruner.BasePruner(
        part,
        example[0] if len(example) == 1 else example,
        importance=torch_pruning.importance.GroupTaylorImportance(),
        pruning_ratio=share,
        ignored_layers=[[one for one in part.modules() if isinstance(one, nn.Linear)][-1]],
        round_to=parameters.multiple,
    ).step()
    if _size(part) == before:
        raise BuildError("nothing could be removed: remove a larger share of the channels")
    part.zero_grad()
    return part


def _size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
