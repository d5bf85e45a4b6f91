"""The messages of the Open Inference Protocol's gRPC service, and tensors in them.

The classes are made when they are first needed, from the fields as the protocol's text has them. Generated code would
tie this package to releases of protobuf, and two copies of it cannot be imported into one process.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire.protocol import DATATYPES, ProtocolError
from pytest_edgeai.wire.tensors import Description, decode_tensor, encode_tensor, read_description, short

PACKAGE: Final = "inference"
SERVICE: Final = f"{PACKAGE}.GRPCInferenceService"

# Fields that are not used here, such as parameters, are left out: protobuf passes over what it does not know.
MESSAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live = 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name = 1", "string version = 2", "repeated string extensions = 3"),
    "ModelMetadataRequest": ("string name = 1", "string version = 2"),
    "TensorMetadata": ("string name = 1", "string datatype = 2", "repeated int64 shape = 3"),
    "ModelMetadataResponse": (
        "string name = 1",
        "repeated string versions = 2",
        "string platform = 3",
        "repeated TensorMetadata inputs = 4",
        "repeated TensorMetadata outputs = 5",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents = 1",
        "repeated int32 int_contents = 2",
        "repeated int64 int64_contents = 3",
        "repeated uint32 uint_contents = 4",
        "repeated uint64 uint64_contents = 5",
        "repeated float fp32_contents = 6",
        "repeated double fp64_contents = 7",
        "repeated bytes bytes_contents = 8",
    ),
    "InferTensor": (
        "string name = 1",
        "string datatype = 2",
        "repeated int64 shape = 3",
        "InferTensorContents contents = 5",
    ),
    "ModelInferRequest": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        "repeated InferTensor inputs = 5",
        "repeated bytes raw_input_contents = 7",
    ),
    "ModelInferResponse": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        "repeated InferTensor outputs = 5",
        "repeated bytes raw_output_contents = 6",
    ),
}

CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message, for example `ModelInferRequest`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@functools.cache
def _pool() -> Any:
    """The descriptions of all messages, apart from those that other libraries of the process have by these names."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    described = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = described.message_type.add(name=name)
        for text in fields:
            declared, _, number = text.rpartition(" = ")
            label, kind, field = ["", *declared.split()][-3:]
            added = message.field.add(name=field, number=int(number))
            added.label = added.LABEL_REPEATED if label == "repeated" else added.LABEL_OPTIONAL
            if kind in MESSAGES:
                added.type, added.type_name = added.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                added.type = getattr(added, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(described.SerializeToString())
    return pool


def encode_request(model: str, version: str | None, inputs: Mapping[str, Array]) -> bytes:
    """A request, with the tensors as raw bytes.

    Raises
    ------
    ProtocolError
        The protocol cannot carry an input.
    """
    request = message_class("ModelInferRequest")(model_name=model, model_version=version or "")
    for name, array in inputs.items():
        try:
            described, raw = encode_tensor(name, array, "binary")
        except TypeError as error:
            raise ProtocolError(f"tensor {name!r}: {error}") from None
        request.inputs.add(name=name, datatype=described.datatype, shape=described.shape)
        request.raw_input_contents.append(bytes(raw or b""))
    message: bytes = request.SerializeToString()
    return message


def decode_response(content: bytes) -> dict[str, Array]:
    """The outputs in a response, whether raw or as lists of numbers.

    Raises
    ------
    ProtocolError
        It is no response, or its tensors do not fit their descriptions.
    """
    response = decode("ModelInferResponse", content)
    raws = response.raw_output_contents
    if not response.outputs:
        raise ProtocolError("the response has no outputs")
    if raws and len(raws) != len(response.outputs):
        raise ProtocolError(f"the response describes {len(response.outputs)} outputs, and has the bytes of {len(raws)}")
    tensors: dict[str, Array] = {}
    for number, output in enumerate(response.outputs):
        if output.name in tensors:
            raise ProtocolError(f"tensor {short(output.name)} is given twice")
        size = len(raws[number]) if raws else 0
        entry = {"datatype": output.datatype, "shape": [*output.shape], "parameters": {"binary_data_size": size}}
        described = read_description(entry, output.name)
        tensors[output.name] = (
            decode_tensor(described, memoryview(raws[number])) if raws else _from_contents(described, output.contents)
        )
    return tensors


def decode(name: str, content: bytes) -> Any:
    """A message of a class.

    Raises
    ------
    ProtocolError
        The bytes are none.
    """
    from google.protobuf.message import DecodeError

    try:
        return message_class(name).FromString(content)
    except DecodeError:
        raise ProtocolError(f"{len(content)} bytes are no {name}") from None


def _from_contents(described: Description, contents: Any) -> Array:
    """A tensor whose elements are a field of a message."""
    name, datatype, shape, *_ = described
    field = CONTENTS.get(datatype)
    if field is None:
        raise ProtocolError(
            f"tensor {name!r} of datatype {datatype} has no raw bytes, and there is no other form of it"
        )
    elements = getattr(contents, field)
    if len(elements) != math.prod(shape):
        raise ProtocolError(f"tensor {name!r} of shape {list(shape)} has {len(elements)} values in its {field}")
    values = [*elements]
    dtype = DATATYPES[datatype]
    if dtype.kind in "iu" and values and not np.iinfo(dtype).min <= min(values) <= max(values) <= np.iinfo(dtype).max:
        raise ProtocolError(f"tensor {name!r} has values in its {field} that {datatype} cannot hold")
    return np.array(values, dtype).reshape(shape)
