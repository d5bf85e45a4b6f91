"""What Triton's tools ask a server beyond the protocol: the configuration, statistics and index of its models.

The documents are those of Triton's extensions `model_configuration`, `statistics` and `model_repository`; which path
has which is in `endpoints`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pytest_edgeai.serving.pipeline import TensorSpec
from pytest_edgeai.serving.repository import GRAPH_NAME, Model
from pytest_edgeai.wire.tensors import Buffer, ProtocolError

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
PLATFORM = "onnxruntime_onnx"
VERSION = "1"


def triton_type(datatype: str) -> str:
    """The name in a configuration of a datatype of the protocol: `FP32` is `TYPE_FP32`, and `BYTES` `TYPE_STRING`."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def configuration(model: Model) -> dict[str, object]:
    """The configuration of a model, as Triton has it in JSON.

    The shapes are whole (`max_batch_size` is 0): this server puts no requests together and has no largest batch, so
    that a first dimension of -1 takes any.

    Parameters
    ----------
    model
        The model, with its pipeline: its tensors are those that a client sends and gets.
    """
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [_tensor(spec) for spec in model.inputs],
        "output": [_tensor(spec) for spec in model.outputs],
        "default_model_filename": GRAPH_NAME,
    }


def statistics(models: Iterable[Model]) -> dict[str, object]:
    """What became of the requests for models since they were loaded."""
    return {"model_stats": [{"name": model.name, "version": VERSION, **model.statistics.as_json()} for model in models]}


def repository_index(models: Iterable[Model], body: Buffer) -> list[dict[str, str]]:
    """All models, each of which is ready: a server that could not load one does not start.

    Parameters
    ----------
    models
        The loaded models.
    body
        Empty, or a JSON object that may ask for ready models only, which are all.

    Raises
    ------
    ProtocolError
        The body is something else.
    """
    asked: Any = {}
    if len(body):
        try:
            asked = json.loads(bytes(body))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"the body is not a JSON document: {error}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
        raise ProtocolError('the body is neither empty nor {"ready": true} or {"ready": false}')
    return [{"name": model.name, "version": VERSION, "state": "READY"} for model in models]


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "data_type": triton_type(spec.datatype), "dims": list(spec.shape)}
