"""A no-op model in MLServer, for its gRPC endpoint: `mlserver_grpc.py PORT`.

Without worker processes, metrics and debug logging, which a no-op model is faster without. The tensor is one
element of BYTES: MLServer turns a tensor of numbers into a list of Python numbers, which takes many times longer.
"""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

from __future__ import annotations

import asyncio
import logging
import socket
import sys

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Noop(MLModel):
    """Gives the last number of the tensor."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request."""
        array = np.frombuffer(payload.inputs[0].data[0], dtype=np.float32)
        output = ResponseOutput(name="last", shape=[1], datatype="BYTES", data=[array[-1:].tobytes()])
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main(port: int) -> None:
    """Serve until the process is ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        http_port = free.getsockname()[1]
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=http_port,
            grpc_port=port,
            grpc_max_message_length=64 * 2**20,
            parallel_workers=0,
            metrics_endpoint=None,
            debug=False,
        )
    )
    await server.start([ModelSettings(name="noop", implementation=Noop)])


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(main(int(sys.argv[1])))
