"""Trimmed means: of a few values of which some may be odd, without the largest and the smallest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_edgeai.stats.samples import FloatArray

LEFT_OUT = 0.2
"""Share of the values that is left out at either end."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Trimmed means of many rows of values.

    Parameters
    ----------
    means
        Of what is left.
    squares
        Winsorized sums of squares; over `left - 1` they estimate variances.
    left
        How many values of a row are left.
    """

    means: FloatArray
    squares: FloatArray
    left: int

    @property
    def df(self) -> int:
        """Degrees of freedom of the variances."""
        return self.left - 1


def trimmed(values: FloatArray) -> Trimmed:
    """Trimmed mean and winsorized sum of squares along the last axis.

    Parameters
    ----------
    values : array of shape (..., n)
        At least one value in each row.

    References
    ----------
    Yuen (1974), The two-sample trimmed t for unequal population variances, Biometrika 61(1).
    """
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    out = int(LEFT_OUT * n)
    kept = ordered[..., out : n - out]
    winsorized = np.clip(ordered, kept[..., :1], kept[..., -1:])
    squares = np.square(winsorized - winsorized.mean(axis=-1, keepdims=True)).sum(axis=-1)
    return Trimmed(kept.mean(axis=-1), squares, n - 2 * out)
