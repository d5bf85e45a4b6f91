"""Bodies that were valid once: truncated, corrupted or with a value in the JSON replaced.

Each either still is a request or is refused; over a real server that is a 200 or a 400 with a sentence, and never a
500, a dropped connection or a wait.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pytest_edgeai.wire import protocol
from pytest_edgeai.wire.protocol import InferRequest, ProtocolError
from tests.serving import tensors, tiers

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENCODINGS: st.SearchStrategy[protocol.Encoding] = st.sampled_from(["binary", "json", "base64"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A valid body and the length of its JSON; for the model `sum`, so that a server may run it."""
    encoding = draw(ENCODINGS)
    if draw(st.booleans()):
        inputs = {name: draw(npst.arrays("<f4", (2, 2), elements=st.just(1.5))) for name in ("a", "b")}
    else:
        text = encoding == "json"
        inputs = draw(tensors.named(tensors.numbers(finite=encoding != "binary") | tensors.byte_strings(text=text)))
    outputs = draw(st.dictionaries(st.sampled_from(["total", "difference", "?"]), st.booleans(), max_size=2))
    body = protocol.encode_request(InferRequest(inputs, outputs), encoding=encoding)
    return body.join(), body.json_length


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A body that is truncated, corrupted, extended or has a wrong length of its JSON."""
    body, json_length = draw(bodies())
    for damage in draw(st.lists(st.sampled_from(["cut", "flip", "insert", "append", "length"]), max_size=3)):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        if damage == "cut":
            body = body[:at]
        elif damage == "flip":
            body = body[:at] + draw(st.binary(min_size=1, max_size=3)) + body[at + 1 :]
        elif damage == "insert":
            body = body[:at] + draw(st.binary(max_size=5)) + body[at:]
        elif damage == "append":
            body += draw(st.binary(max_size=5))
        else:
            json_length = draw(st.none() | st.integers(0, len(body) + 9))
    return body, json_length


def places(value: Any) -> Iterator[list[Any]]:
    """The way to every value inside a JSON document."""
    yield []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        for way in places(inner):
            yield [key, *way]


@st.composite
def mistyped(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A body with one value in its JSON replaced by any other JSON value."""
    body, json_length = draw(bodies())
    document = copy.deepcopy(json.loads(body[:json_length]))
    way = draw(st.sampled_from(list(places(document))))
    replacement = draw(JSON_VALUES)
    if not way:
        document = replacement
    else:
        inner = document
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = replacement
    head = json.dumps(document).encode()
    return head + body[len(body) if json_length is None else json_length :], None if json_length is None else len(head)


@given(damaged() | mistyped())
@settings(deadline=None, max_examples=300)
def test_a_damaged_body_is_decoded_or_refused_with_a_sentence(body: tuple[bytes, int | None]) -> None:
    try:
        protocol.decode_request(*body)
    except ProtocolError as error:
        assert str(error)  # noqa: PT017  # both ways are right


@given(damaged() | mistyped())
@settings(deadline=None, max_examples=100)
def test_a_damaged_response_is_decoded_or_refused_with_a_sentence(body: tuple[bytes, int | None]) -> None:
    raw, json_length = body
    try:
        protocol.decode_response(raw.replace(b'"inputs"', b'"outputs"'), json_length)
    except ProtocolError as error:
        assert str(error)  # noqa: PT017  # both ways are right


@given(body=damaged() | mistyped())
@settings(PATIENT, max_examples=200)
def test_a_damaged_body_gets_200_or_400_with_a_sentence_from_a_server(
    body: tuple[bytes, int | None], port: int
) -> None:
    raw, json_length = body
    headers = {} if json_length is None else {protocol.JSON_LENGTH_HEADER: json_length}
    reply = tiers.talk(port, tiers.request("POST", "/v2/models/sum/infer", raw, headers))
    assert reply.status in (200, 400)
    assert reply.status == 200 or reply.sentence


@given(data=st.data())
@settings(PATIENT, max_examples=60)
def test_a_body_that_ends_early_gets_400_with_a_sentence_from_a_server(data: st.DataObject, port: int) -> None:
    body = protocol.encode_request(InferRequest({name: np.zeros((2, 2), np.float32) for name in ("a", "b")}))
    headers = {protocol.JSON_LENGTH_HEADER: body.json_length, "Content-Length": body.length}
    whole = body.join()
    cut = data.draw(st.integers(0, len(whole) - 1))
    reply = tiers.talk(port, tiers.request("POST", "/v2/models/sum/infer", whole[:cut], headers), end=True)
    assert reply.status == 400
    assert reply.sentence == f"the body ends after {cut} of the {len(whole)} bytes that Content-Length says"


@pytest.mark.parametrize("model", ["echo-bool", "echo-fp16", "echo-bytes", "echo-int64", "classifier"])
@given(
    raw=st.binary(max_size=24),
    shape=st.lists(st.integers(0, 5), max_size=3),
    datatype=st.sampled_from(list(protocol.DATATYPES)),
)
@settings(PATIENT, max_examples=60)
def test_any_tensor_gets_200_or_400_with_a_sentence_from_any_model(
    port: int, model: str, raw: bytes, shape: list[int], datatype: str
) -> None:
    document = {
        "inputs": [{"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}]
    }
    head = json.dumps(document).encode()
    headers = {protocol.JSON_LENGTH_HEADER: len(head)}
    reply = tiers.talk(port, tiers.request("POST", f"/v2/models/{model}/infer", head + raw, headers))
    assert reply.status in (200, 400)
    assert reply.status == 200 or reply.sentence
