"""A no-op model in LitServe with Base64 in JSON: `litserve_base64.py PORT`.

JSON is what its request queue to the worker process carries best.
"""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

import base64
import sys
from typing import Any

import litserve
import numpy as np
from fastapi import Request


class Noop(litserve.LitAPI):
    """Gives the last number of the tensor."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request: Request) -> Any:  # LitServe reads the annotation; what comes is the JSON
        """Decode a tensor."""
        return np.frombuffer(base64.b64decode(request["data"]), dtype=np.float32)

    def predict(self, array: Any) -> Any:
        """Answer a request."""
        return array[-1:]

    def encode_response(self, output: Any) -> Any:
        """Encode a tensor."""
        return {"data": base64.b64encode(output.tobytes()).decode("ascii")}


if __name__ == "__main__":
    server = litserve.LitServer(Noop(), accelerator="cpu", max_payload_size=64 * 2**20)
    server.run("127.0.0.1", int(sys.argv[1]), log_level="error", generate_client_file=False, access_log=False)
