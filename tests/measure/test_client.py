"""The client: answers with spans that add up, and every failure as one sentence."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.serving.server import PROBE_PATH, ServerSettings
from pytest_edgeai.wire import protocol
from pytest_edgeai.wire.client import Client, RequestError, Wire
from pytest_edgeai.wire.protocol import InferRequest
from tests.serving import graphs, tiers

X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    graphs.write_echo(folder / "echo")
    graphs.write_echo(folder / "text", "BYTES")
    graphs.write_echo(folder / "odd näme %2F?", "FP32")
    return folder


@pytest.fixture(scope="module")
def port(models: Path) -> Iterator[int]:
    with tiers.started(models, "--tier", "edge", "--compute-scale", "2") as tier:
        yield tier.port


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client("127.0.0.1", port, place="mobile", link="mobile-edge") as client:
        yield client


@contextlib.contextmanager
def answering(answer: Callable[[bytes], bytes], times: int = 1) -> Iterator[int]:
    """A server that answers each of a few connections with some bytes and closes it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(tiers.PATIENCE_S)

        def serve() -> None:
            for _ in range(times):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(answer(connection.recv(65536)))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(tiers.PATIENCE_S)


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("wire", ["binary", "json", "base64"])
def test_tensors_go_and_come_back(port: int, wire: Wire) -> None:
    with Client("127.0.0.1", port, wire=wire) as client:
        assert client.infer("echo", X).outputs["y"].tolist() == X["x"].tolist()
        text = np.array(["grün".encode(), b"x"], dtype=object)
        assert client.infer("text", {"x": text}).outputs["y"].tolist() == text.tolist()


@pytest.mark.parametrize(
    ("model", "inputs"),
    [("text", {"x": np.array([[b"\xff\xd8"]], dtype=object)}), ("echo", {"x": np.array([[np.nan]], np.float32)})],
)
def test_what_json_cannot_carry_fails_the_request(port: int, model: str, inputs: Any) -> None:
    with (
        Client("127.0.0.1", port, wire="json") as client,
        pytest.raises(RequestError, match=r"a request cannot be sent as json: .*which JSON cannot carry"),
    ):
        client.infer(model, inputs)


def test_a_version_of_a_model_is_asked_for(port: int) -> None:
    with Client("127.0.0.1", port, version="1") as client:
        assert np.array_equal(client.infer("echo", X).outputs["y"], X["x"])
    with (
        Client("127.0.0.1", port, version="2") as client,
        pytest.raises(RequestError, match="has only version 1, not '2'"),
    ):
        client.infer("echo", X)


def test_answers_stay_as_they_are_when_later_ones_come(client: Client) -> None:
    first = client.infer("echo", X)
    client.infer("echo", {"x": X["x"] + 1})
    assert first.outputs["y"].tolist() == X["x"].tolist()


def test_answers_may_be_written_to(client: Client) -> None:
    outputs = client.infer("echo", X).outputs["y"]
    outputs += 1
    assert outputs.tolist() == (X["x"] + 1).tolist()


def test_spans_say_where_the_latency_went_and_add_up_to_it(client: Client) -> None:
    answer = client.infer("echo", X)
    assert [(span.name, span.place) for span in answer.spans] == [
        ("compute", "edge"),
        ("stretch", "edge"),
        ("serialize", "edge"),
        ("serialize", "mobile"),
        ("transmit", "mobile-edge"),
    ]
    assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s, rel=1e-6)
    assert all(0 < span.duration_s < answer.latency_s for span in answer.spans)


def test_a_name_may_be_odd(client: Client) -> None:
    assert client.infer("odd näme %2F?", X).outputs["y"].shape == (2, 3)


def test_one_connection_serves_all_requests(models: Path) -> None:
    with tiers.in_thread(models, ServerSettings(max_connections=1)) as port, Client("127.0.0.1", port) as client:
        for _ in range(3):
            client.infer("echo", X)
            client.get("/v2")
            client.upload(PROBE_PATH, 1000)


