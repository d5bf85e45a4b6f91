"""What a teacher answers to training samples, for those who learn to answer alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_edgeai.operators.training import Batch, Lessons

if TYPE_CHECKING:
    import torch


class Teacher:
    """The teacher's logits, computed once a sample.

    Parameters
    ----------
    network
        The teacher.
    lessons
        Where it is to compute.
    """

    def __init__(self, network: torch.nn.Module, lessons: Lessons) -> None:
        self._network = network.to(lessons.device).eval()
        self._logits: dict[int, torch.Tensor] = {}

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Logits [n, classes] of a batch in the teacher's own form."""
        import torch

        new = [place for place, number in enumerate(batch.numbers) if number not in self._logits]
        if new:
            with torch.no_grad():
                logits = self._network(*(tensor[new] for tensor in batch.inputs))
            self._logits.update(zip((batch.numbers[place] for place in new), logits, strict=True))
        return torch.stack([self._logits[number] for number in batch.numbers])
