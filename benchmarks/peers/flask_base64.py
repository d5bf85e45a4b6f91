"""A no-op model behind Flask's own server with Base64 in JSON, the way of the paper: `flask_base64.py PORT`."""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

from __future__ import annotations

import base64
import logging
import sys
from typing import Any

import numpy as np
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post("/infer")
def infer() -> Any:
    """Give the last number of the tensor."""
    document = request.get_json()
    array = np.frombuffer(base64.b64decode(document["data"]), dtype=np.float32)
    return jsonify({"data": base64.b64encode(array[-1:].tobytes()).decode("ascii")})


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run("127.0.0.1", int(sys.argv[1]))
