"""A folder of graphs in KServe's model server: `serve_kserve.py HTTP_PORT GRPC_PORT FOLDER`.

Every `NAME/1/model.onnx` is a model. KServe listens on all of a machine's addresses; here it gets its own alone.
"""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import grpc.aio._server
import onnxruntime
import uvicorn
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.numpy_codec import from_np_dtype
from parent import exit_with_parent


class _Config(uvicorn.Config):
    def __init__(self, app: object, host: str, **more: object) -> None:  # KServe's
        super().__init__(app, host="127.0.0.1", **more)


class _Server(grpc.aio._server.Server):  # noqa: SLF001  # the only one there is
    def add_insecure_port(self, address: str) -> int:
        return super().add_insecure_port(address.replace("[::]", "127.0.0.1"))


class OnnxModel(Model):
    """A graph, with its own tensors."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options)
        self.ready = True

    def predict(self, payload: InferRequest, headers: object = None, response_headers: object = None) -> InferResponse:
        """Answer a request."""
        feeds = {one.name: one.as_numpy() for one in payload.inputs}
        outputs = []
        for described, value in zip(self._session.get_outputs(), self._session.run(None, feeds), strict=True):
            output = InferOutput(described.name, [*value.shape], from_np_dtype(value.dtype))
            output.set_data_from_numpy(value, binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id or str(uuid.uuid4()), self.name, outputs)


def main(http_port: int, grpc_port: int, folder: Path) -> None:
    """Serve until the process is ended."""
    uvicorn.Config = _Config
    grpc.aio._server.Server = _Server  # noqa: SLF001
    models = [OnnxModel(path.parents[1].name, path) for path in sorted(folder.glob("*/1/model.onnx"))]
    ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1).start(models)


if __name__ == "__main__":
    exit_with_parent()
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
