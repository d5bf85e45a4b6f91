"""A repository of small graphs and one tier that serves them to all tests that do not need their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_edgeai.serving.pipeline import Classification, Pipeline
from tests.serving import graphs, tiers


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    graphs.write_sum(folder / "sum")
    for datatype in graphs.ELEMENT_TYPES:
        graphs.write_echo(folder / f"echo-{datatype.lower()}", datatype)
    classification = Pipeline(postprocess=Classification(input="y", k=2))
    graphs.write_echo(folder / "classifier", "FP32", ["n", 3], classification)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[tiers.Tier]:
    with tiers.started(repository, "--tier", "edge") as server:
        yield server
        assert server.process.poll() is None, "the tier did not survive the tests"


@pytest.fixture(scope="session")
def port(server: tiers.Tier) -> int:
    return server.port
