"""A server of the protocol over gRPC, from the service that Triton's client library has generated, around ONNX Runtime.

It shares no code with the package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from tritonclient.grpc import service_pb2, service_pb2_grpc

_TYPES = {"FP32": "<f4", "INT64": "<i8"}
_OF_GRAPHS = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}


@dataclass
class GrpcStock:
    """What a server has and what it was asked.

    Parameters
    ----------
    graphs
        ONNX files by name, or by name and version with a slash between.
    answers_raw
        Whether outputs are raw bytes, or lists of numbers.
    token
        What it wants, if anything.
    refusal
        A status and a sentence that it answers to each inference instead.
    live
        What it says of itself.
    is_gateway
        Whether it has the methods of models alone.
    """

    graphs: Mapping[str, Path]
    answers_raw: bool = True
    token: str | None = None
    refusal: tuple[Any, str] | None = None
    live: bool = True
    is_gateway: bool = False
    port: int = 0
    stop: Callable[[], object] = lambda: None
    requests: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sessions: dict[str, Any] = {
            name: onnxruntime.InferenceSession(str(path)) for name, path in self.graphs.items()
        }

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # it has no types
    def __init__(self, stock: GrpcStock) -> None:
        self.stock = stock

    def _enter(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        if self.stock.token is None:
            return
        if "authorization" not in metadata:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        if metadata["authorization"] != f"Bearer {self.stock.token}":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    def _session(self, name: str, version: str, context: Any) -> Any:
        session = self.stock.sessions.get(f"{name}/{version}" if version else name)
        if session is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no {name}")
        return session

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802  # as the service has it
        self._enter(context)
        if self.stock.is_gateway:
            return super().ServerLive(request, context)
        return service_pb2.ServerLiveResponse(live=self.stock.live)

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802  # as the service has it
        self._enter(context)
        if self.stock.is_gateway:
            return super().ServerMetadata(request, context)
        return service_pb2.ServerMetadataResponse(name="stock", version="1")

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802  # as the service has it
        self._enter(context)
        session = self._session(request.name, request.version, context)
        inputs, outputs = (
            [
                service_pb2.ModelMetadataResponse.TensorMetadata(
                    name=one.name, datatype=_OF_GRAPHS[one.type], shape=[-1]
                )
                for one in described
            ]
            for described in (session.get_inputs(), session.get_outputs())
        )
        return service_pb2.ModelMetadataResponse(name=request.name, inputs=inputs, outputs=outputs)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802  # as the service has it
        self._enter(context)
        self.stock.requests.append(request)
        if self.stock.refusal is not None:
            context.abort(*self.stock.refusal)
        session = self._session(request.model_name, request.model_version, context)
        raws = zip(request.inputs, request.raw_input_contents, strict=True)
        feeds = {one.name: np.frombuffer(raw, _TYPES[one.datatype]).reshape(one.shape) for one, raw in raws}
        values = session.run(None, feeds)
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for described, value in zip(session.get_outputs(), values, strict=True):
            output = response.outputs.add(name=described.name, datatype=_OF_GRAPHS[described.type], shape=value.shape)
            if self.stock.answers_raw:
                response.raw_output_contents.append(value.tobytes())
            elif output.datatype == "FP32":
                output.contents.fp32_contents.extend(value.ravel())
            else:
                output.contents.int64_contents.extend(value.ravel())
        return response


@contextlib.contextmanager
def grpc_server(stock: GrpcStock, certificate: Path | None = None, *options: tuple[str, int]) -> Iterator[GrpcStock]:
    """A server with these graphs; with TLS where there is a file with a certificate and its key."""
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=options)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(stock), server)
        if certificate is None:
            stock.port = server.add_insecure_port("127.0.0.1:0")
        else:
            key, chain = certificate.read_bytes(), certificate.with_name(f"{certificate.name}.crt").read_bytes()
            credentials = grpc.ssl_server_credentials([(key, chain)])
            stock.port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        stock.stop = lambda: server.stop(None)
        try:
            yield stock
        finally:
            server.stop(None).wait(60)
