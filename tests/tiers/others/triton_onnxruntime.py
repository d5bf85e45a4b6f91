"""A backend for Triton that is called `onnxruntime`, in Python: Triton loads it for a `config.pbtxt` that names it."""

# mypy: ignore-errors
# (Triton's module is not installed where the project is checked)

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["EDGEAI_PACKAGES"])

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """A graph, with its own tensors."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the file that the configuration of the model names."""
        name = json.loads(args["model_config"])["default_model_filename"]
        path = Path(args["model_repository"], args["model_version"], name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options)
        self._outputs = [one.name for one in self._session.get_outputs()]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests."""
        return [triton.InferenceResponse(self._answer(request)) for request in requests]

    def _answer(self, request: Any) -> list[Any]:
        feeds = {one.name(): one.as_numpy() for one in request.inputs()}
        values = self._session.run(None, feeds)
        return [triton.Tensor(name, value) for name, value in zip(self._outputs, values, strict=True)]
