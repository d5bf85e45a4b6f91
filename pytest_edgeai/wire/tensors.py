"""Tensors of the Open Inference Protocol v2: numpy arrays to described JSON or raw bytes, and back.

One tensor at a time and pure functions only. Which tensors make a request or a response is said in `protocol`.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError

Buffer: TypeAlias = bytes | bytearray | memoryview
Encoding: TypeAlias = Literal["binary", "json", "base64"]

DATATYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
"""numpy's type for each datatype of the protocol; BYTES tensors are object arrays of `bytes`."""

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_LENGTH = struct.Struct("<I")
_COPIED_BYTES = 4096  # a copy of less takes less time than a view
_MAX_RANK = 32  # numpy's own limit before version 2
_MAX_ELEMENTS = 2**40  # no body can hold more, and products of sizes stay far from overflow


class ProtocolError(EdgeAIError, ValueError):
    """A body that does not follow the protocol; the message is one sentence for the sender."""


def datatype_of(array: Array) -> str:
    """The protocol's name for the type of an array.

    Raises
    ------
    TypeError
        The protocol has no such type.
    """
    if array.dtype.kind in "SU":
        return "BYTES"
    try:
        return _NAMES[array.dtype.newbyteorder("<")]
    except KeyError:
        raise TypeError(f"the Open Inference Protocol has no datatype for {array.dtype}") from None


class Description(NamedTuple):
    """What the JSON of a body says of a tensor.

    Parameters
    ----------
    name, datatype, shape
        As the protocol has them.
    size
        The length of the raw bytes that follow the JSON; None where the elements are in the JSON.
    data
        The elements in the JSON, flat or nested; None where they follow it.
    encoding
        `base64` where BYTES elements are in the JSON as such, else None.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int | None = None
    data: object = None
    encoding: object = None

    def as_json(self) -> dict[str, Any]:
        """The form in a body."""
        described: dict[str, Any] = {"name": self.name, "shape": self.shape, "datatype": self.datatype}
        if self.size is not None:
            described["parameters"] = {"binary_data_size": self.size}
        else:
            if self.encoding is not None:
                described["parameters"] = {"encoding": self.encoding}
            described["data"] = self.data
        return described


def encode_tensor(name: str, array: Array, encoding: Encoding) -> tuple[Description, Buffer | None]:
    """Describe a tensor; its raw bytes are apart where the encoding is `binary`.

    Raises
    ------
    TypeError
        The protocol has no datatype for the array, or an element of it is neither bytes nor text.
    ProtocolError
        The encoding cannot carry the elements.
    """
    datatype = datatype_of(array)
    if encoding == "binary":
        raw = _bytes_to_raw(name, array) if datatype == "BYTES" else _numbers_to_raw(array, datatype)
        return Description(name, datatype, array.shape, len(raw)), raw
    if datatype != "BYTES":
        return Description(name, datatype, array.shape, data=array.ravel().tolist()), None
    elements = _elements(name, array)
    if encoding == "base64":
        data = [binascii.b2a_base64(element, newline=False).decode("ascii") for element in elements]
        return Description(name, datatype, array.shape, data=data, encoding="base64"), None
    try:
        return Description(name, datatype, array.shape, data=[element.decode() for element in elements]), None
    except UnicodeDecodeError:
        raise ProtocolError(
            f"tensor {name!r} holds bytes that are not UTF-8, which JSON cannot carry: ask for binary data"
        ) from None


def read_description(entry: Mapping[str, Any], name: str) -> Description:
    """Read what JSON says of a tensor, whose name was read already.

    Raises
    ------
    ProtocolError
        It is described wrongly.
    """
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise ProtocolError(
            f"tensor {name!r} has datatype {short(datatype)}; known datatypes are {', '.join(DATATYPES)}"
        )
    shape = _shape(entry, name)
    parameters = entry.get("parameters")
    if parameters is None:  # some servers write what they do not have as null
        parameters = {}
    if not isinstance(parameters, dict):
        raise ProtocolError(f"the field parameters of tensor {name!r} is not a JSON object")
    data, size, encoding = entry.get("data"), parameters.get("binary_data_size"), parameters.get("encoding")
    if size is not None:
        if data is not None:
            raise ProtocolError(f"tensor {name!r} has both data and binary_data_size")
        if not _is_count(size):
            raise ProtocolError(f"tensor {name!r} says binary_data_size {short(size)}, which is no number of bytes")
        return Description(name, datatype, shape, size)
    if data is None:
        raise ProtocolError(f"tensor {name!r} has neither data nor binary_data_size")
    if encoding is not None and (datatype != "BYTES" or encoding != "base64"):
        raise ProtocolError(
            f"tensor {name!r} of datatype {datatype} has encoding {short(encoding)}; the only one known is 'base64', "
            "for BYTES"
        )
    return Description(name, datatype, shape, data=data, encoding=encoding)


def decode_tensor(described: Description, rest: memoryview) -> Array:
    """Decode a tensor.

    Parameters
    ----------
    described
        What the JSON says of it.
    rest
        The bytes of this and of later tensors. Numeric tensors in the answer are views into it.

    Raises
    ------
    ProtocolError
        Its data do not fit its description.
    """
    name, datatype, shape, size, *_ = described
    if size is None:
        return _from_json(described)
    if size > len(rest):
        raise ProtocolError(f"tensor {name!r} says binary_data_size {size}, but {len(rest)} bytes are left in the body")
    return _from_raw(rest[:size], name, datatype, shape)


def short(value: object) -> str:
    """What a sender sent, for a sentence to that sender: shortened, so that no sentence grows with the body."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _elements(name: str, array: Array) -> list[bytes]:
    elements: list[bytes] = []
    for element in array.ravel().tolist():
        if isinstance(element, bytes):
            elements.append(element)
        elif isinstance(element, str):
            try:
                elements.append(element.encode())
            except UnicodeEncodeError:
                raise ProtocolError(f"tensor {name!r} has a string that is not valid Unicode") from None
        else:
            raise TypeError(f"tensor {name!r} has an element that is neither bytes nor text: {short(element)}")
    return elements


