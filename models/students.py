"""Students of the subject models: half of the teacher, with the weights that it has there.

The study's students were trained before they were distilled into. These begin with what they inherit, so that a minute
of distillation is enough: every other block, as DistilBERT (Sanh et al. 2019, arXiv 1910.01108, section 2), or half of
each layer where too little is left of a teacher that lost a layer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from pytest_edgeai.subjects.encoder import SequenceClassifier

_NUMBER: Final = re.compile(r"(.*layer(\d*)\.)(\d+)(\..*)")


def inherit(student: torch.nn.Module, teacher: torch.nn.Module, kept: Sequence[Sequence[int]]) -> torch.nn.Module:
    """Give a student its teacher's weights.

    Parameters
    ----------
    student
        Like the teacher, with fewer blocks.
    teacher
        Trained.
    kept
        For each stage, the numbers of the teacher's blocks that the student has. Stages are modules called `layer1`,
        `layer2` and so on, or a single one called `layer`.

    Returns
    -------
    torch.nn.Module
        The student.
    """
    weights = teacher.state_dict()
    student.load_state_dict({name: weights[_inherited(name, kept)] for name in student.state_dict()})
    return student


def _inherited(name: str, kept: Sequence[Sequence[int]]) -> str:
    match = _NUMBER.fullmatch(name)
    if match is None:
        return name
    before, stage, block, after = match.groups()
    return f"{before}{kept[int(stage or 1) - 1][int(block)]}{after}"


def narrow(network: SequenceClassifier) -> SequenceClassifier:
    """Take half of the attention heads and of the inner neurons out of each layer: those with the smallest weights.

    Parameters
    ----------
    network
        Of the BERT family; is changed.
    """
    from transformers.pytorch_utils import prune_linear_layer

    family: Any = network.model.base_model
    for layer in family.encoder.layer:
        attention, output = layer.attention.self, layer.attention.output
        projections = ("query", "key", "value")
        rows = sum(getattr(attention, name).weight.square().sum(1) for name in projections)
        sizes = (rows + output.dense.weight.square().sum(0)).reshape(attention.num_attention_heads, -1)
        attention.num_attention_heads //= 2
        attention.all_head_size //= 2
        heads = _largest(sizes.sum(1), attention.num_attention_heads)
        kept: Any = (heads[:, None] * sizes.shape[1] + heads.new_tensor(range(sizes.shape[1]))).flatten()
        for name in projections:
            setattr(attention, name, prune_linear_layer(getattr(attention, name), kept))
        output.dense = prune_linear_layer(output.dense, kept, dim=1)
        inner, outer = layer.intermediate.dense, layer.output.dense
        neurons = inner.weight.square().sum(1) + outer.weight.square().sum(0)
        kept = _largest(neurons, len(neurons) // 2)
        layer.intermediate.dense = prune_linear_layer(inner, kept)
        layer.output.dense = prune_linear_layer(outer, kept, dim=1)
    return network


def _largest(sizes: torch.Tensor, count: int) -> Any:
    """The places of the largest, in order."""
    return sizes.topk(count).indices.sort().values