def test_a_connection_that_the_server_closed_between_requests_is_replaced(models: Path) -> None:
    with (
        tiers.in_thread(models, ServerSettings(idle_timeout_s=0.05)) as port,
        Client("127.0.0.1", port) as client,
    ):
        client.infer("echo", X)
        threading.Event().wait(0.3)
        client.infer("echo", X)


def test_a_client_that_was_closed_can_be_used_again(client: Client) -> None:
    client.infer("echo", X)
    client.close()
    client.close()
    client.infer("echo", X)


def test_a_refusal_is_told_in_the_words_of_the_tier_and_the_connection_stays(client: Client, port: int) -> None:
    with pytest.raises(RequestError) as caught:
        client.infer("ecco", X)
    hint = "there is no model 'ecco': did you mean 'echo'?"
    assert str(caught.value) == f"127.0.0.1:{port} answered 404: {hint}"
    client.infer("echo", X)


def test_a_refusal_of_a_body_that_is_still_being_sent_is_told_all_the_same(models: Path) -> None:
    with (
        tiers.in_thread(models, ServerSettings(max_body_bytes=1000)) as port,
        Client("127.0.0.1", port) as client,
    ):
        for _ in range(3):
            with pytest.raises(RequestError, match="answered 413: the body has 8000"):
                client.infer("echo", {"x": np.zeros(2_000_000, np.float32)})
        client.infer("echo", X)


def test_a_refusal_is_told_even_if_the_server_resets_the_connection_on_the_body() -> None:
    # A server that closes a socket with unread bytes resets the connection.
    sent = response(b'{"error": "too large"}', status="413 No")
    with (
        answering(lambda _: sent) as port,
        Client("127.0.0.1", port) as client,
        pytest.raises(RequestError, match="answered 413: too large"),
    ):
        client.infer("echo", {"x": np.zeros(5_000_000, np.float32)})


def test_no_server_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with Client("127.0.0.1", port) as client, pytest.raises(RequestError, match=f"127.0.0.1:{port} failed: .*refused"):
        client.infer("echo", X)