def _bytes_to_raw(name: str, array: Array) -> bytes:
    parts: list[bytes] = []
    for element in _elements(name, array):
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def _numbers_to_raw(array: Array, datatype: str) -> Buffer:
    little = array.astype(DATATYPES[datatype], copy=False)
    if little.nbytes < _COPIED_BYTES:
        return little.tobytes()
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def _from_raw(raw: memoryview, name: str, datatype: str, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if datatype == "BYTES":
        return _object_array(_read_elements(raw, name, count), shape)
    dtype = DATATYPES[datatype]
    if count * dtype.itemsize != len(raw):
        raise ProtocolError(
            f"tensor {name!r} of shape {list(shape)} and datatype {datatype} takes {count * dtype.itemsize} bytes, "
            f"but has {len(raw)}"
        )
    if datatype == "BOOL" and len(raw) and np.frombuffer(raw, np.uint8).max() > 1:
        raise ProtocolError(f"tensor {name!r} has bytes that are neither 0 nor 1, which BOOL cannot hold")
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def _read_elements(raw: memoryview, name: str, count: int) -> list[bytes]:
    if count * _LENGTH.size > len(raw):  # also keeps an absurd shape from a long loop
        raise ProtocolError(f"tensor {name!r} should have {count} elements, but has only {len(raw)} bytes")
    elements: list[bytes] = []
    at = 0
    for number in range(count):
        if at + _LENGTH.size > len(raw):
            raise ProtocolError(f"tensor {name!r} ends before the length of element {number}")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise ProtocolError(f"tensor {name!r} ends inside element {number}, which should have {length} bytes")
        elements.append(bytes(raw[at : at + length]))
        at += length
    if at != len(raw):
        raise ProtocolError(f"tensor {name!r} has {len(raw) - at} bytes after its last element")
    return elements


def _from_json(described: Description) -> Array:
    name, datatype, shape, _, data, encoding = described
    values = _flatten(data, name)
    if len(values) != math.prod(shape):
        raise ProtocolError(f"tensor {name!r} of shape {list(shape)} has {len(values)} values in its data")
    if datatype == "BYTES":
        return _object_array([_text_to_bytes(value, name, encoding) for value in values], shape)
    return _numbers(values, name, datatype).reshape(shape)


def _numbers(values: list[Any], name: str, datatype: str) -> Array:
    dtype = DATATYPES[datatype]
    # bool is a kind of int to Python, but not to the protocol: the exact types count.
    allowed = {bool} if datatype == "BOOL" else {int, float} if dtype.kind == "f" else {int}
    if not allowed.issuperset(map(type, values)):
        raise ProtocolError(f"tensor {name!r} has values in its data that are not {datatype}")
    too_large = ProtocolError(f"tensor {name!r} has values in its data that {datatype} cannot hold")
    # Asked here because numpy before version 2 wraps what does not fit.
    if dtype.kind in "iu" and values:
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise too_large
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=dtype)
    except OverflowError:
        raise too_large from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise too_large
    return array


def _text_to_bytes(value: object, name: str, encoding: object) -> bytes:
    if not isinstance(value, str):
        raise ProtocolError(f"tensor {name!r} has values in its data that are not strings")
    if encoding is None:
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ProtocolError(f"tensor {name!r} has a string that is not valid Unicode") from None
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise ProtocolError(f"tensor {name!r} says encoding base64, but its data is not") from None


def _flatten(data: object, name: str) -> list[Any]:
    """Row-major values of nested or flat lists (the protocol allows both)."""
    if not isinstance(data, list):
        raise ProtocolError(f"the data of tensor {name!r} is not a list")
    values: list[Any] = data
    for _ in range(_MAX_RANK + 1):
        nested = [isinstance(value, list) for value in values]
        if not any(nested):
            return values
        if not all(nested) or len({len(value) for value in values}) != 1:
            break
        values = [inner for value in values for inner in value]
    raise ProtocolError(f"the data of tensor {name!r} is nested unevenly or too deeply")


def _object_array(elements: list[bytes], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


def _shape(entry: Mapping[str, Any], name: str) -> tuple[int, ...]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or len(shape) > _MAX_RANK or not all(_is_count(size) for size in shape):
        raise ProtocolError(f"tensor {name!r} has shape {short(shape)}, which is not a list of up to {_MAX_RANK} sizes")
    if math.prod(size or 1 for size in shape) > _MAX_ELEMENTS:
        raise ProtocolError(f"tensor {name!r} of shape {short(shape)} is too large")
    return tuple(shape)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
