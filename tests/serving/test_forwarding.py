"""Requests that one tier hands on to the next."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.serving.repository import Execution, load_repository
from pytest_edgeai.serving.server import ServerSettings, TierServer
from pytest_edgeai.wire import protocol
from pytest_edgeai.wire.client import Client
from tests.serving import graphs, tiers

X = np.arange(5, dtype=np.float32)
FAR_INFER = "/v2/models/far/infer"


@pytest.fixture(scope="module")
def near_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("near")
    graphs.write_echo(folder / "near")
    return folder


@pytest.fixture(scope="module")
def far_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("far")
    graphs.write_echo(folder / "far")
    return folder


@pytest.fixture(scope="module")
def chain(near_models: Path, far_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an edge tier that has a cloud tier behind it; both in processes of their own, with one token."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("s3cret", encoding="utf-8")
    common = ["--compute-scale", "2", "--token-file", str(token)]
    with tiers.started(far_models, "--tier", "cloud", *common) as cloud:
        upstream = ["--upstream", f"http://127.0.0.1:{cloud.port}/", "--link", "edge-cloud"]
        with tiers.started(near_models, "--tier", "edge", *common, *upstream) as edge:
            yield edge.port


@pytest.fixture
def client(chain: int) -> Iterator[Client]:
    with Client("127.0.0.1", chain, place="mobile", link="mobile-edge", token="s3cret") as client:
        yield client


def test_each_model_is_answered_by_the_tier_that_has_it(client: Client) -> None:
    for model, tier in (("near", "edge"), ("far", "cloud")):
        answer = client.infer(model, {"x": X})
        assert answer.outputs["y"].tolist() == X.tolist()
        assert {span.place for span in answer.spans if span.name == "compute"} == {tier}


def test_every_hop_is_a_span_and_all_spans_add_up(client: Client) -> None:
    answer = client.infer("far", {"x": X})
    assert [(span.name, span.place) for span in answer.spans] == [
        ("compute", "cloud"),
        ("stretch", "cloud"),
        ("serialize", "cloud"),
        ("transmit", "edge-cloud"),
        ("serialize", "mobile"),
        ("transmit", "mobile-edge"),
    ]
    assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s, rel=1e-6)
    assert all(span.duration_s > 0 for span in answer.spans)


def test_metadata_and_readiness_are_those_of_the_next_tier(client: Client) -> None:
    assert client.get("/v2/models/far")["name"] == "far"
    assert client.get("/v2/models/far/versions/1")["name"] == "far"
    assert client.get("/v2/models/far/ready") == {"name": "far", "ready": True}


def test_json_bodies_are_handed_on_as_they_are(chain: int) -> None:
    body = protocol.encode_request(protocol.InferRequest({"x": X}), encoding="json").join()
    headers = {"Authorization": "Bearer s3cret", "Content-Type": "application/json"}
    reply = tiers.talk(chain, tiers.request("POST", FAR_INFER, body, headers))
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json["outputs"][0]["data"] == X.tolist()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v2/models/fa/infer", 404, "there is no model 'fa': did you mean 'far'?"),
        ("/v2/models/far/versions/2/infer", 404, "model 'far' has only version 1"),
        (FAR_INFER, 400, "input 'x' is missing"),
    ],
)
def test_the_next_tiers_refusals_are_handed_back(chain: int, path: str, status: int, words: str) -> None:
    body = protocol.encode_request(protocol.InferRequest({"z": X}), encoding="json").join()
    for _ in range(2):
        reply = tiers.talk(chain, tiers.request("POST", path, body, {"Authorization": "Bearer s3cret"}))
        assert (reply.status, words in reply.sentence) == (status, True)


def test_head_is_handed_on_without_a_body(chain: int) -> None:
    with tiers.connected(chain) as connection:
        for _ in range(2):
            connection.sendall(tiers.request("HEAD", "/v2/models/far", headers={"Authorization": "Bearer s3cret"}))
            assert tiers.read_reply(connection, "HEAD").status == 200


@contextlib.contextmanager
def forwarding_to(upstream: tuple[str, int], models: Path, timeout_s: float = 20) -> Iterator[int]:
    with tiers.in_thread(models, ServerSettings(upstream=upstream, timeout_s=timeout_s)) as port:
        yield port


def infer(port: int) -> tiers.Reply:
    body = protocol.encode_request(protocol.InferRequest({"x": X}), encoding="json").join()
    return tiers.talk(port, tiers.request("POST", FAR_INFER, body))


def test_a_next_tier_that_is_not_there_is_a_502(near_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[:2]
    with forwarding_to(address, near_models) as port:
        reply = infer(port)
        assert reply.status == 502
        assert reply.sentence.startswith("the next tier failed: ")
        assert tiers.talk(port, tiers.request("GET", "/v2/models/far")).status == 502
        assert tiers.talk(port, tiers.request("GET", "/v2/models/near")).status == 200


def test_a_next_tier_whose_name_is_unknown_is_a_502(near_models: Path) -> None:
    with forwarding_to(("tier.invalid", 80), near_models) as port:
        assert infer(port).status in (502, 504)


def test_a_next_tier_that_says_nothing_is_a_504(near_models: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        forwarding_to(silent.getsockname()[:2], near_models, timeout_s=0.2) as port,
    ):
        reply = infer(port)
    assert reply.status == 504
    assert reply.sentence == "the next tier did not answer within 0.2 s"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 502),
        (b"\x00\x01", 502),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 502),
        (b"HTTP/1.1 abc\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 502),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, 502),
        (b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\n{}", 599),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n{}", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nServer-Timing: compute;dur=1.2.3;desc=\"x\"\r\nContent-Length: 2\r\n\r\n{}", 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    ],
    ids=repr,
)  # fmt: skip
def test_whatever_the_next_tier_says_there_is_an_answer(near_models: Path, answer: bytes, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def serve() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with forwarding_to(odd.getsockname()[:2], near_models) as port:
            reply = infer(port)
        thread.join()
    assert reply.status == status
    assert reply.status != 502 or reply.sentence.startswith("the next tier failed: ")


def test_a_next_tier_that_was_started_again_is_found_again(near_models: Path, far_models: Path) -> None:
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(tiers.started(far_models))
        port = stack.enter_context(forwarding_to(("127.0.0.1", cloud.port), near_models))
        client = stack.enter_context(Client("127.0.0.1", port))
        client.infer("far", {"x": X})
        cloud.process.kill()
        cloud.process.wait()
        stack.enter_context(tiers.started(far_models, "--port", str(cloud.port)))
        assert client.infer("far", {"x": X}).outputs["y"].tolist() == X.tolist()


def test_a_tier_that_is_its_own_next_tier_answers_all_the_same(near_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[:2]
    settings = ServerSettings(upstream=address, max_connections=8, timeout_s=5)
    with TierServer(address, load_repository(near_models, Execution()), settings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert infer(address[1]).status == 503
        finally:
            server.shutdown()
            thread.join()


def test_large_bodies_cross_in_both_directions(client: Client) -> None:
    x = np.random.default_rng(1).random(700_000, np.float32)
    assert client.infer("far", {"x": x}).outputs["y"].tobytes() == x.tobytes()
