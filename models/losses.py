"""Losses that subject models are trained by, for their training scripts and for operators that train further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fixtures import digit_pairs

if TYPE_CHECKING:
    import torch


def both_digits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of two digits together and of each by itself.

    A class has sixty scenes, a digit in one place six hundred: its share of the loss is what gets learning started.

    Parameters
    ----------
    logits
        Of the 100 classes, shape [n, 100].
    labels
        Ten times the left digit plus the right one, shape [n].

    Returns
    -------
    Tensor
        The sum of three means.
    """
    from torch.nn.functional import cross_entropy

    # The probability of a digit is the sum of its ten classes'.
    grid = logits.reshape(len(logits), 10, digit_pairs.CLASSES // 10)
    left = cross_entropy(grid.logsumexp(2), labels // 10)
    right = cross_entropy(grid.logsumexp(1), labels % 10)
    return cross_entropy(logits, labels) + left + right