def test_a_silent_server_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with Client("127.0.0.1", port, timeout_s=0.1) as client, pytest.raises(RequestError) as caught:
            client.infer("echo", X)
    assert str(caught.value) == f"127.0.0.1:{port} did not answer within 0.1 s"


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_server_that_falls_silent_in_its_answer_is_told_as_such(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            Client("127.0.0.1", server.getsockname()[1], timeout_s=0.1) as client,
            pytest.raises(RequestError, match=r"did not answer within 0\.1 s"),
        ):
            client.get("/")
        thread.join()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "closed without an answer"),
        (b"garbage\r\n\r\n", "'garbage' is no HTTP/1.1 status line"),
        (b"\x00", "this is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "the body ends after 4 of the 9 bytes"),
        (response(b""), "sent no inference response"),
        (response(b"{}"), "sent no inference response: the response has no outputs"),
        (response(b"[]"), "sent no inference response"),
        (response(b'{"outputs": 3}'), "sent no inference response"),
        (response(b"{}", "Inference-Header-Content-Length: x"), "sent no inference response"),
        (response(b"{}", "Inference-Header-Content-Length: 99"), "sent no inference response"),
        (response(b'{"error": "too hot"}', status="503 No"), "answered 503: too hot"),
        (response(b"<html>no</html>", status="404 No"), "answered 404: <html>no</html>"),
        (response(b'{"detail": 3}', status="422 No"), 'answered 422: {"detail": 3}'),
        (response(b"", status="500 No"), "answered 500: nothing"),
        (response(b"\xff" * 5000, status="500 No"), "answered 500: \ufffd"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_an_answer_that_is_none_is_told_in_one_sentence(sent: bytes, words: str) -> None:
    with answering(lambda _: sent) as port, Client("127.0.0.1", port) as client, pytest.raises(RequestError) as caught:
        client.infer("echo", X)
    assert words in str(caught.value)
    assert str(caught.value).startswith(("127.0.0.1:", "the connection to 127.0.0.1:"))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_server_of_others_needs_to_send_no_spans_and_may_frame_its_body_as_it_likes(framing: str) -> None:
    body = protocol.encode_response("echo", {"y": X["x"]}, InferRequest(X, binary_outputs=True))
    content = body.join()
    length = f"{protocol.JSON_LENGTH_HEADER.lower()}: {body.json_length}"
    head = f"HTTP/1.1 200 OK\r\nServer: other\r\n{length}\r\n"
    sent = {
        "length": response(content, length),
        "chunked": f"{head}Transfer-Encoding: chunked\r\n\r\n{len(content):x}\r\n".encode()
        + content
        + b"\r\n0\r\n\r\n",
        "close": f"{head}\r\n".encode() + content,
    }[framing]
    with answering(lambda _: sent) as port, Client("127.0.0.1", port, place="mobile", link="l") as client:
        answer = client.infer("echo", X)
    assert answer.outputs["y"].tolist() == X["x"].tolist()
    assert [(span.name, span.place) for span in answer.spans] == [("serialize", "mobile"), ("exchange", "l")]


def test_requests_say_what_other_servers_want_to_know() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return response(b'{"outputs": []}')

    with answering(answer, times=2) as port:
        for wire in ("binary", "base64"):
            with Client("127.0.0.1", port, token="s3cret", wire=wire) as client:
                client.infer("echo", X)
    for request, content_type in zip(seen, ("application/octet-stream", "application/json"), strict=True):
        head = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        assert head[0] == "POST /v2/models/echo/infer HTTP/1.1"
        assert {"Host: 127.0.0.1:" + str(port), "Authorization: Bearer s3cret", f"Content-Type: {content_type}"} < set(
            head
        )
    assert b"Inference-Header-Content-Length" in seen[0]
    assert json.loads(seen[1].partition(b"\r\n\r\n")[2])["inputs"][0]["data"] == [0, 1, 2, 3, 4, 5]


def test_get_gives_json_and_refuses_what_is_none(client: Client, port: int) -> None:
    assert client.get("/v2/health/ready") == {"ready": True}
    with pytest.raises(RequestError, match=f"^127.0.0.1:{port}{PROBE_PATH}.bytes=3 did not send JSON$"):
        client.get(f"{PROBE_PATH}?bytes=3")


def test_probes_take_time_and_count_their_bytes(client: Client) -> None:
    up, down = client.upload(PROBE_PATH, 100_000), client.download(f"{PROBE_PATH}?bytes=100000")
    assert up.took_s > 0
    assert down.took_s > 0
    assert 100_000 < up.sent_bytes < 100_300
    assert 100_000 < down.received_bytes < 100_300
    assert up.received_bytes < 300


@pytest.mark.parametrize("value", [np.array([1 + 2j]), np.array([None], dtype=object)])
def test_tensors_that_cannot_be_sent_are_the_callers_mistake(client: Client, value: Any) -> None:
    with pytest.raises(TypeError):
        client.infer("echo", {"x": value})
    client.infer("echo", X)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("-5000", "compute of edge is negative, -5 s"),
        ("nan", "compute of edge is not a number"),
        ("1000000000000000", r"compute of edge is 1e\+12 s, in an exchange of "),
    ],
)
def test_a_span_that_cannot_be_is_told_with_its_server(told: str, said: str) -> None:
    sent = response(b'{"outputs": []}', f'Server-Timing: compute;dur={told};desc="edge"')
    with (
        answering(lambda _: sent) as port,
        Client("127.0.0.1", port) as client,
        pytest.raises(RequestError, match=f"^127.0.0.1:{port} tells a duration that cannot be: {said}"),
    ):
        client.infer("echo", X)


@pytest.mark.parametrize("token", ["", "two\r\nlines", "gr\u00fcn", "tab\t"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Client("127.0.0.1", 1, token=token)
