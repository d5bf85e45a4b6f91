"""Whole sessions on a server that is reached over gRPC."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugin.conftest import ANY_HOST, Project
from tests.plugin.test_remote_tiers import SETTINGS, write_project
from tests.tiers.stock_grpc import GrpcStock, grpc_server


@pytest.fixture
def shade(project: Project) -> Iterator[tuple[Project, GrpcStock]]:
    """A project with a graph and images, and a server that has the graph."""
    with grpc_server(GrpcStock({"shade_identity": write_project(project)})) as server:
        project.settings(SETTINGS.format(url=server.url) + ANY_HOST)
        yield project, server


class Changed:
    """A graph that does something else at its third request, which is measured."""

    def __init__(self, server: GrpcStock, change: Any) -> None:
        self.session = server.sessions["shade_identity"]
        self.get_inputs, self.get_outputs = self.session.get_inputs, self.session.get_outputs
        self.change = change
        self.asked = 0

    def run(self, names: object, feeds: object) -> Any:
        self.asked += 1
        return self.session.run(names, feeds) if self.asked != 3 else self.change()


def test_a_session_over_grpc_is_green(shade: tuple[Project, GrpcStock]) -> None:
    project, server = shade
    result = project.run("--benchmark-only")

    assert result.ret == 0, result.stdout.str()
    (row,) = project.results["strategies"]
    assert (row["verdict"], row["accuracy"]["value"]) == ("pass", 100)
    assert {one.inputs[0].name for one in server.requests} == {"pixels"}
    assert len(server.requests) == 4  # one to warm up


def test_a_server_that_goes_away_in_a_trial_makes_it_invalid(shade: tuple[Project, GrpcStock]) -> None:
    project, server = shade
    server.sessions["shade_identity"] = Changed(server, server.stop)
    result = project.run("--benchmark-only")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*tier lab at grpc://*does not answer: the connection to *failed: *"])
    (row,) = project.results["strategies"]
    assert (row["verdict"], row["median_s"]) == ("invalid", None)


def test_a_request_that_the_server_refuses_makes_the_trial_invalid(shade: tuple[Project, GrpcStock]) -> None:
    project, server = shade

    def refuse() -> None:
        raise RuntimeError("out of memory")

    server.sessions["shade_identity"] = Changed(server, refuse)
    result = project.run("--benchmark-only")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*answered UNKNOWN: *out of memory*"])


def test_without_the_extra_nothing_is_built_and_the_command_is_said(
    shade: tuple[Project, GrpcStock], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, server = shade
    monkeypatch.delitem(sys.modules, "pytest_edgeai.wire.grpc_client", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    result = project.run("--benchmark-only")

    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    result.stderr.fnmatch_lines(
        ["*tier lab at grpc://*: gRPC needs the extra grpc*pip install 'pytest-edgeai[[]grpc]'"]
    )
    assert result.stderr.str().count("needs the extra grpc") == 1
    assert "building" not in result.stdout.str()
    assert server.requests == []


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("inputs = 3", 'inputs = 3\nwire = "json"', "*tier lab at grpc://* is reached over gRPC, *leave it out*"),
        ('url = "grpc://127.0.0.1:', 'url = "grpc://127.0.0.1/', "*expected *grpc://HOST:PORT*"),
        ('url = "grpc://', 'url = "grpcs://', "*tier lab at grpcs://*it does not speak TLS*"),
    ],
)
def test_what_cannot_work_is_one_sentence_at_collection(
    shade: tuple[Project, GrpcStock], before: str, after: str, sentence: str
) -> None:
    project, server = shade
    text = SETTINGS.format(url=server.url)
    assert before in text
    project.settings(text.replace(before, after) + ANY_HOST)
    result = project.run("--benchmark-only")

    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    result.stderr.fnmatch_lines([sentence])
    assert server.requests == []
