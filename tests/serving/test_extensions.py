"""Triton's extensions of the protocol: configuration, statistics, index, and compressed requests."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from pytest_edgeai.serving.pipeline import NextPart, Pipeline
from pytest_edgeai.serving.server import ServerSettings
from pytest_edgeai.serving.statistics import ModelStatistics
from pytest_edgeai.wire import protocol, timing
from pytest_edgeai.wire.client import Client
from pytest_edgeai.wire.links import LinkShape
from pytest_edgeai.wire.timing import Span
from tests.serving import graphs, tiers

AB = {"a": np.array([[1, 2]], np.float32), "b": np.array([[3, 5]], np.float32)}
INFER = "/v2/models/sum/infer"
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


@pytest.fixture
def own_port(repository: Path) -> Iterator[int]:
    """A server whose counters nobody else moves."""
    with tiers.in_thread(repository, ServerSettings()) as port:
        yield port


def get(port: int, path: str) -> Any:
    reply = tiers.talk(port, tiers.request("GET", path))
    assert reply.status == 200, reply
    return reply.json


def counted(port: int, model: str = "sum") -> Any:
    (stats,) = get(port, f"/v2/models/{model}/stats")["model_stats"]
    return stats


def infer(port: int, inputs: Any = AB, **headers: str) -> tiers.Reply:
    body = protocol.encode_request(protocol.InferRequest(inputs))
    return tiers.talk(
        port, tiers.request("POST", INFER, body.join(), {protocol.JSON_LENGTH_HEADER: body.json_length, **headers})
    )


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_a_configuration_has_the_shapes_of_the_metadata(port: int, version: str) -> None:
    configuration = get(port, f"/v2/models/classifier{version}/config")
    metadata = get(port, "/v2/models/classifier")
    assert configuration["platform"] == metadata["platform"] == "onnxruntime_onnx"
    assert configuration["max_batch_size"] == 0
    for key in ("input", "output"):
        tensors = metadata[f"{key}s"]
        assert [(one["name"], one["dims"]) for one in configuration[key]] == [(t["name"], t["shape"]) for t in tensors]


@pytest.mark.parametrize(
    ("datatype", "expected"),
    [("FP32", "TYPE_FP32"), ("FP16", "TYPE_FP16"), ("BOOL", "TYPE_BOOL"), ("BYTES", "TYPE_STRING")],
)
def test_a_configuration_has_triton_s_names_of_datatypes(port: int, datatype: str, expected: str) -> None:
    configuration = get(port, f"/v2/models/echo-{datatype.lower()}/config")
    assert [one["data_type"] for key in ("input", "output") for one in configuration[key]] == [expected] * 2


def test_requests_are_counted_with_what_they_took(own_port: int) -> None:
    assert counted(own_port)["batch_stats"] == []
    spans_s = {"compute": 0.0, "serialize": 0.0}
    for _ in range(3):
        for span in timing.parse_spans(infer(own_port).headers[timing.HEADER]):
            spans_s[span.name] += span.duration_s

    stats = counted(own_port)
    inference = stats["inference_stats"]
    assert (stats["name"], stats["version"], stats["inference_count"], stats["execution_count"]) == ("sum", "1", 3, 3)
    assert stats["last_inference"] > 1_600_000_000_000
    assert tuple(sorted(inference)) == tuple(sorted(DURATIONS))
    assert {name: inference[name]["count"] for name in DURATIONS} == {
        **dict.fromkeys(DURATIONS, 3),
        **dict.fromkeys(("fail", "cache_hit", "cache_miss"), 0),
    }
    assert inference["compute_infer"]["ns"] == pytest.approx(spans_s["compute"] * 1e9, abs=100)
    both = inference["compute_input"]["ns"] + inference["compute_output"]["ns"]
    assert both == pytest.approx(spans_s["serialize"] * 1e9, abs=100)
    assert inference["success"]["ns"] >= both + inference["compute_infer"]["ns"]
    assert stats["batch_stats"] == [
        {"batch_size": 1, **{name: inference[name] for name in DURATIONS if name.startswith("compute")}}
    ]


@pytest.mark.parametrize(
    "ask",
    [
        lambda port: infer(port, {"a": AB["a"]}),
        lambda port: tiers.talk(port, tiers.request("POST", INFER, b"{")),
        lambda port: infer(port, **{"Content-Encoding": "gzip"}),
    ],
    ids=["no input", "no JSON", "not compressed"],
)
def test_a_refused_request_is_counted_as_failed(own_port: int, ask: Callable[[int], tiers.Reply]) -> None:
    assert ask(own_port).status == 400
    stats = counted(own_port)
    assert (stats["inference_count"], stats["inference_stats"]["success"]["count"]) == (0, 0)
    assert stats["inference_stats"]["fail"]["count"] == 1
    assert stats["inference_stats"]["fail"]["ns"] > 0


def test_each_model_has_its_own_counters_and_all_are_listed(own_port: int) -> None:
    infer(own_port)
    listed = {one["name"]: one["inference_count"] for one in get(own_port, "/v2/models/stats")["model_stats"]}
    assert listed["sum"] == 1
    assert listed["classifier"] == 0
    assert len(listed) == len(graphs.ELEMENT_TYPES) + 2


def test_what_comes_over_a_link_is_counted_with_the_rest(tmp_path: Path) -> None:
    graphs.write_sum(tmp_path / "sum")
    shape = LinkShape(rate_bps=1e9)
    with tiers.started(tmp_path, "--inbound-link", shape.as_argument()) as tier:
        assert infer(tier.port).status == 200
        with Client("127.0.0.1", tier.said["link_port"], held_link=shape) as client:
            client.infer("sum", AB)
        assert counted(tier.port)["inference_count"] == 2


class _Interrupted(float):
    """A number at whose addition another thread gets its turn, as it might at any."""

    def __radd__(self, other: float) -> float:
        time.sleep(0)
        return float(self) + other


def test_counters_lose_nothing_between_threads() -> None:
    statistics = ModelStatistics()
    threads, each = 8, 100
    one, two, half, quarter = map(_Interrupted, (1, 2, 0.5, 0.25))

    def count() -> None:
        for _ in range(each):
            statistics.succeed(two, [Span("compute", "", one), Span("wait", "", half)], quarter, quarter)
            statistics.fail(one)

    running = [threading.Thread(target=count) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(tiers.PATIENCE_S)
    inference: Any = statistics.as_json()["inference_stats"]
    total = threads * each
    expected_s = {"success": 2, "fail": 1, "queue": 0.5, "compute_input": 0.25, "compute_infer": 1}
    for name, each_s in {**expected_s, "compute_output": 0.25}.items():
        assert inference[name] == {"count": total, "ns": total * each_s * 10**9}


@pytest.mark.parametrize("reached", [True, False], ids=["next tier", "no next tier"])
def test_a_part_counts_what_the_next_tier_could_answer(tmp_path: Path, reached: bool) -> None:
    graphs.write_echo(tmp_path / "near" / "sum", "FP32", ["n", 2], Pipeline(onward=NextPart()))
    node = helper.make_node("Identity", ["y"], ["z"])
    y, z = (graphs.tensor(name, "FP32", ["n", 2]) for name in "yz")
    graphs.write(tmp_path / "far" / "sum", [node], [y], [z])
    x = np.ones((1, 2), np.float32)
    with tiers.in_thread(tmp_path / "far", ServerSettings()) as far:
        upstream = ("127.0.0.1", far if reached else 9)
        with tiers.in_thread(tmp_path / "near", ServerSettings(upstream=upstream)) as near:
            reply = infer(near, {"x": x})
            stats, later = counted(near), counted(far)
    assert (reply.status == 200) == reached
    assert stats["inference_stats"]["success"]["count"] == int(reached)
    assert stats["inference_stats"]["fail"]["count"] == int(not reached)
    assert later["inference_count"] == int(reached)


def test_a_configuration_of_a_model_elsewhere_comes_from_there(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "empty").mkdir()
    with tiers.in_thread(repository, ServerSettings()) as far:
        settings = ServerSettings(upstream=("127.0.0.1", far))
        with tiers.in_thread(tmp_path / "empty", settings) as near:
            assert get(near, "/v2/models/sum/config") == get(far, "/v2/models/sum/config")
            assert counted(near)["name"] == "sum"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}'])
def test_the_index_has_every_model(port: int, body: bytes) -> None:
    reply = tiers.talk(port, tiers.request("POST", "/v2/repository/index", body))
    assert reply.status == 200
    assert {"name": "sum", "version": "1", "state": "READY"} in reply.json
    assert len(reply.json) == len(graphs.ELEMENT_TYPES) + 2


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b"[" * 100_000])
def test_an_index_is_not_given_for_something_else(port: int, body: bytes) -> None:
    reply = tiers.talk(port, tiers.request("POST", "/v2/repository/index", body))
    assert reply.status == 400
    assert reply.sentence.startswith("the body is ")


@pytest.mark.parametrize("path", ["/v2/repository/index", INFER])
def test_what_is_posted_is_not_there_to_be_read(port: int, path: str) -> None:
    reply = tiers.talk(port, tiers.request("GET", path))
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate"])
def test_a_compressed_request_is_answered(port: int, coding: str) -> None:
    body = protocol.encode_request(protocol.InferRequest(AB))
    packed = zlib.compress(body.join()) if coding == "deflate" else gzip.compress(body.join())
    headers = {protocol.JSON_LENGTH_HEADER: body.json_length, "Content-Encoding": coding}
    reply = tiers.talk(port, tiers.request("POST", INFER, packed, headers))
    assert reply.status == 200
    assert json.loads(reply.body)["outputs"][0]["data"] == [4, 7]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda packed: packed[:-3], "the compressed body is cut off"),
        (lambda packed: b"", "the compressed body is cut off"),
        (lambda packed: packed + b"more", "the compressed body goes on after its end"),
        (lambda packed: packed + packed, "the compressed body goes on after its end"),
        (lambda packed: packed[:-8] + b"\0" * 8, "the body is not compressed by gzip"),
    ],
)
def test_a_damaged_gzip_body_is_refused(port: int, damage: Callable[[bytes], bytes], sentence: str) -> None:
    packed = damage(gzip.compress(protocol.encode_request(protocol.InferRequest(AB), encoding="json").join()))
    reply = tiers.talk(port, tiers.request("POST", INFER, packed, {"Content-Encoding": "gzip"}))
    assert reply.status == 400
    assert reply.sentence.startswith(sentence)


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index"])
@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_bomb_is_too_large(repository: Path, path: str, coding: str, compress: Callable[[bytes], bytes]) -> None:
    with tiers.in_thread(repository, ServerSettings(max_body_bytes=100_000)) as port:
        bomb = compress(bytes(50 * 2**20))
        assert len(bomb) < 100_000
        reply = tiers.talk(port, tiers.request("POST", path, bomb, {"Content-Encoding": coding}))
        assert (reply.status, "100000 bytes" in reply.sentence) == (413, True)


@pytest.mark.parametrize(("spare", "status"), [(0, 200), (-1, 413)])
def test_the_limit_holds_for_the_decompressed_size_to_the_byte(repository: Path, spare: int, status: int) -> None:
    body = protocol.encode_request(protocol.InferRequest({name: np.zeros((500, 2), "f4") for name in AB}))
    headers = {protocol.JSON_LENGTH_HEADER: body.json_length, "Content-Encoding": "gzip"}
    with tiers.in_thread(repository, ServerSettings(max_body_bytes=body.length + spare)) as port:
        assert tiers.talk(port, tiers.request("POST", INFER, gzip.compress(body.join()), headers)).status == status


def test_a_session_for_each_request_is_compute(tmp_path: Path) -> None:
    graphs.write_sum(tmp_path / "sum")
    with tiers.started(tmp_path, "--session", "per_request") as tier:
        spans = timing.parse_spans(infer(tier.port).headers[timing.HEADER])
        stats = counted(tier.port)
    expected = sum(span.duration_s for span in spans if span.name in ("load", "compute"))
    assert stats["inference_stats"]["compute_infer"]["ns"] == pytest.approx(expected * 1e9, abs=100)
