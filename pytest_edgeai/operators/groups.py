"""Narrow groups of convolutions merged into wider ones that compute the same, because int8 kernels want wide ones.

ONNX Runtime's int8 convolution makes a matrix product of its own for each group. At 4 channels a group that takes 2.6
times as long as the float convolution; with weights of zero between the groups that are merged it is faster, and the
result is the same.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

    from pytest_edgeai.arrays import Array


def merge_narrow_groups(model: onnx.ModelProto, narrow: int, wide: int) -> int:
    """Merge the groups of convolutions, in place.

    Parameters
    ----------
    model
        A float graph.
    narrow
        Groups of fewer input channels are merged; single channels are not, for which there are kernels of their own.
    wide
        Merged groups have at most so many input channels.

    Returns
    -------
    int
        How many convolutions were changed.
    """
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    users = Counter(name for node in model.graph.node for name in node.input)
    changed = 0
    for node in model.graph.node:
        attribute = next((one for one in node.attribute if one.name == "group"), None)
        if node.op_type != "Conv" or attribute is None or users[node.input[1]] > 1 or node.input[1] not in weights:
            continue
        tensor = weights[node.input[1]]
        channels = tensor.dims[1]
        if attribute.i == 1 or not 1 < channels < narrow:
            continue
        together = max(
            n for n in range(1, attribute.i + 1) if attribute.i % n == 0 and (n == 1 or n * channels <= wide)
        )
        merged = block_diagonal(numpy_helper.to_array(tensor), attribute.i, together)
        tensor.CopyFrom(numpy_helper.from_array(merged, tensor.name))
        attribute.i //= together
        changed += together > 1
    return changed


def block_diagonal(weights: Array, groups: int, together: int) -> Array:
    """The weights of a convolution of fewer groups that computes the same.

    Parameters
    ----------
    weights
        Shape [output channels, input channels of a group, ...].
    groups
        Their number; output channels are in their order.
    together
        How many become one; divides `groups`.

    Returns
    -------
    Array
        Shape [output channels, together x input channels of a group, ...]; zero where a group has another's inputs.
    """
    outputs, channels, *kernel = weights.shape
    merged = np.zeros((outputs, together, channels, *kernel), weights.dtype)
    group = np.arange(outputs) // (outputs // groups)
    merged[np.arange(outputs), group % together] = weights
    return merged.reshape(outputs, together * channels, *kernel)
