"""A no-op model in KServe's server, for its gRPC endpoint: `kserve_grpc.py PORT`.

Over HTTP it takes the same protocol in binary too, but turns every tensor into a list of Python numbers first, which
takes many times longer.
"""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import kserve
import numpy as np


class Noop(kserve.Model):
    """Gives the last number of the tensor."""

    def __init__(self) -> None:
        super().__init__("noop")
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002  # for others
        """Answer a request."""
        array = payload.inputs[0].as_numpy()
        output = kserve.InferOutput("last", [1], "FP32")
        output.set_data_from_numpy(np.array(array[-1:]), binary_data=True)
        return kserve.InferResponse(payload.id or "noop", self.name, [output])


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as free:
        http_port = free.getsockname()[1]
    server = kserve.ModelServer(
        http_port=http_port,
        grpc_port=int(sys.argv[1]),
        enable_latency_logging=False,
    )
    server.start([Noop()])
