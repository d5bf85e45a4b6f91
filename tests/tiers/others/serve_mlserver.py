"""A folder of models in MLServer, with ONNX Runtime as its runtime: `serve_mlserver.py HTTP_PORT GRPC_PORT FOLDER`.

Every `model-settings.json` of the folder is taken as it is.
"""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri
from parent import exit_with_parent


class OnnxModel(MLModel):
    """A graph, with its own tensors."""

    async def load(self) -> bool:
        """Load the file that the settings of the model name."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(await get_model_uri(self.settings), options)
        self._outputs = [one.name for one in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request."""
        feeds = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        values = zip(self._outputs, self._session.run(None, feeds), strict=True)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output(name, value) for name, value in values]
        )


async def main(http_port: int, grpc_port: int, folder: Path) -> None:
    """Serve until the process is ended."""
    settings = Settings(
        host="127.0.0.1", http_port=http_port, grpc_port=grpc_port, metrics_endpoint=None, parallel_workers=0
    )
    models = [ModelSettings.parse_file(str(path)) for path in sorted(folder.glob("*/model-settings.json"))]
    await MLServer(settings).start(models)


if __name__ == "__main__":
    exit_with_parent()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
