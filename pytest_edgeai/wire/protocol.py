"""The Open Inference Protocol v2 on bytes: requests and responses with the binary tensor extension.

Pure functions between numpy arrays and HTTP bodies; sockets, models and status codes other than "the body is
wrong" are someone else's. The protocol is that of KServe ("Open Inference Protocol", formerly "Predict Protocol
Version 2") with Triton's extension "binary tensor data": the body is a JSON document followed by the raw
little-endian bytes of the tensors that say `binary_data_size`, and the header Inference-Header-Content-Length
gives the length of the JSON.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, TypeVar

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire.tensors import (
    DATATYPES,
    Buffer,
    Description,
    Encoding,
    ProtocolError,
    datatype_of,
    decode_tensor,
    encode_tensor,
    read_description,
    short,
)

__all__ = [
    "DATATYPES",
    "JSON_LENGTH_HEADER",
    "Body",
    "Buffer",
    "Encoding",
    "InferRequest",
    "ProtocolError",
    "datatype_of",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
]

_Read = TypeVar("_Read")

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"

_ALIGNMENT = 8
_REMEMBERED_BYTES = 2048  # of longer documents, or a few hundred of them, the memory would count
# Asking for these and getting something else would be a wrong answer, not a missing feature.
_REFUSED_OUTPUT_PARAMETERS = ("classification", "shared_memory_region")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks of a model.

    Parameters
    ----------
    inputs
        Tensors by name. `BYTES` tensors are object arrays of `bytes`.
    outputs
        The outputs asked for and whether each is wanted in binary; empty asks for all.
    id
        Returned as it is.
    binary_outputs
        Whether outputs that `outputs` does not name are wanted in binary.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, bool] = field(default_factory=dict)
    id: str | None = None
    binary_outputs: bool = False

    def wants_binary(self, output: str) -> bool:
        """Whether `output` is to be sent in binary."""
        return self.outputs.get(output, self.binary_outputs)


class _Asked(NamedTuple):
    """What the JSON of a request says."""

    inputs: tuple[Description, ...]
    outputs: Mapping[str, bool]
    id: str | None
    binary_outputs: bool


@dataclass(frozen=True, slots=True)
class Body:
    """An HTTP body as the buffers to be written one after the other."""

    buffers: Sequence[Buffer]
    json_length: int | None
    """Length of the JSON in bytes where binary tensors follow it, else None."""

    @property
    def length(self) -> int:
        """Length in bytes."""
        return sum(len(buffer) for buffer in self.buffers)

    @property
    def content_type(self) -> str:
        """The media type."""
        return "application/json" if self.json_length is None else "application/octet-stream"

    def join(self) -> bytes:
        """The body in one piece."""
        return b"".join(self.buffers)


def encode_request(request: InferRequest, *, encoding: Encoding = "binary") -> Body:
    """Encode a request.

    Parameters
    ----------
    request
        The tensors and what is wanted back.
    encoding
        `binary`: raw bytes after the JSON. `json`: all in JSON. `base64`: BYTES tensors as Base64 text inside the
        JSON, as the servers of the paper have it, marked by the tensor parameter `encoding`; other tensors as JSON
        numbers.

    Raises
    ------
    TypeError
        The protocol has no datatype for an input.
    ProtocolError
        The encoding cannot carry an input.
    """
    tensors = [encode_tensor(name, array, encoding) for name, array in request.inputs.items()]
    return _body(_write_request, tensors, request.id, tuple(request.outputs.items()), request.binary_outputs)


def encode_response(model: str, outputs: Mapping[str, Array], request: InferRequest) -> Body:
    """Encode a model's outputs, each in the form that the request asked for.

    Raises
    ------
    ProtocolError
        An output wanted as JSON holds what JSON does not have.
    """
    tensors = [
        encode_tensor(name, outputs[name], "binary" if request.wants_binary(name) else "json")
        for name in request.outputs or outputs
    ]
    return _body(_write_response, tensors, request.id, model)


def decode_request(body: Buffer, json_length: int | None = None) -> InferRequest:
    """Decode a request.

    Parameters
    ----------
    body
        The whole HTTP body. Numeric tensors in the answer are views into it.
    json_length
        The value of the Inference-Header-Content-Length header, or None where there is none.

    Raises
    ------
    ProtocolError
        The body is truncated, corrupt or not a request.
    """
    asked, rest = _split(body, json_length, _read_request)
    return InferRequest(_decode_tensors(asked.inputs, rest), asked.outputs, asked.id, asked.binary_outputs)


def decode_response(body: Buffer, json_length: int | None = None) -> dict[str, Array]:
    """Decode a model's outputs from a response.

    Raises
    ------
    ProtocolError
        The body is truncated, corrupt or not a response.
    """
    described, rest = _split(body, json_length, _read_response)
    return _decode_tensors(described, rest)


def _body(
    write: functools._lru_cache_wrapper[bytes],
    tensors: Sequence[tuple[Description, Buffer | None]],
    identity: str | None,
    *frame: Hashable,
) -> Body:
    described = tuple(one for one, _ in tensors)
    binary = [raw for _, raw in tensors if raw is not None]
    # With an id or with data in it, no JSON is like another one.
    remembered = identity is None and len(binary) == len(described)
    text = (write if remembered else write.__wrapped__)(described, identity, *frame)
    return Body([text, *binary], len(text) if binary else None)


@functools.lru_cache(maxsize=512)
def _write_request(
    described: tuple[Description, ...], identity: str | None, outputs: tuple[tuple[str, bool], ...], binary: bool
) -> bytes:
    """Write the JSON of a request. Remembered, because the requests of a trial describe the same few tensors."""
    document: dict[str, Any] = {} if identity is None else {"id": identity}
    document["inputs"] = [one.as_json() for one in described]
    if outputs:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": wanted}} for name, wanted in outputs]
    if binary:
        document["parameters"] = {"binary_data_output": True}
    return _write(document, described)


@functools.lru_cache(maxsize=512)
def _write_response(described: tuple[Description, ...], identity: str | None, model: str) -> bytes:
    document: dict[str, Any] = {"model_name": model, "model_version": "1"}
    if identity is not None:
        document["id"] = identity
    document["outputs"] = [one.as_json() for one in described]
    return _write(document, described)


def _write(document: Mapping[str, Any], described: tuple[Description, ...]) -> bytes:
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError:
        raise ProtocolError("a tensor holds NaN or infinity, which JSON cannot carry: ask for binary data") from None
    if all(one.size is None for one in described):
        return text
    # Spaces after the JSON let the tensors begin where numbers can be read in place rather than copied first.
    return text + b" " * (-len(text) % _ALIGNMENT)


def _split(
    body: Buffer, json_length: int | None, read: functools._lru_cache_wrapper[_Read]
) -> tuple[_Read, memoryview]:
    """Read the JSON at the beginning of a body; what it says, and what follows it."""
    view = memoryview(body)
    if json_length is None:
        json_length = len(view)
    if not 0 <= json_length <= len(view):
        raise ProtocolError(
            f"{JSON_LENGTH_HEADER} says {json_length} bytes of JSON, but the body has {len(view)} bytes"
        )
    text = view[:json_length]
    said = read(bytes(text)) if json_length < _REMEMBERED_BYTES else read.__wrapped__(text)
    return said, view[json_length:]


@functools.lru_cache(maxsize=512)
def _read_request(text: Buffer) -> _Asked:
    """Read the JSON of a request. Remembered, because the requests of a trial describe the same few tensors."""
    document = _parse(text)
    parameters = _optional_mapping(document, "parameters", "the request")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise ProtocolError("the id of the request is not a string")
    outputs: dict[str, bool] = {}
    binary_outputs = _flag(parameters, "binary_data_output", default=False)
    wanted_outputs = document.get("outputs")
    for wanted in [] if wanted_outputs is None else _sequence(wanted_outputs, "the field outputs of the request"):
        entry = _mapping(wanted, "an entry in the outputs of the request")
        name = _name(entry, "output")
        if name in outputs:
            raise ProtocolError(f"output {short(name)} is asked for twice")
        described = _optional_mapping(entry, "parameters", f"output {short(name)}")
        for parameter in _REFUSED_OUTPUT_PARAMETERS:
            if described.get(parameter):
                raise ProtocolError(f"output {short(name)} is asked for with {parameter}, which is not supported")
        outputs[name] = _flag(described, "binary_data", default=binary_outputs)
    inputs = _descriptions(document, "inputs")
    if not inputs:
        raise ProtocolError("the request has no inputs")
    return _Asked(inputs, MappingProxyType(outputs), identity, binary_outputs)


@functools.lru_cache(maxsize=512)
def _read_response(text: Buffer) -> tuple[Description, ...]:
    document = _parse(text)
    if document.get("outputs") is None:
        raise ProtocolError("the response has no outputs")
    return _descriptions(document, "outputs")


def _parse(text: Buffer) -> Mapping[str, Any]:
    try:
        document = json.loads(str(text, "utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the body does not begin with a JSON document: {error}") from None
    return _mapping(document, "the JSON of the body")


def _descriptions(document: Mapping[str, Any], key: str) -> tuple[Description, ...]:
    described: dict[str, Description] = {}
    for element in _sequence(document.get(key, []), f"the field {key}"):
        entry = _mapping(element, f"an entry in {key}")
        name = _name(entry, key[:-1])
        if name in described:
            raise ProtocolError(f"tensor {short(name)} is given twice")
        described[name] = read_description(entry, name)
    return tuple(described.values())


def _decode_tensors(described: Iterable[Description], rest: memoryview) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for one in described:
        tensors[one.name] = decode_tensor(one, rest)
        rest = rest[one.size or 0 :]
    if len(rest):
        raise ProtocolError(f"{len(rest)} bytes after the last tensor belong to none")
    return tensors


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _name(entry: Mapping[str, Any], kind: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise ProtocolError(f"an {kind} has no name")
    if len(name) > 1000:
        raise ProtocolError(f"an {kind} has a name of {len(name)} characters")
    return name


def _flag(parameters: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = parameters.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ProtocolError(f"parameter {key} is not true or false")
    return value


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is not a JSON object")
    return value


def _optional_mapping(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """A field that may be absent, or null: some servers write what they do not have as null."""
    value = document.get(key)
    return {} if value is None else _mapping(value, f"the field {key} of {where}")


def _sequence(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ProtocolError(f"{what} is not a list")
    return value
