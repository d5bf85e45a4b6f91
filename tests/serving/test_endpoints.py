"""What a tier answers at which path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_edgeai
from pytest_edgeai.serving.server import LIMITS_PATH, MAX_PROBE_BYTES, PROBE_PATH, ServerSettings
from pytest_edgeai.wire import protocol, timing
from pytest_edgeai.wire.protocol import InferRequest
from tests.serving import tiers

AB = {"a": np.array([[1, 2]], np.float32), "b": np.array([[3, 5]], np.float32)}


def get(port: int, path: str) -> Any:
    reply = tiers.talk(port, tiers.request("GET", path))
    assert reply.status == 200, reply
    assert reply.headers["Content-Type"] == "application/json"
    return reply.json


def infer(port: int, request: InferRequest, model: str = "sum", encoding: protocol.Encoding = "binary") -> tiers.Reply:
    body = protocol.encode_request(request, encoding=encoding)
    headers = {} if body.json_length is None else {protocol.JSON_LENGTH_HEADER: body.json_length}
    return tiers.talk(port, tiers.request("POST", f"/v2/models/{model}/infer", body.join(), headers))


def test_server_metadata_names_the_extensions(port: int) -> None:
    assert get(port, "/v2") == {
        "name": "pytest-edgeai",
        "version": pytest_edgeai.__version__,
        "extensions": ["binary_tensor_data", "model_configuration", "model_repository", "statistics"],
    }


def test_health_is_as_the_protocol_says(port: int) -> None:
    assert get(port, "/v2/health/live") == {"live": True}
    assert get(port, "/v2/health/ready") == {"ready": True}


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_a_model_is_found_with_and_without_its_version(port: int, version: str) -> None:
    assert get(port, f"/v2/models/sum{version}/ready") == {"name": "sum", "ready": True}
    metadata = get(port, f"/v2/models/sum{version}")
    assert metadata == {
        "name": "sum",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in ("a", "b")],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, 2]} for name in ("total", "difference")],
    }
    assert infer(port, InferRequest(AB), f"sum{version}").status == 200


@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats", "/infer"])
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("sun", "there is no model 'sun': did you mean 'sum'?"),
        ("%C3%A9", "there is no model 'é': there are classifier, echo-bool, "),
        ("sum/versions/2", "model 'sum' has only version 1, not '2'"),
    ],
)
def test_a_model_that_is_not_there_gets_404_and_a_hint(port: int, rest: str, model: str, sentence: str) -> None:
    method = "POST" if rest == "/infer" else "GET"
    reply = tiers.talk(port, tiers.request(method, f"/v2/models/{model}{rest}", b"{}" if method == "POST" else None))
    assert reply.status == 404
    assert reply.sentence.startswith(sentence)


def test_outputs_come_as_json_unless_binary_is_asked_for(port: int) -> None:
    reply = infer(port, InferRequest(AB, id="7"), encoding="json")
    assert protocol.JSON_LENGTH_HEADER not in reply.headers
    assert reply.json == {
        "model_name": "sum",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "total", "shape": [1, 2], "datatype": "FP32", "data": [4, 7]},
            {"name": "difference", "shape": [1, 2], "datatype": "FP32", "data": [-2, -3]},
        ],
    }


def test_json_and_binary_outputs_may_be_mixed(port: int) -> None:
    reply = infer(port, InferRequest(AB, {"difference": True, "total": False}))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    length = int(reply.headers[protocol.JSON_LENGTH_HEADER])
    assert [("data" in one) for one in json.loads(reply.body[:length])["outputs"]] == [False, True]
    outputs = protocol.decode_response(reply.body, length)
    assert {name: array.tolist() for name, array in outputs.items()} == {"difference": [[-2, -3]], "total": [[4, 7]]}


def test_only_the_outputs_asked_for_come_back(port: int) -> None:
    reply = infer(port, InferRequest(AB, {"total": False}))
    assert [one["name"] for one in reply.json["outputs"]] == ["total"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (InferRequest({"a": AB["a"]}), "input 'b' is missing"),
        (InferRequest({**AB, "c": AB["a"]}), "the model has no input 'c'; its inputs are a, b"),
        (InferRequest({**AB, "b": AB["b"].astype("f8")}), "input 'b' has datatype FP64, not FP32"),
        (InferRequest({**AB, "b": AB["b"][0]}), "input 'b' has shape [2], not [-1, 2]"),
        (InferRequest({**AB, "b": np.zeros((1, 3), "f4")}), "input 'b' has shape [1, 3], not [-1, 2]"),
        (InferRequest({**AB, "b": np.zeros((1, 2, 1), "f4")}), "input 'b' has shape [1, 2, 1], not [-1, 2]"),
        (InferRequest(AB, {"sum": True}), "the model has no output 'sum'; its outputs are total, difference"),
    ],
)
def test_what_a_model_does_not_take_is_refused_in_words(port: int, request_: InferRequest, sentence: str) -> None:
    reply = infer(port, request_)
    assert (reply.status, reply.sentence) == (400, sentence)


def test_shapes_that_only_the_graph_can_refuse_are_refused_too(port: int) -> None:
    reply = infer(port, InferRequest({"a": np.zeros((3, 2), "f4"), "b": np.zeros((4, 2), "f4")}))
    assert reply.status == 400
    assert "model 'sum' cannot run on these tensors" in reply.sentence


def test_numbers_that_json_does_not_have_are_refused_with_advice(port: int) -> None:
    array = np.array([np.nan], np.float32)
    reply = infer(port, InferRequest({"x": array}), "echo-fp32")
    assert (reply.status, "ask for binary data" in reply.sentence) == (400, True)
    assert infer(port, InferRequest({"x": array}, binary_outputs=True), "echo-fp32").status == 200


def test_spans_come_as_server_timing_and_name_the_tier(port: int) -> None:
    reply = infer(port, InferRequest(AB))
    spans = timing.parse_spans(reply.headers[timing.HEADER])
    assert [(span.name, span.place) for span in spans] == [("compute", "edge"), ("serialize", "edge")]
    assert all(span.duration_s > 0 for span in spans)


def test_limits_say_how_graphs_are_run(port: int) -> None:
    limits = get(port, LIMITS_PATH)
    assert limits["threads"] == 1
    assert limits["spinning"] is False
    assert limits["compute_scale"] == 1.0
    assert limits["session"] == "per_deployment"
    assert limits["providers"]["sum"] == ["CPUExecutionProvider"]
    assert limits["load_s"]["sum"] > 0
    assert limits["peak_memory_bytes"] > 10 * 2**20


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 3_000_000])
def test_the_probe_sends_as_many_bytes_as_asked_for_and_takes_as_many_as_come(port: int, size: int) -> None:
    reply = tiers.talk(port, tiers.request("GET", f"{PROBE_PATH}?bytes={size}"))
    assert (reply.status, len(reply.body)) == (200, size)
    assert tiers.talk(port, tiers.request("POST", PROBE_PATH, bytes(size))).json == {"received_bytes": size}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?bytes=",
        "?bytes=-1",
        "?bytes=x",
        f"?bytes={MAX_PROBE_BYTES + 1}",
        "?bytes=" + "9" * 50,
        "?bytes=%C2%B2",
        "?Bytes=3",
    ],
)
def test_the_probe_refuses_a_size_that_it_does_not_send(port: int, query: str) -> None:
    reply = tiers.talk(port, tiers.request("GET", f"{PROBE_PATH}{query}"))
    assert (reply.status, reply.sentence) == (400, f"say ?bytes=N with N up to {MAX_PROBE_BYTES}")


@pytest.fixture(scope="module")
def guarded(repository: Path) -> Iterator[int]:
    with tiers.in_thread(repository, ServerSettings(token="s3cret")) as port:
        yield port


@pytest.mark.parametrize(
    "header",
    [None, "Bearer", "Bearer ", "Bearer wrong", "s3cret", "Basic s3cret", "Bearer s3cret x", "Bearer \xff"],
)
@pytest.mark.parametrize("path", ["/v2", "/v2/models/sum", LIMITS_PATH, f"{PROBE_PATH}?bytes=1", "/nowhere"])
def test_a_token_is_needed_everywhere(guarded: int, header: str | None, path: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    reply = tiers.talk(guarded, tiers.request("GET", path, headers=headers))
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "Authorization: Bearer" in reply.sentence


def test_a_token_opens_everything(guarded: int) -> None:
    for path, scheme in (("/v2", "Bearer"), ("/v2/models/sum", "bearer"), (LIMITS_PATH, "BEARER")):
        request = tiers.request("GET", path, headers={"Authorization": f"{scheme} s3cret"})
        assert tiers.talk(guarded, request).status == 200


def test_a_token_is_not_needed_to_ask_for_health(guarded: int) -> None:
    assert get(guarded, "/v2/health/ready") == {"ready": True}
    assert get(guarded, "/v2/health/live") == {"live": True}


def test_a_token_is_asked_for_before_the_body_is_read(guarded: int) -> None:
    head = tiers.request("POST", "/v2/models/sum/infer", b"", {"Content-Length": 10**8})
    with tiers.connected(guarded) as connection:
        connection.sendall(head)  # and never the body
        assert tiers.read_reply(connection).status == 401
