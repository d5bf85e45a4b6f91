"""The remote backend against a real tier that was started by somebody else, with a token."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.serving.server import LIMITS_PATH
from pytest_edgeai.tiers.backend import Backend, BackendContext, DeploymentSpec, TierError
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.remote import RemoteBackend

from .conftest import INPUTS, make_site, resources
from .peers import Talk, peer, read_all, run_module, stopped

OrderOn = Callable[[str], DeploymentSpec]


@contextmanager
def tier_elsewhere(repository: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A tier's server and its address."""
    process = run_module("pytest_edgeai.serving", "--repository", str(repository), *options, "--exit-with-parent")
    try:
        assert process.stdout is not None
        yield process, f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def secured(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a tier that wants a token, and the file with it."""
    token_file = tmp_path_factory.mktemp("tokens") / "token"
    token_file.write_text("open sesame\n")
    with tier_elsewhere(artifact.parent, "--token-file", str(token_file)) as (_, url):
        yield url, token_file


def remote_site(folder: Path, url: str | None, token_file: Path | None = None) -> BackendContext:
    """The study's tiers, of which the edge is elsewhere."""
    where = {key: value for key, value in {"url": url, "token_file": token_file}.items() if value is not None}
    return replace(make_site(folder, edge=where), placements=(Placement(("edge",)),))


def test_a_tier_elsewhere_answers_and_what_cannot_be_proven_is_said(
    secured: tuple[str, Path], order: OrderOn, tmp_path: Path
) -> None:
    before = resources()
    backend: Backend = RemoteBackend(remote_site(tmp_path, *secured))

    with backend.deploy(order("edge")) as deployment, deployment.client() as client:
        answer = client.infer("tiny-identity", INPUTS)
        (state,) = deployment.states()

        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        assert deployment.hops == ()
        assert state.unproven == ("links",)
        assert list(state.limits["load_s"]) == ["tiny-identity"]
        assert deployment.reference()["edge"]["fastest"]["wall_s"] > 0
        assert deployment.diagnose() is None
    assert not resources() - before


def test_a_token_that_is_refused_is_said_at_the_start_and_which(secured: tuple[str, Path], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("open barley")

    with pytest.raises(TierError, match=f"^tier edge at {secured[0]} refuses the token in {wrong} .* answered 401: "):
        RemoteBackend(remote_site(tmp_path, secured[0], wrong))


def test_a_tier_that_wants_a_token_says_where_to_give_it(secured: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TierError, match=r"wants a token: set topology\.tiers\.edge\.token_file"):
        RemoteBackend(remote_site(tmp_path, secured[0]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "has to hold one line of printable ASCII"),
        (b"two\nlines", "has to hold one line of printable ASCII"),
        ("schlüssel".encode(), "has to hold one line of printable ASCII"),
        (b"\xff\xfe", "is not text"),
    ],
)
def test_a_token_file_without_a_token_is_said(tmp_path: Path, content: bytes | None, said: str) -> None:
    token_file = tmp_path / "token"
    if content is not None:
        token_file.write_bytes(content)

    with pytest.raises(TierError, match=rf"^topology\.tiers\.edge\.token_file: .*{said}"):
        RemoteBackend(remote_site(tmp_path, "http://127.0.0.1:1", token_file))


def test_a_tier_without_an_address_says_which_setting_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TierError, match=r"^tier edge has no address: set topology\.tiers\.edge\.url"):
        RemoteBackend(remote_site(tmp_path, None))


def test_a_host_that_refuses_is_said_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

    with pytest.raises(TierError, match=f"^tier edge at {url} does not answer: .*refused"):
        RemoteBackend(remote_site(tmp_path, url))


def test_a_host_without_a_name_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(TierError, match=r"^tier edge at http://no-such-host\.invalid does not answer: "):
        RemoteBackend(remote_site(tmp_path, "http://no-such-host.invalid"))


def test_a_host_that_is_silent_is_given_up_in_time(tmp_path: Path) -> None:
    with (
        peer(read_all) as port,
        pytest.raises(TierError, match=f"^tier edge at http://127.0.0.1:{port} does not answer: .*within 0.2 s"),
    ):
        RemoteBackend(remote_site(tmp_path, f"http://127.0.0.1:{port}"), check_timeout_s=0.2)


