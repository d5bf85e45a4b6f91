"""`python -m pytest_edgeai.serving`: its options, what it says when they are wrong, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_edgeai
from pytest_edgeai.serving.server import LIMITS_PATH
from pytest_edgeai.wire.client import Client, RequestError
from tests.serving import graphs, tiers

X = {"x": np.ones(3, np.float32)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model."""
    folder = tmp_path_factory.mktemp("small")
    graphs.write_echo(folder / "echo")
    return folder


def test_it_says_its_port_and_load_times_in_one_line_of_json(small: Path) -> None:
    with tiers.started(small) as tier:
        assert set(tier.said) == {"ready", "port", "load_s"}
        assert tier.said["ready"] is True
        assert tier.said["load_s"]["echo"] > 0


def test_it_listens_where_it_is_told_to(small: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tiers.started(small, "--host", "localhost", "--port", str(port)) as tier:
        assert tier.port == port
        with Client("localhost", port) as client:
            assert client.get("/v2/health/live") == {"live": True}


def test_it_listens_on_ipv6(small: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with tiers.started(small, "--host", "::1") as tier, Client("::1", tier.port) as client:
        assert client.infer("echo", X).outputs["y"].tolist() == [1, 1, 1]


def test_options_reach_the_execution(small: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n", encoding="utf-8")
    options = ["--tier", "edge", "--threads", "2", "--spinning", "--compute-scale", "1.5", "--session", "per_request"]
    with tiers.started(small, *options, "--token-file", token) as tier:
        with Client("127.0.0.1", tier.port, token="s3cret") as client:
            limits = client.get(LIMITS_PATH)
            answer = client.infer("echo", X)
        assert (limits["threads"], limits["spinning"], limits["compute_scale"]) == (2, True, 1.5)
        assert limits["session"] == "per_request"
        assert {(span.name, span.place) for span in answer.spans} >= {
            ("load", "edge"),
            ("compute", "edge"),
            ("stretch", "edge"),
        }
        with Client("127.0.0.1", tier.port) as client, pytest.raises(RequestError, match="answered 401"):
            client.infer("echo", X)


def test_bodies_and_waits_are_limited_as_told(small: Path) -> None:
    with tiers.started(small, "--max-body-bytes", "1000", "--timeout", "1") as tier:
        with Client("127.0.0.1", tier.port) as client, pytest.raises(RequestError, match="answered 413"):
            client.infer("echo", {"x": np.ones(1000, np.float32)})
        head = tiers.request("POST", "/v2/models/echo/infer", b"", {"Content-Length": 500})
        assert tiers.talk(tier.port, head).status == 408


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "x"], "argument --port: 'x' is not a whole number from 0 to 65535"),
        (["--port", "65536"], "argument --port: '65536' is not a whole number from 0 to 65535"),
        (["--port", "-1"], "argument --port: '-1' is not a whole number"),
        (["--threads", "0"], "argument --threads: '0' is not a whole number from 1"),
        (["--threads", "1.5"], "argument --threads: '1.5' is not a whole number"),
        (["--compute-scale", "0.5"], "argument --compute-scale: '0.5' is not a number from 1"),
        (["--compute-scale", "nan"], "argument --compute-scale: 'nan' is not a number from 1"),
        (["--compute-scale", "inf"], "argument --compute-scale: 'inf' is not a number"),
        (["--timeout", "0"], "argument --timeout: '0' is not a number from 0.001"),
        (["--max-body-bytes", "-5"], "argument --max-body-bytes: '-5' is not a whole number from 1"),
        (["--session", "sometimes"], "argument --session: invalid choice: 'sometimes'"),
        (["--upstream", "nowhere"], "argument --upstream: 'nowhere' is not HOST:PORT"),
        (["--upstream", ":80"], "argument --upstream: ':80' is not HOST:PORT"),
        (["--upstream", "host:http"], "argument --upstream: 'http' is not a whole number from 0 to 65535"),
        (["--token-file", "/no/such/file"], "argument --token-file: /no/such/file: No such file or directory"),
        (["--repository", "/no/such/folder"], "argument --repository: /no/such/folder is not a folder"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_a_wrong_option_ends_with_2_and_a_sentence(small: Path, options: list[str], words: str) -> None:
    ended = tiers.run("--repository", small, *options)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_without_a_repository_it_does_not_start() -> None:
    ended = tiers.run()
    assert ended.returncode == 2
    assert "the following arguments are required: --repository" in ended.stderr


@pytest.mark.parametrize("content", [b"", b"  \n", b"two\nlines", b"gr\xc3\xbcn", b"\xff"])
def test_a_token_that_no_header_can_carry_is_refused(small: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    ended = tiers.run("--repository", small, "--token-file", tmp_path / "token")
    assert ended.returncode == 2
    assert "argument --token-file" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_says_its_version() -> None:
    ended = tiers.run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"{pytest_edgeai.__version__}\n")


def test_a_port_that_is_taken_ends_with_1_and_a_sentence(small: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = tiers.run("--repository", small, "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_host_that_is_not_ours_ends_with_1_and_a_sentence(small: Path) -> None:
    ended = tiers.run("--repository", small, "--host", "192.0.2.1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: cannot listen on 192.0.2.1:0: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.onnx", b"", "cannot be loaded"),
        ("model.onnx", b"\x00garbage" * 50, "cannot be loaded"),
        ("pipeline.json", b"{", "is not a pipeline"),
        ("pipeline.json", b'{"preproces": null}', "has no field 'preproces': did you mean 'preprocess'?"),
        ("pipeline.json", b'{"postprocess": {"kind": "classification"}}', "takes 'logits', but the graph makes y"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_with_1_and_names_the_file(
    small: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    shutil.copytree(small, tmp_path / "broken")
    (tmp_path / "broken" / "echo" / name).write_bytes(content)
    ended = tiers.run("--repository", tmp_path / "broken")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr
    assert str(tmp_path / "broken" / "echo") in ended.stderr


def test_a_truncated_model_ends_with_1_and_names_the_file(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "broken")
    path = tmp_path / "broken" / "echo" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-20])
    ended = tiers.run("--repository", tmp_path / "broken")
    assert ended.returncode == 1
    assert f"{path} cannot be loaded" in ended.stderr


def test_a_device_that_is_not_there_ends_with_1_rather_than_with_the_cpu(small: Path) -> None:
    ended = tiers.run("--repository", small, "--providers", "ImaginaryExecutionProvider,CPUExecutionProvider")
    assert ended.returncode == 1
    assert "ImaginaryExecutionProvider" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_it_serves_whatever_is_a_model_and_nothing_else(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "mixed")
    (tmp_path / "mixed" / "notes.txt").write_text("no model", encoding="utf-8")
    (tmp_path / "mixed" / "empty").mkdir()
    (tmp_path / "mixed" / "link").symlink_to(small / "echo")
    with tiers.started(tmp_path / "mixed") as tier:
        assert set(tier.said["load_s"]) == {"echo", "link"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_even_in_the_middle_of_a_request(small: Path, number: int) -> None:
    with tiers.started(small) as tier, tiers.connected(tier.port) as connection:
        connection.sendall(tiers.request("POST", "/v2/models/echo/infer", b"", {"Content-Length": 10**6}))
        tier.process.send_signal(number)
        assert tier.wait() == 0
        assert tiers.is_closed(connection)


def test_the_end_of_its_input_ends_it_where_asked(small: Path) -> None:
    with tiers.started(small, "--exit-with-parent") as tier:
        assert tier.process.stdin is not None
        tier.process.stdin.write(b"what is said here does not matter")
        tier.process.stdin.flush()
        with Client("127.0.0.1", tier.port) as client:
            assert client.get("/v2/health/live") == {"live": True}
        tier.process.stdin.close()
        assert tier.wait() == 0


def test_without_being_asked_it_outlives_the_end_of_its_input(small: Path) -> None:
    with tiers.started(small, stdin=subprocess.DEVNULL) as tier, Client("127.0.0.1", tier.port) as client:
        assert client.get("/v2/health/live") == {"live": True}


def test_it_ends_when_its_parent_is_killed(small: Path) -> None:
    script = (
        "import subprocess, sys, time\nchild = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\ntime.sleep(60)\n"
    )
    line = tiers.command("--repository", small, "--exit-with-parent")
    parent = subprocess.Popen([sys.executable, "-c", script, *line], stdout=subprocess.PIPE, env=tiers.environment())
    with contextlib.closing(parent.stdout), Client("127.0.0.1", port_of(parent)) as client:  # type: ignore[type-var]  # it is a pipe
        assert client.get("/v2/health/live") == {"live": True}
        parent.kill()
        parent.wait()
        assert is_gone(client)


@pytest.mark.skipif(os.name != "posix", reason="needs file descriptors of POSIX")
def test_it_ends_at_once_when_it_has_no_input_at_all(small: Path) -> None:
    line = tiers.command("--repository", small, "--exit-with-parent")
    ended = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *line],
        capture_output=True,
        env=tiers.environment(),
        timeout=tiers.PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr


def port_of(process: subprocess.Popen[bytes]) -> int:
    said: dict[str, Any] = json.loads(tiers.first_line(process))
    return int(said["port"])


def is_gone(client: Client) -> bool:
    for _ in range(int(tiers.PATIENCE_S * 50)):
        try:
            client.get("/v2/health/live")
        except RequestError:
            return True
        time.sleep(0.02)
    return False
