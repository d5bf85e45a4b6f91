"""The codec: what is encoded is decoded again, and what is wrong is refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire import protocol
from pytest_edgeai.wire.protocol import DATATYPES, InferRequest, ProtocolError
from tests.serving import tensors


def round_trip(request: InferRequest, encoding: protocol.Encoding = "binary") -> InferRequest:
    body = protocol.encode_request(request, encoding=encoding)
    assert body.length == len(body.join())
    return protocol.decode_request(body.join(), body.json_length)


def assert_same(ones: dict[str, Array] | Any, others: dict[str, Array] | Any) -> None:
    assert list(ones) == list(others)
    for name, one in ones.items():
        assert tensors.same(one, others[name])


@given(tensors.named(tensors.numbers() | tensors.byte_strings()))
@settings(deadline=None)
def test_binary_requests_give_back_any_tensor(inputs: dict[str, Array]) -> None:
    assert_same(round_trip(InferRequest(inputs)).inputs, inputs)


@given(tensors.named(tensors.numbers(finite=True) | tensors.byte_strings(text=True)))
@settings(deadline=None)
def test_json_requests_give_back_any_tensor_that_json_can_carry(inputs: dict[str, Array]) -> None:
    assert_same(round_trip(InferRequest(inputs), "json").inputs, inputs)


@given(tensors.named(tensors.numbers(finite=True) | tensors.byte_strings()))
@settings(deadline=None)
def test_base64_requests_give_back_any_bytes(inputs: dict[str, Array]) -> None:
    assert_same(round_trip(InferRequest(inputs), "base64").inputs, inputs)


@given(st.dictionaries(st.text(min_size=1), st.booleans()), st.none() | st.text(), st.booleans())
@settings(deadline=None)
def test_requests_give_back_what_is_asked_for(
    outputs: dict[str, bool], request_id: str | None, binary_outputs: bool
) -> None:
    request = InferRequest({"x": np.zeros(1)}, outputs, request_id, binary_outputs)
    decoded = round_trip(request)
    assert (decoded.outputs, decoded.id, decoded.binary_outputs) == (outputs, request_id, binary_outputs)


@given(tensors.named(tensors.numbers(finite=True) | tensors.byte_strings(text=True)), st.data())
@settings(deadline=None)
def test_responses_carry_each_output_in_the_form_asked_for(outputs: dict[str, Array], data: st.DataObject) -> None:
    binary = {name: data.draw(st.booleans()) for name in outputs}
    request = InferRequest({"x": np.zeros(1)}, binary, "seven")
    body = protocol.encode_response("model", outputs, request)
    document = json.loads(body.join()[: body.json_length])
    assert document["id"] == "seven"
    assert {one["name"]: "data" not in one for one in document["outputs"]} == binary
    assert_same(protocol.decode_response(body.join(), body.json_length), outputs)


def test_responses_leave_out_outputs_that_nobody_asked_for() -> None:
    request = InferRequest({"x": np.zeros(1)}, {"b": True})
    body = protocol.encode_response("model", {"a": np.zeros(2), "b": np.ones(2)}, request)
    assert list(protocol.decode_response(body.join(), body.json_length)) == ["b"]


@given(tensors.numbers())
@settings(deadline=None)
def test_tensors_begin_where_their_numbers_can_be_read_in_place(array: Array) -> None:
    body = protocol.encode_request(InferRequest({"x": array}))
    assert body.json_length is not None
    assert body.json_length % array.dtype.itemsize == 0


@pytest.mark.parametrize("size", [3, 5000])
def test_tensors_are_read_where_they_lie_even_if_that_is_at_an_odd_address(size: int) -> None:
    array = np.arange(size, dtype="<f4")
    document = {
        "inputs": [{"name": "x", "shape": [size], "datatype": "FP32", "parameters": {"binary_data_size": 4 * size}}]
    }
    head = json.dumps(document).encode()
    head += b" " * (1 + -len(head) % 4)
    decoded = protocol.decode_request(bytearray(head + array.tobytes()), len(head)).inputs["x"]
    assert decoded.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("array", "elements"),
    [
        (np.array([b"ab", b""]), [b"ab", b""]),
        (np.array(["grün", "x"]), ["grün".encode(), b"x"]),
        (np.array(["grün", b"x"], dtype=object), ["grün".encode(), b"x"]),
    ],
)
@pytest.mark.parametrize("encoding", ["binary", "json", "base64"])
def test_text_arrays_of_numpy_are_sent_as_bytes(
    array: Array, elements: list[bytes], encoding: protocol.Encoding
) -> None:
    assert round_trip(InferRequest({"x": array}), encoding).inputs["x"].tolist() == elements


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "m8[s]", [("a", "f4")]])
def test_types_that_the_protocol_does_not_have_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="has no datatype for"):
        protocol.encode_request(InferRequest({"x": np.zeros(2, dtype)}))


@pytest.mark.parametrize("element", [None, 3, 2.5, ["a"]])
@pytest.mark.parametrize("encoding", ["binary", "json", "base64"])
def test_objects_that_are_neither_bytes_nor_text_are_refused_rather_than_turned_into_text(
    element: object, encoding: protocol.Encoding
) -> None:
    array = np.empty(1, dtype=object)
    array[0] = element
    with pytest.raises(TypeError, match="neither bytes nor text"):
        protocol.encode_request(InferRequest({"x": array}), encoding=encoding)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_json_does_not_have_are_refused_in_json(value: float) -> None:
    with pytest.raises(ProtocolError, match="ask for binary data"):
        protocol.encode_response("model", {"y": np.array([value])}, InferRequest({"x": np.zeros(1)}))


def test_bytes_that_are_not_text_are_refused_in_json() -> None:
    with pytest.raises(ProtocolError, match="ask for binary data"):
        protocol.encode_response("model", {"y": np.array([b"\xff"], object)}, InferRequest({"x": np.zeros(1)}))


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not valid Unicode"):
        protocol.encode_request(InferRequest({"x": np.array(["\ud800"], object)}))


def tensor(**changes: Any) -> dict[str, Any]:
    """A tensor in JSON with some fields changed; a change to None takes the field away."""
    fields = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5], **changes}
    return {key: value for key, value in fields.items() if value is not None}


def binary(size: object, **changes: Any) -> dict[str, Any]:
    return tensor(data=None, parameters={"binary_data_size": size}, **changes)


NESTED_DEEPLY: Any = 1
for _ in range(40):
    NESTED_DEEPLY = [NESTED_DEEPLY]

WRONG_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "not an object": ([], "is not a JSON object"),
    "a number": (3, "is not a JSON object"),
    "no inputs": ({}, "has no inputs"),
    "empty inputs": ({"inputs": []}, "has no inputs"),
    "inputs no list": ({"inputs": {}}, "inputs is not a list"),
    "input no object": ({"inputs": ["x"]}, "an entry in inputs is not a JSON object"),
    "outputs no list": ({"inputs": [tensor()], "outputs": "y"}, "outputs of the request is not a list"),
    "output no object": ({"inputs": [tensor()], "outputs": [1]}, "is not a JSON object"),
    "output without name": ({"inputs": [tensor()], "outputs": [{}]}, "has no name"),
    "output twice": ({"inputs": [tensor()], "outputs": [{"name": "y"}] * 2}, "asked for twice"),
    "output parameters no object": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": 1}]},
        "is not a JSON object",
    ),
    "binary_data no boolean": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        "binary_data is not true or false",
    ),
    "classification": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        "classification, which is not supported",
    ),
    "shared memory": (
        {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        "shared_memory_region, which is not supported",
    ),
    "id no string": ({"inputs": [tensor()], "id": 3}, "id of the request is not a string"),
    "parameters no object": ({"inputs": [tensor()], "parameters": []}, "is not a JSON object"),
    "binary_data_output no boolean": (
        {"inputs": [tensor()], "parameters": {"binary_data_output": "yes"}},
        "binary_data_output is not true or false",
    ),
    "no name": ({"inputs": [tensor(name=None)]}, "has no name"),
    "name no string": ({"inputs": [tensor(name=["x"])]}, "has no name"),
    "name empty": ({"inputs": [tensor(name="")]}, "has no name"),
    "name long": ({"inputs": [tensor(name="x" * 5000)]}, "has a name of 5000 characters"),
    "tensor twice": ({"inputs": [tensor(), tensor()]}, "given twice"),
    "no datatype": ({"inputs": [tensor(datatype=None)]}, "has datatype None"),
    "unknown datatype": ({"inputs": [tensor(datatype="BF16")]}, "known datatypes are BOOL, UINT8"),
    "datatype no string": ({"inputs": [tensor(datatype=["FP32"])]}, "has datatype"),
    "no shape": ({"inputs": [tensor(shape=None)]}, "has shape None"),
    "shape no list": ({"inputs": [tensor(shape=2)]}, "has shape 2"),
    "shape of text": ({"inputs": [tensor(shape=["2"])]}, "not a list of up to 32 sizes"),
    "shape of fractions": ({"inputs": [tensor(shape=[2.0])]}, "not a list of up to 32 sizes"),
    "shape of booleans": ({"inputs": [tensor(shape=[True, 2])]}, "not a list of up to 32 sizes"),
    "negative shape": ({"inputs": [tensor(shape=[-2])]}, "not a list of up to 32 sizes"),
    "negative shape twice": ({"inputs": [tensor(shape=[-1, -2])]}, "not a list of up to 32 sizes"),
    "huge shape": ({"inputs": [tensor(shape=[2**62])]}, "is too large"),
    "huge empty shape": ({"inputs": [tensor(shape=[0, 2**62], data=[])]}, "is too large"),
    "overflowing shape": ({"inputs": [tensor(shape=[2**32, 2**32])]}, "is too large"),
    "size of no machine": ({"inputs": [tensor(shape=[10**30])]}, "not a list of up to 32 sizes"),
    "too many sizes": ({"inputs": [tensor(shape=[1] * 33)]}, "not a list of up to 32 sizes"),
    "wrong shape": ({"inputs": [tensor(shape=[3])]}, "has 2 values"),
    "tensor parameters no object": ({"inputs": [tensor(parameters=7)]}, "is not a JSON object"),
    "no data": ({"inputs": [tensor(data=None)]}, "neither data nor binary_data_size"),
    "data no list": ({"inputs": [tensor(data=1)]}, "is not a list"),
    "data uneven": ({"inputs": [tensor(data=[1, [2]])]}, "nested unevenly"),
    "rows uneven": ({"inputs": [tensor(data=[[1], [2, 3]], shape=[3])]}, "nested unevenly"),
    "data too deep": ({"inputs": [tensor(data=NESTED_DEEPLY, shape=[1])]}, "too deeply"),
    "text as numbers": ({"inputs": [tensor(data=["1", "2"])]}, "are not FP32"),
    "null as numbers": ({"inputs": [tensor(data=[None, None])]}, "are not FP32"),
    "booleans as numbers": ({"inputs": [tensor(data=[True, False])]}, "are not FP32"),
    "fractions as integers": ({"inputs": [tensor(datatype="INT32")]}, "are not INT32"),
    "numbers as booleans": ({"inputs": [tensor(datatype="BOOL", data=[0, 1])]}, "are not BOOL"),
    "numbers as bytes": ({"inputs": [tensor(datatype="BYTES")]}, "are not strings"),
    "too large for FP16": ({"inputs": [tensor(datatype="FP16", data=[1e5, 1])]}, "FP16 cannot hold"),
    "too large for FP32": ({"inputs": [tensor(data=[1e39, 1])]}, "FP32 cannot hold"),
    "too large for FP64": ({"inputs": [tensor(datatype="FP64", data=[10**400, 1])]}, "FP64 cannot hold"),
    "both kinds of data": ({"inputs": [tensor(parameters={"binary_data_size": 8})]}, "both data and binary_data_size"),
    "unknown encoding": (
        {"inputs": [tensor(datatype="BYTES", data=["", ""], parameters={"encoding": "gzip"})]},
        "the only one known is 'base64'",
    ),
    "encoding of numbers": ({"inputs": [tensor(parameters={"encoding": "base64"})]}, "for BYTES"),
    "base64 that is none": (
        {"inputs": [tensor(datatype="BYTES", shape=[1], data=["a*b="], parameters={"encoding": "base64"})]},
        "says encoding base64",
    ),
    "base64 cut": (
        {"inputs": [tensor(datatype="BYTES", shape=[1], data=["YWI"], parameters={"encoding": "base64"})]},
        "says encoding base64",
    ),
    "base64 that is not ASCII": (
        {"inputs": [tensor(datatype="BYTES", shape=[1], data=["é"], parameters={"encoding": "base64"})]},
        "says encoding base64",
    ),
    "half a surrogate pair": ({"inputs": [tensor(datatype="BYTES", shape=[1], data=["\ud800"])]}, "not valid Unicode"),
    "binary size no number": ({"inputs": [binary("8")]}, "says binary_data_size '8'"),
    "binary size negative": ({"inputs": [binary(-8)]}, "says binary_data_size -8"),
    "binary size boolean": ({"inputs": [binary(True)]}, "says binary_data_size True"),
    "binary size too large": ({"inputs": [binary(8)]}, "0 bytes are left in the body"),
    "binary size not the shape's": ({"inputs": [binary(0)]}, "takes 8 bytes, but has 0"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "words"), WRONG_DOCUMENTS.values(), ids=WRONG_DOCUMENTS)
def test_a_wrong_document_is_refused_in_words(document: Any, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.decode_request(json.dumps(document).encode())
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400, "a sentence must not grow with the body"


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("UINT8", 256),
        ("UINT8", -1),
        ("INT8", 128),
        ("INT16", -32769),
        ("INT32", 2**31),
        ("UINT64", 2**64),
        ("INT64", 2**63),
    ],
)
def test_integers_that_do_not_fit_are_refused_rather_than_wrapped(datatype: str, value: int) -> None:
    document = {"inputs": [tensor(datatype=datatype, shape=[1], data=[value])]}
    with pytest.raises(ProtocolError, match=f"{datatype} cannot hold"):
        protocol.decode_request(json.dumps(document).encode())


@pytest.mark.parametrize("datatype", [name for name, dtype in DATATYPES.items() if dtype.kind in "iu"])
def test_integers_up_to_the_limits_are_taken(datatype: str) -> None:
    limits = np.iinfo(DATATYPES[datatype])
    document = {"inputs": [tensor(datatype=datatype, data=[int(limits.min), int(limits.max)])]}
    assert protocol.decode_request(json.dumps(document).encode()).inputs["x"].tolist() == [limits.min, limits.max]


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[1], [2], [3], [4]]])
def test_data_may_be_flat_or_nested(data: Any) -> None:
    document = {"inputs": [tensor(shape=[2, 2], data=data)]}
    assert protocol.decode_request(json.dumps(document).encode()).inputs["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [NaN]}]}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}], "ignored": -Infinity}',
        b"[" * 100_000,
        b'{"id": ' + b"9" * 10_000 + b"}",
        '{"inputs": []}'.encode("utf-16"),
        b"{} {}",
    ],
    ids=["empty", "cut", "not UTF-8", "NaN", "Infinity", "deep", "endless number", "UTF-16", "two documents"],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_request(text)


@pytest.mark.parametrize("json_length", [-1, 10**9])
def test_a_length_of_the_json_outside_the_body_is_refused(json_length: int) -> None:
    with pytest.raises(ProtocolError, match="Inference-Header-Content-Length says"):
        protocol.decode_request(b"{}", json_length)


def test_bytes_that_belong_to_no_tensor_are_refused() -> None:
    body = protocol.encode_request(InferRequest({"x": np.zeros(2)}))
    with pytest.raises(ProtocolError, match="3 bytes after the last tensor"):
        protocol.decode_request(body.join() + b"abc", body.json_length)


def test_bool_bytes_that_are_neither_0_nor_1_are_refused() -> None:
    body = protocol.encode_request(InferRequest({"x": np.zeros(3, bool)}))
    with pytest.raises(ProtocolError, match="neither 0 nor 1"):
        protocol.decode_request(body.join()[:-1] + b"\x02", body.json_length)


@pytest.mark.parametrize(
    ("count", "raw", "words"),
    [
        pytest.param(3, b"\x02\0\0\0ab\x01\0\0", "should have 3 elements", id="too few"),
        pytest.param(2, b"\x04\0\0\0abcd\x04\0\0\0abc", "ends inside element 1", id="cut in an element"),
        pytest.param(2, b"\x07\0\0\0abcdefg\0", "ends before the length of element 1", id="cut in a length"),
        pytest.param(3, b"\0\0\0\0" * 4, "4 bytes after its last element", id="too many"),
    ],
)
def test_elements_of_bytes_tensors_must_fill_their_bytes_exactly(count: int, raw: bytes, words: str) -> None:
    head = json.dumps({"inputs": [binary(len(raw), datatype="BYTES", shape=[count])]}).encode()
    with pytest.raises(ProtocolError, match=words):
        protocol.decode_request(head + raw, len(head))


@given(tensors.named(tensors.numbers() | tensors.byte_strings()))
@settings(deadline=None)
def test_the_same_bytes_are_decoded_the_same_way_every_time(inputs: dict[str, Array]) -> None:
    body = protocol.encode_request(InferRequest(inputs, {"y": True}, "seven", True))
    for _ in range(2):  # small documents are remembered, and must not be changed by being read
        decoded = protocol.decode_request(body.join(), body.json_length)
        assert_same(decoded.inputs, inputs)
        assert (decoded.outputs, decoded.id, decoded.binary_outputs) == ({"y": True}, "seven", True)


def test_null_is_the_same_as_absent() -> None:
    nothing = {"parameters": None, "outputs": None, "id": None}
    request = protocol.decode_request(json.dumps({"inputs": [{**tensor(), "parameters": None}], **nothing}).encode())
    assert (request.outputs, request.id, request.binary_outputs) == ({}, None, False)
    head = json.dumps({"outputs": [{**binary(8), "data": None}], "parameters": None}).encode()
    assert protocol.decode_response(head + bytes(8), len(head))["x"].tolist() == [0, 0]
    wanted = {"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"binary_data": None}}]}
    assert protocol.decode_request(json.dumps(wanted).encode()).outputs == {"y": False}


def test_a_response_without_outputs_is_none() -> None:
    with pytest.raises(ProtocolError, match="has no outputs"):
        protocol.decode_response(b'{"model_name": "x"}')
