"""Clients that go away or fall silent: they harm nobody, and nobody waits for them without end."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.serving.server import ServerSettings
from pytest_edgeai.wire import protocol
from tests.serving import tiers

INFER = "/v2/models/echo-fp32/infer"
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2.5]}]}).encode()


@pytest.mark.parametrize("cut", [1, 30, 400, 100_000])
def test_a_client_that_goes_away_in_its_request_harms_nobody(port: int, cut: int) -> None:
    array = np.zeros(100_000, np.float32)
    body = protocol.encode_request(protocol.InferRequest({"x": array}))
    sent = tiers.request("POST", INFER, body.join(), {protocol.JSON_LENGTH_HEADER: body.json_length})
    for reset in (False, True):
        with tiers.connected(port) as connection:
            connection.sendall(sent[:cut])
            if reset:  # RST instead of FIN
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert tiers.talk(port, tiers.request("POST", INFER, BODY)).status == 200


@pytest.mark.parametrize("read", [0, 1000])
def test_a_client_that_goes_away_in_its_answer_harms_nobody(port: int, read: int) -> None:
    for _ in range(3):
        with tiers.connected(port) as connection:
            connection.sendall(tiers.request("GET", "/edgeai/probe?bytes=20000000"))
            connection.recv(read + 1)
    assert tiers.talk(port, tiers.request("POST", INFER, BODY)).status == 200


def test_a_client_that_never_reads_its_answer_is_given_up(repository: Path) -> None:
    with tiers.in_thread(repository, ServerSettings(timeout_s=0.2, max_connections=1)) as port:
        with tiers.connected(port) as silent:
            silent.sendall(tiers.request("GET", "/edgeai/probe?bytes=60000000"))
            for _ in range(500):  # bounded; the only place is free again once the first client is given up
                with tiers.connected(port) as connection:
                    connection.sendall(tiers.request("GET", "/v2"))
                    if tiers.read_reply(connection, "GET").status == 200:
                        return
                time.sleep(0.02)
        pytest.fail("the server still waits for a client that does not read")
