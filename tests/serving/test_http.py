"""HTTP as clients really send it, right and wrong: every wrong message gets a status and a sentence, and in time."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_edgeai.serving.server import ServerSettings
from pytest_edgeai.wire import http1, protocol
from tests.serving import tiers

INFER = "/v2/models/echo-fp32/infer"
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2.5]}]}).encode()
SHORT_S = 0.3


@pytest.fixture(scope="module")
def hasty(repository: Path) -> Iterator[int]:
    """The port of a server that waits for nobody, and takes no large bodies."""
    with tiers.in_thread(repository, ServerSettings(timeout_s=SHORT_S, max_body_bytes=100_000)) as port:
        yield port


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"\x00\x01\x02\x03", 400, "not HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not HTTP"),
        (b"GET /v2 HTTP/1.1\n\n", 400, "does not end with CR LF"),
        (b"hello\r\n\r\n", 400, "not the first line"),
        (b"GET /v2\r\n\r\n", 400, "not the first line"),
        (b"GET  /v2 HTTP/1.1\r\n\r\n", 400, "not the first line"),
        (b"GET /v2 with spaces HTTP/1.1\r\n\r\n", 400, "not the first line"),
        (b"GET /\xe9 HTTP/1.1\r\n\r\n", 400, "not the first line"),
        (b"G@T /v2 HTTP/1.1\r\n\r\n", 400, "not the first line"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0 is not spoken here"),
        (b"GET v2 HTTP/1.1\r\n\r\n", 400, "does not begin with a slash"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", 400, "does not begin with a slash"),
        (b"GET /v2 HTTP/1.1\r\nno colon\r\n\r\n", 400, "no header"),
        (b"GET /v2 HTTP/1.1\r\nName : value\r\n\r\n", 400, "no header"),
        (b"GET /v2 HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400, "no header"),
        (b"GET /v2 HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400, "no header"),
        (b"GET /v2 HTTP/1.1\r\nA: \x00\r\n\r\n", 400, "no header"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414, "the first line"),
        (b"a" * 70_000, 414, "the first line"),
        (b"GET /v2 HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431, "101 headers"),
        (b"GET /v2 HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431, "more than 65536 bytes"),
        (b"GET /v2 HTTP/1.1\r\n" + b"A: b\r\n" * 100_000, 431, "more than 65536 bytes"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_garbage_for_a_head_is_refused_at_once(port: int, sent: bytes, status: int, words: str) -> None:
    with tiers.connected(port) as connection:
        connection.sendall(sent)
        reply = tiers.read_reply(connection)
        assert reply.status == status
        assert words in reply.sentence
        assert reply.headers["Connection"] == "close"
        connection.shutdown(socket.SHUT_WR)
        assert tiers.is_closed(connection)


@given(sent=st.binary(min_size=1, max_size=200))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_get_an_error_with_a_sentence_or_a_closed_connection(port: int, sent: bytes) -> None:
    with tiers.connected(port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        if answer := connection.recv(12):
            assert answer[:9] == b"HTTP/1.1 "
            assert 400 <= int(answer[9:]) < 500 or answer[9:] in (b"501", b"505")


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"Content-Length": "x"}, 400, "Content-Length is not a whole number: 'x'"),
        ({"Content-Length": "-1"}, 400, "not a whole number"),
        ({"Content-Length": "+1"}, 400, "not a whole number"),
        ({"Content-Length": "1.5"}, 400, "not a whole number"),
        ({"Content-Length": "1_0"}, 400, "not a whole number"),
        ({"Content-Length": "\u00b2"}, 400, "not a whole number"),
        ({"Content-Length": "9" * 19}, 400, "not a whole number"),
        ({"Content-Length": "9" * 18}, 413, "bytes; 268435456 are taken at most"),
        ({"Content-Length": "5", "content-length": "6"}, 400, "two different values of Content-Length"),
        ({"Content-Length": "5", "Transfer-Encoding": "chunked"}, 400, "both Content-Length and Transfer-Encoding"),
        ({}, 411, "a POST needs the header Content-Length"),
        ({"Transfer-Encoding": "gzip, chunked"}, 501, "'gzip, chunked' is not understood"),
        ({"Content-Length": "5", "Content-Encoding": "br"}, 415, "gzip and deflate are understood"),
        ({"Content-Length": "5", "Expect": "a miracle"}, 417, "'a miracle' is not understood"),
    ],
)
def test_a_wrong_announcement_of_the_body_is_refused(
    port: int, headers: dict[str, str], status: int, words: str
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reply = tiers.talk(port, f"POST {INFER} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
    assert reply.status == status
    assert words in reply.sentence


@pytest.mark.parametrize("value", ["x", "-1", "1e3", "9" * 20])
def test_a_wrong_length_of_the_json_is_refused(port: int, value: str) -> None:
    reply = tiers.talk(port, tiers.request("POST", INFER, BODY, {protocol.JSON_LENGTH_HEADER: value}))
    assert reply.status == 400
    assert protocol.JSON_LENGTH_HEADER in reply.sentence


@pytest.mark.parametrize("where", ["/nowhere", "/", "/v2/models", "/v2/models/echo-fp32/explain", "/v2/health", "/v3"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_path_gets_404(port: int, where: str, method: str) -> None:
    reply = tiers.talk(port, tiers.request(method, where, b"" if method == "POST" else None))
    assert reply.status == 404
    assert "there is nothing at" in reply.sentence


@pytest.mark.parametrize(
    ("method", "where", "allowed"),
    [
        ("GET", INFER, "POST"),
        ("DELETE", "/v2", "GET, HEAD"),
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("PUT", "/edgeai/probe", "GET, HEAD, POST"),
        ("BREW", "/edgeai/limits", "GET, HEAD"),
    ],
)
def test_a_wrong_method_gets_405_and_the_right_ones(port: int, method: str, where: str, allowed: str) -> None:
    reply = tiers.talk(port, tiers.request(method, where, b"" if method in ("POST", "PUT") else None))
    assert reply.status == 405
    assert reply.headers["Allow"] == allowed
    assert f"only {allowed}" in reply.sentence


def test_head_gives_the_head_of_get_and_no_body(port: int) -> None:
    with tiers.connected(port) as connection, connection.makefile("rb") as answer:
        connection.sendall(tiers.request("HEAD", "/v2", headers={"Connection": "close"}))
        head, _, body = answer.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 0" not in head
    assert body == b""


@pytest.mark.parametrize("target", ["http://tier:80/v2", "/v2/", "//v2", "/v2?x=y", "/v2#fragment", "/%76%32"])
def test_a_path_may_be_written_in_other_ways(port: int, target: str) -> None:
    assert tiers.talk(port, tiers.request("GET", target)).json["name"] == "pytest-edgeai"


@pytest.mark.parametrize("target", ["http://[", "http://", "/v2/models/%ff%fe", "/%", "/v2/models/" + "a/" * 4000])
def test_a_path_that_cannot_be_understood_gets_404(port: int, target: str) -> None:
    assert tiers.talk(port, tiers.request("GET", target)).status == 404


def test_a_connection_is_kept_for_many_requests(port: int) -> None:
    with tiers.connected(port) as connection:
        for _ in range(3):
            connection.sendall(tiers.request("POST", INFER, BODY))
            assert tiers.read_reply(connection).json["outputs"][0]["data"] == [2.5]


def test_a_connection_is_kept_after_a_refused_request_that_was_read_to_its_end(port: int) -> None:
    with tiers.connected(port) as connection:
        for sent, status in ((b"{", 400), (BODY, 200), (b"[]", 400), (BODY, 200)):
            connection.sendall(tiers.request("POST", INFER, sent))
            assert tiers.read_reply(connection).status == status


def test_requests_may_be_sent_before_the_last_one_is_answered(port: int) -> None:
    with tiers.connected(port) as connection, connection.makefile("rb") as answers:
        connection.sendall(tiers.request("POST", INFER, BODY) * 3 + b"\r\n" + tiers.request("GET", "/v2"))
        for _ in range(4):
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := answers.readline()) != b"\r\n":
                if line.startswith(b"Content-Length:"):
                    length = int(line[15:])
            assert json.loads(answers.read(length))


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive\r\n", True),
    ],
)
def test_a_connection_is_closed_when_its_client_wants_it_so(port: int, version: str, header: str, kept: bool) -> None:
    with tiers.connected(port) as connection:
        connection.sendall(f"GET /v2 HTTP/{version}\r\n{header}\r\n".encode())
        assert tiers.read_reply(connection, "GET").status == 200
        if kept:
            connection.sendall(tiers.request("GET", "/v2"))
            assert tiers.read_reply(connection, "GET").status == 200
        else:
            assert tiers.is_closed(connection)


@pytest.mark.parametrize("sizes", [[len(BODY)], [1] * len(BODY), [3, len(BODY) - 3]])
@pytest.mark.parametrize("trailers", ["", "Checksum: 7\r\n"])
def test_a_body_may_come_in_chunks(port: int, sizes: list[int], trailers: str) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n".encode()
    at, chunks = 0, b""
    for size in sizes:
        chunks += b"%X;name=value\r\n%s\r\n" % (size, BODY[at : at + size])
        at += size
    with tiers.connected(port) as connection:
        connection.sendall(head + chunks + f"0\r\n{trailers}\r\n".encode() + tiers.request("GET", "/v2"))
        assert tiers.read_reply(connection).json["outputs"][0]["data"] == [2.5]


@pytest.mark.parametrize(
    ("chunks", "status", "words"),
    [
        (b"x\r\n", 400, "a chunk of size b'x'"),
        (b"-1\r\n", 400, "a chunk of size"),
        (b"\r\n", 400, "a chunk of size"),
        (b"0x5\r\n", 400, "a chunk of size"),
        (b"F" * 16 + b"\r\n", 400, "a chunk of size"),
        (b"FFFFFFFF\r\n", 413, "are taken at most"),
        (b"2\r\nabc\r\n", 400, "longer than it says"),
        (b"5\r\nab", 400, "the connection ended"),
        (b"5", 400, "the connection ended"),
        (b"1" * 70_000, 431, "more than 65536 bytes"),
        (b"0\r\n" + b"A: b\r\n" * 200, 431, "too many trailers"),
    ],
    ids=lambda value: repr(value[:16]) if isinstance(value, bytes) else None,
)
def test_wrong_chunks_are_refused(port: int, chunks: bytes, status: int, words: str) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    reply = tiers.talk(port, head + chunks, end=True)
    assert reply.status == status
    assert words in reply.sentence


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(port: int) -> None:
    with tiers.connected(port) as connection:
        head = tiers.request("POST", INFER, b"", {"Content-Length": len(BODY), "Expect": "100-continue"})
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert tiers.read_reply(connection).status == 200


def test_a_client_that_asks_before_it_sends_too_much_is_told_not_to(hasty: int) -> None:
    with tiers.connected(hasty) as connection:
        head = tiers.request("POST", INFER, b"", {"Content-Length": 10**6, "Expect": "100-continue"})
        connection.sendall(head)
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_an_oversized_body_gets_413_even_while_it_is_being_sent(hasty: int) -> None:
    with tiers.connected(hasty) as connection:
        connection.sendall(tiers.request("POST", INFER, bytes(5_000_000)))
        reply = tiers.read_reply(connection)
    assert reply.status == 413
    assert reply.sentence == "the body has 5000000 bytes; 100000 are taken at most"


def test_an_oversized_body_in_chunks_gets_413(hasty: int) -> None:
    with tiers.connected(hasty) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(3):
            connection.sendall(b"C350\r\n" + bytes(50_000) + b"\r\n")
        assert tiers.read_reply(connection).status == 413


@pytest.mark.parametrize("sent", [b"P", b"POST /v2 HTTP/1.1\r\nHost:"])
def test_a_head_that_stops_gets_408(hasty: int, sent: bytes) -> None:
    reply = tiers.talk(hasty, sent)
    assert reply.status == 408
    assert "nothing came for 0.3 s" in reply.sentence


@pytest.mark.parametrize("framing", ["Content-Length: 500", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("sent", [b"", b"1F4\r\n{"])
def test_a_body_that_stops_gets_408(hasty: int, framing: str, sent: bytes) -> None:
    reply = tiers.talk(hasty, f"POST {INFER} HTTP/1.1\r\n{framing}\r\n\r\n".encode() + sent)
    assert reply.status == 408
    assert "nothing came for 0.3 s" in reply.sentence


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v2/models/echo-fp32/infer HTTP/1.1\r\nContent-Length: 1000\r\n\r\n",
        b"POST /v2/models/echo-fp32/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3E8\r\n",
        b"GET /v2 HTTP/1.1\r\nA: ",
    ],
)
def test_a_message_that_trickles_gets_408_although_it_never_stops(repository: Path, head: bytes) -> None:
    """The limit is far above the pauses of a busy host, since a message that pauses for so long has stopped."""
    with (
        tiers.in_thread(repository, ServerSettings(timeout_s=10 * SHORT_S)) as port,
        tiers.connected(port) as connection,
    ):
        connection.sendall(head)
        connection.settimeout(0.02)
        answer = b""
        for _ in range(500):  # bounded; a server without the limit would listen for longer
            connection.sendall(b"a")
            try:
                answer = connection.recv(4096)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"too slowly" in answer


def test_an_idle_connection_is_closed_without_a_word(repository: Path) -> None:
    with (
        tiers.in_thread(repository, ServerSettings(idle_timeout_s=0.1)) as port,
        tiers.connected(port) as connection,
    ):
        connection.sendall(tiers.request("GET", "/v2"))
        assert tiers.read_reply(connection, "GET").status == 200
        assert tiers.is_closed(connection)


def test_more_connections_than_allowed_get_503_and_fewer_are_served_again(repository: Path) -> None:
    with tiers.in_thread(repository, ServerSettings(max_connections=2)) as port:
        with tiers.connected(port) as one, tiers.connected(port) as other:
            for connection in (one, other):
                connection.sendall(tiers.request("GET", "/v2"))
                assert tiers.read_reply(connection, "GET").status == 200
            with tiers.connected(port) as third:
                reply = tiers.read_reply(third)
            assert reply.status == 503
            assert "2 connections already" in reply.sentence
        for _ in range(200):
            with tiers.connected(port) as connection:
                connection.sendall(tiers.request("GET", "/v2"))
                if tiers.read_reply(connection, "GET").status == 200:
                    return
            time.sleep(0.01)
        pytest.fail("the places of closed connections were not given back")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep other books of their buffers")
def test_connections_within_this_machine_have_little_in_flight() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        http1.prepare(connection)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 2**18


def test_a_body_of_one_request_does_not_leak_into_the_next(port: int) -> None:
    with tiers.connected(port) as connection:
        for value, size in ((1.0, 300_000), (2.0, 10), (3.0, 300_000), (4.0, 1)):
            array = np.full(size, value, np.float32)
            body = protocol.encode_request(protocol.InferRequest({"x": array}, binary_outputs=True))
            headers = {protocol.JSON_LENGTH_HEADER: body.json_length}
            connection.sendall(tiers.request("POST", INFER, body.join(), headers))
            reply = tiers.read_reply(connection)
            outputs = protocol.decode_response(reply.body, int(reply.headers[protocol.JSON_LENGTH_HEADER]))
            assert outputs["y"].tolist() == array.tolist()
