"""From a torch network to an ONNX graph with a batch of any size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects.skeletons import strip

if TYPE_CHECKING:
    import torch

EXPORT_LIBRARIES = ("torch", "onnx", "onnxscript")
OUTPUT = "logits"
_LARGE_BYTES = 1_500_000_000  # protobuf ends at 2 GB: beyond, weights go to a file of their own


def export(
    network: torch.nn.Module, example: Mapping[str, Array], path: Path, opset: int, *, fold: bool = True
) -> None:
    """Write a network as an ONNX graph.

    Parameters
    ----------
    network
        Takes positional tensors and returns logits, or several tensors that its attribute `output_names` names.
    example
        A batch for each graph input, in the order of the network's arguments; dimension 0 is the batch and becomes
        dynamic. It holds 2 samples or more, since the exporter takes a batch of 1 for a constant.
    path
        The graph's file.
    opset
        Version of the ONNX operator set.
    fold
        Whether to compute what is constant, and so to change weights; without, it is left to who fills a skeleton.
    """
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
    network.eval()
    arguments = tuple(torch.from_numpy(array) for array in example.values())
    batch = torch.export.Dim("batch", min=1, max=4096)
    size_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations: nothing that a user can mend
        program = torch.onnx.export(
            network,
            arguments,
            dynamo=True,
            input_names=list(example),
            output_names=list(getattr(network, "output_names", (OUTPUT,))),
            opset_version=opset,
            dynamic_shapes=tuple({0: batch} for _ in arguments),
            verbose=False,
            optimize=fold,
        )
    assert program is not None
    strip(program.model)
    program.save(path, external_data=size_bytes > _LARGE_BYTES)


def tidy(path: Path) -> None:
    """Fold what is constant in a graph that another exporter wrote, and keep all numbers as initializers.

    Pairs of QuantizeLinear and DequantizeLinear stay.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import LiftConstantsToInitializersPass
    from onnxscript.optimizer import optimize_ir

    model = ir.load(path)
    optimize_ir(model)
    LiftConstantsToInitializersPass(lift_all_constants=True)(model)
    strip(model)
    size_bytes = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if size_bytes > _LARGE_BYTES else None)