def test_something_that_is_no_web_server_is_said(tmp_path: Path) -> None:
    with (
        peer(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")) as port,
        pytest.raises(TierError, match=f"^tier edge at http://127.0.0.1:{port} does not answer: "),
    ):
        RemoteBackend(remote_site(tmp_path, f"http://127.0.0.1:{port}"))


def test_a_model_that_the_tier_does_not_serve_is_said(
    secured: tuple[str, Path], order: OrderOn, tmp_path: Path
) -> None:
    backend = RemoteBackend(remote_site(tmp_path, *secured))

    with (
        pytest.raises(TierError, match=r"^tier edge at .* does not serve other: .*answered 404: "),
        backend.deploy(replace(order("edge"), name="other")),
    ):
        pass


def test_a_session_that_is_made_otherwise_than_asked_for_is_said(
    secured: tuple[str, Path], order: OrderOn, tmp_path: Path
) -> None:
    backend = RemoteBackend(remote_site(tmp_path, *secured))

    with (
        backend.deploy(replace(order("edge"), session="per_request")) as deployment,
        pytest.raises(
            TierError, match=r"^tier edge creates its session per_deployment, where per_request is asked for"
        ),
    ):
        deployment.states()


def test_a_tier_that_is_gone_or_stopped_is_named(artifact: Path, order: OrderOn, tmp_path: Path) -> None:
    with tier_elsewhere(artifact.parent) as (process, url):
        backend = RemoteBackend(remote_site(tmp_path, url), check_timeout_s=0.5)
        with backend.deploy(order("edge")) as deployment:
            with stopped(process.pid):
                said = deployment.diagnose()
            assert said is not None
            assert said.startswith(f"tier edge at {url} does not answer: ")
            process.kill()
            process.wait(60)
            with pytest.raises(TierError, match=f"^tier edge at {url} does not answer: "):
                deployment.states()


TRITON = {
    "/v2/health/live": b"",
    "/v2": b'{"name": "triton", "version": "2.50", "extensions": []}',
    "/v2/models/tiny-identity": b'{"name": "tiny-identity", "inputs": [], "outputs": []}',
}


def server_that_says(contents: Mapping[str, bytes]) -> Talk:
    def talk(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            content = contents.get(request.split()[1].decode())
            status = "200 OK" if content is not None else "404 Not Found"
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content or b'')}\r\n\r\n"
            connection.sendall(head.encode() + (content or b""))

    return talk


@pytest.mark.parametrize("load_s", ["-5", "NaN", "Infinity", '"soon"'])
def test_a_time_of_loading_that_cannot_be_is_refused(order: OrderOn, tmp_path: Path, load_s: str) -> None:
    limits = f'{{"threads": 1, "session": "per_deployment", "load_s": {{"tiny-identity": {load_s}}}}}'
    with peer(server_that_says({**TRITON, LIMITS_PATH: limits.encode()})) as port:
        backend = RemoteBackend(remote_site(tmp_path, f"http://127.0.0.1:{port}"))
        with (
            backend.deploy(order("edge")) as deployment,
            pytest.raises(TierError, match=r"^tier edge tells a duration that cannot be: load of tiny-identity is "),
        ):
            deployment.states()


def test_of_a_server_that_is_not_ours_everything_is_unproven(order: OrderOn, tmp_path: Path) -> None:
    with peer(server_that_says(TRITON)) as port:
        backend = RemoteBackend(remote_site(tmp_path, f"http://127.0.0.1:{port}"))
        with backend.deploy(order("edge")) as deployment:
            (state,) = deployment.states()
            assert deployment.reference() == {}
            diagnosis = deployment.diagnose()

    assert dict(state.limits) == {}
    assert state.unproven == ("cores", "memory", "links", "load", "session")
    assert diagnosis is None


def test_a_chain_of_tiers_is_refused(tmp_path: Path) -> None:
    site = replace(remote_site(tmp_path, "http://127.0.0.1:1"), placements=(Placement(("mobile", "edge")),))

    with pytest.raises(TierError, match=r"^placement mobile\+edge: "):
        RemoteBackend(site)
