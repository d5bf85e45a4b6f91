"""The settings that MLServer reads beside a model: `model-settings.json`, from the graph's own tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.commands.triton import graph_tensors
from pytest_edgeai.serving.extensions import PLATFORM

FILE_NAME: Final = "model-settings.json"

_BYTES = {"STRING": "BYTES"}
_UNKNOWN = "BF16"  # to MLServer, whose settings may be without tensors


def settings(name: str, graph: Path, uri: str) -> str:
    """The content of `model-settings.json`; the runtime is chosen where MLServer is started.

    Parameters
    ----------
    name
        Of the model.
    graph
        The ONNX file.
    uri
        Where it is, from the folder of the settings.

    Raises
    ------
    GraphError
        It has a tensor that cannot be described.
    """
    document: dict[str, Any] = {"name": name, "platform": PLATFORM}
    described = {
        key: [_tensor(one.name, one.data_type, one.dims) for one in tensors]
        for key, tensors in zip(("inputs", "outputs"), graph_tensors(graph), strict=True)
    }
    if all(one["datatype"] != _UNKNOWN for tensors in described.values() for one in tensors):
        document |= described
    document["parameters"] = {"uri": uri}
    return json.dumps(document, indent=2) + "\n"


def _tensor(name: str, data_type: str, dims: tuple[int, ...]) -> dict[str, Any]:
    datatype = data_type.removeprefix("TYPE_")
    return {"name": name, "datatype": _BYTES.get(datatype, datatype), "shape": [*dims]}
