"""Whole sessions on servers of others, from the package index: MLServer, KServe and Triton, over HTTP and over gRPC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from pytest_edgeai.commands import mlserver, triton
from tests.plugin.conftest import ANY_HOST, Project
from tests.plugin.test_remote_tiers import SETTINGS, write_classifier, write_project
from tests.tiers.other_servers import NAMES, NotInstalledError, OtherServer, other_server, python_of, unsupported

REQUIRE = "EDGEAI_REQUIRE_INDEX"
"""Where it is set, a server that cannot be installed fails its tests."""


def _write_models(folder: Path) -> Path:
    """The graph of the project, one that answers the opposite, and one with another input, as they are exported."""
    right = write_classifier(folder / "right.onnx")
    models = folder / "models"
    for name, source, change in (("shade", "pixels", 1), ("inverted", "pixels", -1), ("renamed", "image", 1)):
        graph = onnx.load(right)
        weights = numpy_helper.to_array(graph.graph.initializer[0])
        graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(change * weights, "w"))
        graph.graph.input[0].name = graph.graph.node[0].input[0] = source
        path = models / f"{name}_identity" / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        onnx.save(graph, path)
        settings = mlserver.settings(f"{name}_identity", path, "1/model.onnx")
        path.parents[1].joinpath(mlserver.FILE_NAME).write_text(settings, encoding="utf-8")
        described = triton.configuration(f"{name}_identity", path, 4, "")
        path.parents[1].joinpath(triton.FILE_NAME).write_text(described, encoding="utf-8")
    return models


@pytest.fixture(scope="session", params=NAMES)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherServer]:
    """A server that runs; its packages stay in pytest's cache."""
    cache = request.config.cache
    folder = tmp_path_factory.mktemp("others") if cache is None else cache.mkdir("edgeai-servers")
    if reason := unsupported(request.param):
        pytest.skip(reason)
    try:
        python = python_of(request.param, folder)
    except NotInstalledError as error:
        if os.environ.get(REQUIRE):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with other_server(request.param, python, _write_models(tmp_path_factory.mktemp(request.param))) as server:
        yield server


def _run(project: Project, url: str, model: str = "shade") -> pytest.RunResult:
    write_project(project)
    settings = SETTINGS.format(url=url)
    assert '"{model}_{operator}"' in settings
    project.settings(settings.replace('"{model}_{operator}"', f'"{model}_{{operator}}"') + ANY_HOST)
    return project.run("--benchmark-only")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_session_is_green_and_its_predictions_are_those_of_the_artifact(
    other: OtherServer, project: Project, scheme: str
) -> None:
    result = _run(project, other.url(scheme))

    assert result.ret == 0, result.stdout.str()
    gets_json = "; lab gets JSON" if scheme == "http" and other.name != "triton" else ""
    result.stdout.fnmatch_lines([f"*the pipeline of lab runs at the client{gets_json}"])
    (row,) = project.results["strategies"]
    assert row["verdict"] == "pass", row
    assert row["accuracy"]["value"] == 100
    assert set(row["spans_s"]) == {"preprocess", "serialize", "postprocess", "exchange"}
    (trial,) = project.results["trials"]
    assert trial["status"] == "valid", trial


def test_another_graph_with_the_same_tensors_makes_no_valid_trial(other: OtherServer, project: Project) -> None:
    result = _run(project, other.url("grpc"), "inverted")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*parity: sample * gets label * through the tiers, but *"])


def test_another_graph_with_other_tensors_is_named(other: OtherServer, project: Project) -> None:
    result = _run(project, other.url("grpc"), "renamed")

    assert result.ret == 1
    named = "*its model renamed_identity takes image, where pre-processing at the client makes pixels:*"
    told = {  # KServe tells no tensors, and no reasons over gRPC
        "mlserver": named,
        "triton": named,
        "kserve": "*127.0.0.1:* answered INTERNAL: *",
    }
    result.stdout.fnmatch_lines([told[other.name]])


def test_a_model_that_is_not_served_is_named(other: OtherServer, project: Project) -> None:
    result = _run(project, other.url("http"), "absent")

    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*tier lab at {other.url('http')} does not serve absent_identity: *"])


def test_the_protocol_at_the_other_one_s_port_ends_the_session_before_anything_is_built(
    other: OtherServer, project: Project
) -> None:
    result = _run(project, f"grpc://127.0.0.1:{other.http_port}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    result.stderr.fnmatch_lines(["*tier lab at grpc://* does not answer: *"])
