"""A client of the Open Inference Protocol over gRPC that sends one request at a time and says where its time went.

It needs the extra `grpc`. Encoding and decoding are apart from the exchange. What gRPC itself does, such as frames of
HTTP/2, flow control and TLS, is part of the exchange and cannot be told from the network and the server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire import grpc_messages
from pytest_edgeai.wire.client import Answer, CertificateError, RequestError
from pytest_edgeai.wire.closing import Closing
from pytest_edgeai.wire.protocol import ProtocolError
from pytest_edgeai.wire.timing import Span

# Its C library writes what fails to stderr as well as into the error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # it reads the variable when it is imported

_MAX_BYTES: Final = 2**30  # of an answer, as over HTTP; the default is 4 MiB
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", -1),
    # A request that fails has failed: nothing is sent twice, and no earlier connection's failure is remembered.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
# The HTTP status that says the same.
_STATUSES: Final = {"NOT_FOUND": 404, "UNIMPLEMENTED": 404, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
# gRPC tells apart in words alone why there is no connection. What is not recognized is told as it is.
_UNTRUSTED: Final = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed", "is not in peer certificate")
_NO_TLS: Final = "handshake failed"


class GrpcClient(Closing):
    """A connection to a server.

    Parameters
    ----------
    address
        Host and port.
    place
        The tier the client sits with; its own encoding and decoding are spans of this place.
    link
        Name of the hop that the client's requests cross, for their `exchange` span.
    token
        Bearer token of printable ASCII, or None.
    timeout_s
        How long a request may take.
    tls
        Whether the server speaks TLS.
    certificates
        Those to trust then, in PEM format; None for those that gRPC has of its own.
    version
        The version of models that requests are for; None leaves it to the server.
    """

    def __init__(
        self,
        address: str,
        *,
        place: str = "",
        link: str = "",
        token: str | None = None,
        timeout_s: float = 60.0,
        tls: bool = False,
        certificates: bytes | None = None,
        version: str | None = None,
    ) -> None:
        self._address = address
        self._place = place
        self._link = link
        self._timeout_s = timeout_s
        self._version = version
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        self._channel = (
            grpc.secure_channel(address, grpc.ssl_channel_credentials(certificates), _OPTIONS)
            if tls
            else grpc.insecure_channel(address, _OPTIONS)
        )
        self._infer = self._method("ModelInfer")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send one request and wait for its answer.

        Raises
        ------
        RequestError
            There is no answer, or it is an error.
        """
        started = time.perf_counter()
        try:
            message = grpc_messages.encode_request(model, self._version, inputs)
        except ProtocolError as error:
            raise RequestError(f"a request cannot be sent over gRPC: {error}") from None
        sent_at = time.perf_counter()
        content = self._call(self._infer, message)
        exchange_s = time.perf_counter() - sent_at
        try:
            outputs = grpc_messages.decode_response(content)
        except ProtocolError as error:
            raise RequestError(f"{self._address} sent no inference response: {error}") from None
        latency_s = time.perf_counter() - started
        spans = (Span("serialize", self._place, latency_s - exchange_s), Span("exchange", self._link, exchange_s))
        return Answer(outputs, latency_s, spans)

    def check_live(self) -> None:
        """Ask whether the server is alive.

        Raises
        ------
        RequestError
            There is no answer, or it is no.
        """
        if not self._ask("ServerLive").live:
            raise RequestError(f"{self._address} says that it is not live")

    def server_metadata(self) -> dict[str, Any]:
        """What the server says of itself, as `GET /v2` has it.

        Raises
        ------
        RequestError
            There is no answer, or it is an error.
        """
        said = self._ask("ServerMetadata")
        return {"name": said.name, "version": said.version, "extensions": [*said.extensions]}

    def model_metadata(self, model: str) -> dict[str, Any]:
        """What the server says of a model, as `GET /v2/models/NAME` has it.

        Raises
        ------
        RequestError
            There is no answer, or it is an error.
        """
        said = self._ask("ModelMetadata", name=model, version=self._version or "")
        inputs, outputs = (
            [{"name": one.name, "datatype": one.datatype, "shape": [*one.shape]} for one in tensors]
            for tensors in (said.inputs, said.outputs)
        )
        return {"name": said.name, "inputs": inputs, "outputs": outputs}

    def _ask(self, method: str, **fields: str) -> Any:
        request = grpc_messages.message_class(f"{method}Request")(**fields)
        content = self._call(self._method(method), request.SerializeToString())
        try:
            return grpc_messages.decode(f"{method}Response", content)
        except ProtocolError as error:
            raise RequestError(f"{self._address} did not answer {method}: {error}") from None

    def _method(self, name: str) -> Any:
        # Without functions that encode and decode, messages are bytes, and their encoding can be timed apart.
        return self._channel.unary_unary(f"/{grpc_messages.SERVICE}/{name}")

    def _call(self, method: Any, message: bytes) -> bytes:
        try:
            content: bytes = method(message, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error.code().name, " ".join((error.details() or "nothing").split())) from None
        return content

    def _failure(self, status: str, details: str) -> RequestError:
        """The error for a status of gRPC."""
        if status == "DEADLINE_EXCEEDED":
            return RequestError(f"{self._address} did not answer within {self._timeout_s:g} s")
        if status == "UNAVAILABLE":
            reason = details.rpartition("last error: ")[2]
            failed = f"the connection to {self._address} failed"
            if any(words in reason for words in _UNTRUSTED):
                return CertificateError(f"{failed}: its certificate is not trusted: {reason}")
            return RequestError(f"{failed}: {'it does not speak TLS: ' if _NO_TLS in reason else ''}{reason}")
        advice = ""
        if status == "RESOURCE_EXHAUSTED" and "message larger than max" in details:
            advice = "; raise the limit that the server has for the length of messages"
        return RequestError(f"{self._address} answered {status}: {details}{advice}", _STATUSES.get(status))
