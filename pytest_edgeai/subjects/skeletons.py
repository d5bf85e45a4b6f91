"""Skeletons: ONNX graphs whose weights are in a safetensors file beside them, under the names of the initializers.

A skeleton is what torch exports before it folds constants, so that every weight still is what the network calls it.
Filling it and folding then gives the graph that torch would have exported, and needs no torch. In the file, such an
initializer has its type and shape, and the name of the safetensors file as the location of its external data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects.graphs import GraphError, copy_graph, read_graph, weight_files

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

SUFFIX = ".safetensors"
LIBRARIES = ("onnx", "onnxscript")
"""What decides the graph that is put in place of a subject model's: onnxscript folds the constants of a skeleton."""


def put_graph(path: Path, target: Path) -> str:
    """Put a subject model's graph in place: a skeleton is filled, anything else copied.

    Returns
    -------
    str
        What did it: `onnxscript` or `copy`.

    Raises
    ------
    GraphError
        It is not an ONNX file, or its weights are missing or of another graph.
    """
    if is_skeleton(path):
        fill(path, target)
        return "onnxscript"
    copy_graph(path, target)
    return "copy"


def is_skeleton(path: Path) -> bool:
    """Whether the weights of an ONNX file are in a safetensors file.

    Raises
    ------
    GraphError
        It is not an ONNX file.
    """
    is_possible = any(path.parent.glob(f"*{SUFFIX}"))  # a large file is not read where it cannot be one
    return is_possible and any(file.suffix == SUFFIX for file in weight_files(path))


def fill(skeleton: Path, target: Path) -> None:
    """Write the graph of a skeleton with its weights, and all folded that is constant.

    Parameters
    ----------
    skeleton
        Beside its weights. They may be stored in another precision.
    target
        The graph's file, which has the weights in it.

    Raises
    ------
    GraphError
        The weights are not those of this graph.
    """
    import onnx_ir as ir
    from onnx import helper, numpy_helper
    from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data
    from onnxscript.optimizer import optimize

    weights = {file.name: _read(file) for file in weight_files(skeleton) if file.suffix == SUFFIX}
    model = read_graph(skeleton)
    for tensor in filter(uses_external_data, model.graph.initializer):
        location = ExternalDataInfo(tensor).location
        if location not in weights:
            load_external_data_for_tensor(tensor, str(skeleton.parent))
            continue
        values = _fitting(tensor, weights[location], str(skeleton), location)
        numbers = values.astype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    filled = ir.from_proto(model)
    optimize(filled)
    strip(filled)
    ir.save(filled, target)


def empty(model: onnx.ModelProto, weights: Path) -> None:
    """Make a skeleton of a graph: take out all initializers that a safetensors file holds.

    Parameters
    ----------
    model
        Is changed. Its initializers have the names of the weights.
    weights
        The file that will be beside the skeleton.

    Raises
    ------
    GraphError
        A weight has another shape in the graph.
    """
    known = _read(weights)
    for tensor in model.graph.initializer:
        if tensor.name in known:
            _fitting(tensor, known, "the graph", weights.name)
            tensor.ClearField("raw_data")
            tensor.data_location = tensor.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value=weights.name)


def strip(model: ir.Model) -> None:
    """Drop an exporter's notes: stack traces with the paths of this machine, which would differ on the next."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _read(path: Path) -> Mapping[str, Array]:
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except Exception as error:  # noqa: BLE001  # its own class, numpy's for a type that numpy lacks, the system's
        raise GraphError(f"{path} cannot be read as safetensors: {' '.join(str(error).split())[:200]}") from None


def _fitting(tensor: onnx.TensorProto, weights: Mapping[str, Array], graph: str, file: str) -> Array:
    """The weight for an initializer, which has its shape."""
    if tensor.name not in weights:
        raise GraphError(f"{graph} does not fit {file}: it wants a tensor {tensor.name!r}, which is not there")
    found, wanted = weights[tensor.name], tuple(tensor.dims)
    if found.shape != wanted:
        raise GraphError(
            f"{graph} does not fit {file}: {tensor.name!r} has shape {list(found.shape)} there and {list(wanted)} in "
            "the graph"
        )
    return found
