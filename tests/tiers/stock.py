"""A server as other people's are: graphs without a pipeline, JSON and nothing else, no spans, maybe behind TLS.

It shares no code with the package: tensors are read and written here as the protocol's text has them.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_TYPES = {"FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
_NAMES = {"float32": "FP32", "int64": "INT64", "int32": "INT32"}
_OF_GRAPHS = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(int32)": "INT32"}


@dataclass
class Stock:
    """What a server has and what it was sent.

    Parameters
    ----------
    graphs
        ONNX files by the path after `/v2/models/`.
    tells_tensors
        Whether the metadata of models have inputs and outputs.
    extensions
        As the server announces them.
    """

    graphs: Mapping[str, Path]
    tells_tensors: bool = True
    extensions: tuple[str, ...] = ()
    port: int = 0
    connections: int = 0
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sessions: dict[str, Any] = {
            name: onnxruntime.InferenceSession(str(path)) for name, path in self.graphs.items()
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/v2/health/live":
            return 200, {"live": True}
        if path == "/v2":
            return 200, {"name": "stock", "version": "1", "extensions": list(self.extensions)}
        session = self.sessions.get(path.removeprefix("/v2/models/"))
        if session is None:
            return 404, {"error": f"nothing at {path}"}
        inputs, outputs = (
            [{"name": one.name, "datatype": _OF_GRAPHS[one.type], "shape": [-1]} for one in described]
            for described in (session.get_inputs(), session.get_outputs())
        )
        return 200, {"name": path, "inputs": inputs, "outputs": outputs} if self.tells_tensors else {"name": path}

    def post(self, path: str, content: bytes, is_json: bool) -> tuple[int, Any]:
        self.paths.append(path)
        session = self.sessions.get(path.removeprefix("/v2/models/").removesuffix("/infer"))
        if session is None:
            return 404, {"error": f"nothing at {path}"}
        if not is_json:
            return 422, {"error": "this is no JSON"}
        request = json.loads(content)
        self.bodies.append(request)
        if any("binary_data_size" in one.get("parameters", {}) for one in request["inputs"]):
            return 400, {"error": "binary tensors are not known here"}
        feeds = {
            one["name"]: np.array(one["data"], _TYPES[one["datatype"]]).reshape(one["shape"])
            for one in request["inputs"]
        }
        try:
            values = session.run(None, feeds)
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's own classes
            return 400, {"error": str(error)}
        outputs = [
            {"name": one.name, "datatype": _NAMES[str(value.dtype)], "shape": value.shape, "data": value.tolist()}
            for one, value in zip(session.get_outputs(), values, strict=True)
        ]
        return 200, {"model_name": path, "outputs": outputs}


@contextlib.contextmanager
def stock_server(stock: Stock, certificate: Path | None = None) -> Iterator[Stock]:
    """A server with these graphs; with TLS where there is a file with a certificate and its key."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            stock.connections += 1
            super().setup()

        def do_GET(self) -> None:
            self._reply(*stock.get(self.path))

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            is_json = self.headers["Content-Type"] == "application/json"
            is_json = is_json and self.headers["Inference-Header-Content-Length"] is None
            self._reply(*stock.post(self.path, content, is_json))

        def _reply(self, status: int, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that do not trust it hang up
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    stock.port = server.server_address[1]
    try:
        yield stock
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def make_certificate(path: Path, name: str) -> Path:
    """A file with a key and a certificate for an address such as `IP:127.0.0.1`, signed by itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stock"]
    command += ["-addext", f"subjectAltName={name}", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with path.open("ab") as file:
        file.write(Path(f"{path}.crt").read_bytes())
    return path
