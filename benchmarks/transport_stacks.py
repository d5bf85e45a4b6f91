"""The stacks that `transport` compares: their servers in `peers/`, what they need, and a client of each.

Each does the same job with the transport that its documentation offers and that is fastest for it here.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire.client import Client
from pytest_edgeai.wire.connection import Connection

_TIMEOUT_S = 60.0

Send = Callable[[Array], float]
"""Send a tensor, give the number that comes back."""
Connect = Callable[[int, ExitStack], Send]
"""Connect to a port; what is to be closed goes on the stack."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A way to serve a model.

    Parameters
    ----------
    key, label
        Its name in options and JSON, and in the table.
    connect
        How a client of it is made.
    script
        Its server in `peers/`.
    server_needs, client_needs
        Packages, by the names they are installed by, mapped to the modules they have.
    is_peer
        Whether the tier should be ahead of it.
    """

    key: str
    label: str
    connect: Connect
    script: str
    server_needs: Mapping[str, str]
    client_needs: Mapping[str, str]
    is_peer: bool = True


def connect_raw(*, send_buffer_bytes: int | None = None) -> Connect:
    """Plain sockets, with the buffers that the system gives them or with a small one to send from."""

    def connect(port: int, stack: ExitStack) -> Send:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_buffer_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)

        def send(array: Array) -> float:
            raw = array.view(np.uint8).data
            at = connection.sendmsg([len(raw).to_bytes(8, "little"), raw]) - 8
            connection.sendall(raw[at:])
            return float(np.frombuffer(connection.recv(4, socket.MSG_WAITALL), np.float32)[0])

        return send

    return connect


def connect_tier(port: int, stack: ExitStack) -> Send:
    """The project's own client, for every server of the Open Inference Protocol over HTTP."""
    client = stack.enter_context(Client("127.0.0.1", port))
    return lambda array: float(client.infer("noop", {"x": array}).outputs["last"][0])


def connect_flask(*, session: bool) -> Connect:
    """Base64 in JSON with requests, either by `requests.post` or over a session's one connection."""

    def connect(port: int, stack: ExitStack) -> Send:
        requests = importlib.import_module("requests")
        post = stack.enter_context(requests.Session()).post if session else requests.post

        def send(array: Array) -> float:
            document = {"data": base64.b64encode(array.data).decode("ascii")}
            answer = post(f"http://127.0.0.1:{port}/infer", json=document).json()
            return float(np.frombuffer(base64.b64decode(answer["data"]), np.float32)[0])

        return send

    return connect


def connect_litserve(port: int, stack: ExitStack) -> Send:
    """Base64 in JSON over the project's own connection, which takes less time than requests."""
    connection = stack.enter_context(contextlib.closing(Connection("127.0.0.1", port, timeout_s=_TIMEOUT_S)))

    def send(array: Array) -> float:
        body = json.dumps({"data": base64.b64encode(array.data).decode("ascii")}).encode()
        answer = connection.exchange("POST", "/predict", {"Content-Type": "application/json"}, [body])
        return float(np.frombuffer(base64.b64decode(json.loads(bytes(answer.content))["data"]), np.float32)[0])

    return send


def connect_grpc(*, as_bytes: bool) -> Connect:
    """The Open Inference Protocol over gRPC with raw contents; the tensor as numbers or as one element of BYTES."""

    def connect(port: int, stack: ExitStack) -> Send:
        grpc = importlib.import_module("grpc")
        messages: Any = importlib.import_module("tritonclient.grpc.service_pb2")
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", options=options))
        stub = importlib.import_module("tritonclient.grpc.service_pb2_grpc").GRPCInferenceServiceStub(channel)
        tensor = messages.ModelInferRequest.InferInputTensor

        def send(array: Array) -> float:
            raw = array.tobytes()
            if as_bytes:
                described = tensor(name="x", datatype="BYTES", shape=[1])
                raw = len(raw).to_bytes(4, "little") + raw
            else:
                described = tensor(name="x", datatype="FP32", shape=[len(array)])
            request = messages.ModelInferRequest(model_name="noop", inputs=[described], raw_input_contents=[raw])
            answer = stub.ModelInfer(request)
            return float(np.frombuffer(answer.raw_output_contents[0][-4:], np.float32)[0])

        return send

    return connect


_TRITON = {"tritonclient[grpc]": "tritonclient.grpc", "grpcio": "grpc"}
_FLASK, _REQUESTS = {"flask": "flask"}, {"requests": "requests"}
_UVICORN = {"uvicorn[standard]": "uvloop"}
STACKS = (
    Stack("raw", "raw TCP", connect_raw(), "raw_tcp.py", {}, {}, is_peer=False),
    Stack(
        "raw_small", "raw TCP, small buffer", connect_raw(send_buffer_bytes=2**17), "raw_tcp.py", {}, {}, is_peer=False
    ),
    Stack("tier", "tier", connect_tier, "", {}, {}, is_peer=False),
    Stack("uvicorn", "bare uvicorn", connect_tier, "uvicorn_asgi.py", _UVICORN, {}),
    Stack(
        "mlserver", "MLServer gRPC", connect_grpc(as_bytes=True), "mlserver_grpc.py", {"mlserver": "mlserver"}, _TRITON
    ),
    Stack("kserve", "KServe gRPC", connect_grpc(as_bytes=False), "kserve_grpc.py", {"kserve": "kserve"}, _TRITON),
    Stack("litserve", "LitServe Base64", connect_litserve, "litserve_base64.py", {"litserve": "litserve"}, {}),
    Stack("flask", "Flask Base64", connect_flask(session=False), "flask_base64.py", _FLASK, _REQUESTS),
    Stack("flask_session", "Flask Base64, session", connect_flask(session=True), "flask_base64.py", _FLASK, _REQUESTS),
)
