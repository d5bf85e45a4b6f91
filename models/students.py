"""Students of the subject models: every other block of the teacher, with the weights that it has there.

As DistilBERT's (Sanh et al. 2019, arXiv 1910.01108, section 2): what is left of a residual network is close to one that
works, so that minutes of distillation are enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

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
