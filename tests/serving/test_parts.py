"""A model in two parts on two tiers: the first runs its graph and sends the tensors on, the second answers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from pytest_edgeai.serving.pipeline import Classification, NextPart, Pipeline, PipelineError
from pytest_edgeai.serving.repository import Execution, load_repository, part_folders
from pytest_edgeai.serving.server import ServerSettings
from pytest_edgeai.wire import protocol
from pytest_edgeai.wire.client import Client, RequestError
from tests.serving import graphs, tiers

X = np.arange(40, dtype=np.float32).reshape(1, 40)
INFER = "/v2/models/model/infer"


def _write_parts(folder: Path, pipeline: Pipeline) -> None:
    rows: graphs.Shape = ["n", 40]
    graphs.write(
        folder / "near" / "model",
        [helper.make_node("Neg", ["x"], ["t"])],
        [graphs.tensor("x", "FP32", rows)],
        [graphs.tensor("t", "FP32", rows)],
        pipeline,
    )
    graphs.write(
        folder / "far" / "model",
        [helper.make_node("Neg", ["t"], ["logits"])],
        [graphs.tensor("t", "FP32", rows)],
        [graphs.tensor("logits", "FP32", rows)],
        Pipeline(None, Classification(k=3)),
    )


@pytest.fixture(scope="module", params=["none", "zlib"])
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of two tiers: the near one has the first part, the far one the second."""
    folder = tmp_path_factory.mktemp("parts")
    _write_parts(folder, Pipeline(onward=NextPart(request.param)))
    with tiers.started(folder / "far", "--tier", "edge", "--compute-scale", "2") as far:
        upstream = ["--upstream", f"127.0.0.1:{far.port}", "--link", "mobile-edge"]
        with tiers.started(folder / "near", "--tier", "mobile", *upstream) as near:
            yield near.port, far.port


@pytest.mark.parametrize("wire", ["binary", "base64"])
def test_the_chain_answers_as_the_whole_would_whatever_the_client_speaks(chain: tuple[int, int], wire: str) -> None:
    with Client("127.0.0.1", chain[0], place="mobile", wire="binary" if wire == "binary" else "base64") as client:
        for _ in range(2):
            answer = client.infer("model", {"x": X})
            assert answer.outputs["labels"].tolist() == [[39, 38, 37]]


def test_every_tier_and_hop_is_in_the_spans_and_they_add_up(chain: tuple[int, int]) -> None:
    with Client("127.0.0.1", chain[0], place="mobile") as client:
        answer = client.infer("model", {"x": X})

    spans = {(span.name, span.place) for span in answer.spans}
    assert {("compute", "mobile"), ("compute", "edge"), ("stretch", "edge"), ("postprocess", "edge")} <= spans
    assert {("serialize", "mobile"), ("serialize", "edge"), ("transmit", "mobile-edge")} <= spans
    assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
    assert all(span.duration_s >= 0 for span in answer.spans)


def test_a_wrong_request_is_refused_by_the_tier_that_finds_it(chain: tuple[int, int]) -> None:
    with Client("127.0.0.1", chain[0]) as client:
        with pytest.raises(RequestError, match="'x' is missing"):
            client.infer("model", {"t": X})
        assert client.infer("model", {"x": X}).outputs["labels"].shape == (1, 3)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda body: body[:-3], "cut off"),
        (lambda body: body + b"more", "goes on after its end"),
        (lambda body: b"plain" + body, "not compressed"),
    ],
)
def test_a_damaged_compressed_body_is_refused(chain: tuple[int, int], damage: object, sentence: str) -> None:
    assert callable(damage)
    body = protocol.encode_request(protocol.InferRequest({"t": X}))
    headers = {protocol.JSON_LENGTH_HEADER: body.json_length, "Content-Encoding": "deflate"}

    whole = tiers.talk(chain[1], tiers.request("POST", INFER, zlib.compress(body.join()), headers))
    damaged = tiers.talk(chain[1], tiers.request("POST", INFER, damage(zlib.compress(body.join())), headers))

    assert whole.status == 200
    assert damaged.status == 400
    assert sentence in damaged.sentence


def test_a_compressed_body_may_not_grow_beyond_the_limit(tmp_path: Path) -> None:
    _write_parts(tmp_path, Pipeline(onward=NextPart()))
    body = zlib.compress(bytes(10**6))
    with tiers.in_thread(tmp_path / "far", ServerSettings(max_body_bytes=10_000)) as port:
        reply = tiers.talk(port, tiers.request("POST", INFER, body, {"Content-Encoding": "deflate"}))
    assert reply.status == 413
    assert "10000" in reply.sentence


def test_a_part_without_a_next_tier_does_not_start(tmp_path: Path) -> None:
    _write_parts(tmp_path, Pipeline(onward=NextPart()))
    ended = tiers.run("--repository", tmp_path / "near")
    assert ended.returncode == 1
    assert "--upstream" in ended.stderr


def test_a_part_whose_next_tier_is_gone_says_so(tmp_path: Path) -> None:
    _write_parts(tmp_path, Pipeline(onward=NextPart()))
    settings = ServerSettings(upstream=("127.0.0.1", 9))
    refused = pytest.raises(RequestError, match="the next tier failed")
    with tiers.in_thread(tmp_path / "near", settings) as port, Client("127.0.0.1", port) as client, refused:
        client.infer("model", {"x": X})


def test_parts_are_found_in_their_order(tmp_path: Path) -> None:
    for number in (1, 0, 2, 10):
        (tmp_path / f"part{number}").mkdir()
    assert [path.name for path in part_folders(tmp_path)] == ["part0", "part1", "part2"]
    assert part_folders(tmp_path / "part0") == (tmp_path / "part0",)


def test_a_pipeline_keeps_that_it_goes_onward(tmp_path: Path) -> None:
    pipeline = Pipeline(onward=NextPart("zlib"))
    pipeline.write(tmp_path)
    assert Pipeline.read(tmp_path) == pipeline
    with pytest.raises(PipelineError, match="none or zlib"):
        NextPart("gzip")  # type: ignore[arg-type]  # wrong on purpose
    _write_parts(tmp_path, pipeline)
    assert load_repository(tmp_path / "near", Execution())["model"].pipeline == pipeline
