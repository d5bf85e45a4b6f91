"""Remote tiers that are other people's servers: graphs alone, JSON alone, names and versions of their own, https."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.measure.answers import spans_of
from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.remote import RemoteBackend
from pytest_edgeai.wire.client import Answer, RequestError

from .conftest import INPUTS, PIPELINE, TEXT, make_site, resources
from .peers import wait_until
from .stock import Stock, make_certificate, stock_server
from .test_remote import tier_elsewhere


def graph_alone(artifact: Path, folder: Path) -> Path:
    """A repository with the graph of an artifact and nothing else."""
    (folder / artifact.name).mkdir(parents=True)
    shutil.copy(artifact / "model.onnx", folder / artifact.name)
    return folder


def order_of(folder: Path, name: str = "", **more: Any) -> DeploymentSpec:
    model, _, operator = folder.name.partition("-")
    return DeploymentSpec(
        name or folder.name, folder, Placement(("edge",)), **{"model": model, "operator": operator, **more}
    )


def site_of(folder: Path, url: str, wire: Any = None, **where: Any) -> BackendContext:
    return replace(make_site(folder, edge={"url": url, **where}), placements=(Placement(("edge",)),), wire=wire)


def ask(site: BackendContext, order: DeploymentSpec, inputs: Any) -> Answer:
    with RemoteBackend(site).deploy(order) as deployment, deployment.client() as client:
        return client.infer(order.name, inputs)


@pytest.fixture
def stock(texts: Path, artifact: Path) -> Iterator[Stock]:
    graphs = {"texts-identity": texts / "model.onnx", "tiny-identity": artifact / "model.onnx"}
    with stock_server(Stock(graphs)) as server:
        yield server


def test_the_pipeline_runs_at_the_client_and_answers_as_a_tier_with_it_does(
    stock: Stock, texts: Path, tmp_path: Path
) -> None:
    before = resources()
    answer = ask(site_of(tmp_path, stock.url, pipeline="client"), order_of(texts), TEXT)
    local, _ = Model(texts, Execution()).infer(TEXT)

    assert answer.outputs["labels"].tolist() == local["labels"].tolist()
    assert answer.outputs["scores"] == pytest.approx(local["scores"], abs=1e-6)
    (body,) = stock.bodies
    (tensor,) = body["inputs"]  # of the two that pre-processing makes, the one that the model takes
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("input_ids", "INT64", [1, 8])
    assert wait_until(lambda: not resources() - before)  # the server of this test closes its ends a little later


@pytest.mark.parametrize("tells_tensors", [True, False])
def test_spans_of_the_client_are_told_and_those_of_the_server_are_absent(
    texts: Path, artifact: Path, tmp_path: Path, tells_tensors: bool
) -> None:
    graphs = {"tiny-identity": artifact / "model.onnx", "texts-identity": texts / "model.onnx"}
    with stock_server(Stock(graphs, tells_tensors)) as server:
        site = site_of(tmp_path, server.url, pipeline="client")
        bare = ask(site, order_of(artifact), INPUTS)
        if tells_tensors:
            around = ask(site, order_of(texts), TEXT)
            assert [(span.name, span.place) for span in around.spans] == [
                ("preprocess", "mobile"),
                ("serialize", "mobile"),
                ("postprocess", "mobile"),
                ("exchange", "mobile-edge"),
            ]
            assert sum(span.duration_s for span in around.spans) == pytest.approx(around.latency_s, abs=1e-9)
            assert all(span.duration_s >= 0 for span in around.spans)
            assert set(spans_of(around, around.latency_s)) == {"preprocess", "serialize", "postprocess", "exchange"}

    assert [span.name for span in bare.spans] == ["serialize", "exchange"]
    assert sum(span.duration_s for span in bare.spans) == pytest.approx(bare.latency_s, abs=1e-9)
    assert np.array_equal(bare.outputs["y"], INPUTS["x"])


def test_a_tier_of_ours_with_the_graph_alone_tells_its_spans_between_those_of_the_client(
    texts: Path, tmp_path: Path
) -> None:
    with tier_elsewhere(graph_alone(texts, tmp_path / "served"), "--tier", "edge") as (_, url):
        answer = ask(site_of(tmp_path, url, pipeline="client"), order_of(texts), TEXT)

    names = [(span.name, span.place) for span in answer.spans]
    assert names[0] == ("preprocess", "mobile")
    assert ("compute", "edge") in names
    assert names[-2:] == [("postprocess", "mobile"), ("transmit", "mobile-edge")]
    assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s, abs=1e-9)
    preprocess = answer.spans[0]
    assert preprocess.cpu_s is not None
    assert preprocess.waited_s is not None


def test_a_graph_where_a_pipeline_is_expected_says_which_setting(texts: Path, stock: Stock, tmp_path: Path) -> None:
    with pytest.raises(
        TierError,
        match=r"its model texts-identity takes input_ids and not pair, .*"
        r"set topology\.tiers\.edge\.pipeline = \"client",
    ):
        ask(site_of(tmp_path, stock.url), order_of(texts), TEXT)


def test_a_pipeline_where_a_graph_is_expected_says_which_setting(texts: Path, tmp_path: Path) -> None:
    with (
        tier_elsewhere(texts.parent) as (_, url),
        pytest.raises(
            TierError,
            match=r"its model texts-identity takes pair, where pre-processing at the client makes input_ids, "
            r"token_type_ids: .*set topology\.tiers\.edge\.pipeline = \"server",
        ),
    ):
        ask(site_of(tmp_path, url, pipeline="client"), order_of(texts), TEXT)


def test_a_model_with_other_outputs_than_the_graph_is_refused(texts: Path, stock: Stock, tmp_path: Path) -> None:
    folder = tmp_path / "texts-identity"
    shutil.copytree(texts, folder)
    replace(PIPELINE, postprocess=Classification("verdict")).write(folder)

    with pytest.raises(TierError, match="gives logits, where post-processing at the client takes verdict"):
        ask(site_of(tmp_path, stock.url, pipeline="client"), order_of(folder), TEXT)


def test_a_server_that_tells_no_outputs_is_found_out_at_the_first_request(
    texts: Path, artifact: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny-identity"
    shutil.copytree(artifact, folder)
    Pipeline(postprocess=Classification("logits")).write(folder)
    with (
        stock_server(Stock({"tiny-identity": artifact / "model.onnx"}, tells_tensors=False)) as server,
        pytest.raises(RequestError, match="the answer has no 'logits', which post-processing takes; it has y"),
    ):
        ask(site_of(tmp_path, server.url, pipeline="client"), order_of(folder), INPUTS)


def test_inputs_that_the_model_of_a_server_lacks_are_named(texts: Path, artifact: Path, tmp_path: Path) -> None:
    with (
        stock_server(Stock({"tiny-identity": texts / "model.onnx"})) as server,
        pytest.raises(RequestError, match="the server's model takes input_ids, and there are x"),
    ):
        ask(site_of(tmp_path, server.url, pipeline="client"), order_of(artifact), INPUTS)


def test_what_a_step_cannot_process_fails_the_request(stock: Stock, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="pre-processing at the client: a sentence in 'pair' is not UTF-8"):
        ask(
            site_of(tmp_path, stock.url, pipeline="client"),
            order_of(texts),
            {"pair": np.array([[b"\xff", b""]], dtype=object)},
        )


@pytest.mark.parametrize("wire", [None, "json", "base64"])
def test_a_server_that_announces_no_binary_tensors_gets_json(
    stock: Stock, artifact: Path, tmp_path: Path, wire: Any
) -> None:
    site = site_of(tmp_path, stock.url, wire, pipeline="client")
    answer = ask(site, order_of(artifact, wire=wire or "binary"), INPUTS)

    assert np.array_equal(answer.outputs["y"], INPUTS["x"])
    assert "data" in stock.bodies[0]["inputs"][0]
    assert "parameters" not in stock.bodies[0]
    assert "; edge gets JSON" in RemoteBackend(site).describe()


def test_a_server_that_announces_binary_tensors_gets_them(artifact: Path, tmp_path: Path) -> None:
    with (
        stock_server(Stock({"tiny-identity": artifact / "model.onnx"}, extensions=("binary_tensor_data",))) as server,
        pytest.raises(RequestError, match=r"answered 422: this is no JSON"),
    ):
        ask(site_of(tmp_path, server.url), order_of(artifact), INPUTS)


@pytest.mark.parametrize("wire", ["binary", "json", "base64"])
def test_a_tier_of_ours_gets_what_the_profile_says(texts: Path, tmp_path: Path, wire: Any) -> None:
    with tier_elsewhere(texts.parent) as (_, url):
        answer = ask(site_of(tmp_path, url, wire), order_of(texts, wire=wire), TEXT)
    local, _ = Model(texts, Execution()).infer(TEXT)

    assert answer.outputs["labels"].tolist() == local["labels"].tolist()


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        ("binary", r"does not announce the extension binary_tensor_data, .*set wire = \"json\"$"),
        ("base64", r"is no server of pytest-edgeai, .*set wire = \"json\", or topology\.tiers\.edge\.pipeline"),
    ],
)
def test_an_encoding_that_a_server_cannot_take_is_refused_at_the_start(
    stock: Stock, tmp_path: Path, wire: Any, sentence: str
) -> None:
    with pytest.raises(TierError, match=sentence):
        RemoteBackend(site_of(tmp_path, stock.url, wire))


def test_images_are_not_sent_as_json(stock: Stock, artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-identity"
    shutil.copytree(artifact, folder)
    Pipeline(ImagePreprocess("x", "pixels", resize=(2, 3), mean=(0.0,), std=(1.0,), mode="L")).write(folder)

    with pytest.raises(TierError, match=r"JSON cannot carry image files: set topology\.tiers\.edge\.pipeline"):
        ask(site_of(tmp_path, stock.url), order_of(folder), INPUTS)


def test_names_and_versions_of_a_server_are_its_own(artifact: Path, tmp_path: Path) -> None:
    with stock_server(Stock({"tiny_of_identity/versions/2": artifact / "model.onnx"})) as server:
        where = {"model": "{model}_of_{operator}", "version": "2"}
        answer = ask(site_of(tmp_path, server.url, **where), order_of(artifact), INPUTS)
        assert server.paths == ["/v2/models/tiny_of_identity/versions/2/infer"]

        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        with pytest.raises(TierError, match=r"does not serve version 3 of tiny_of_identity: .*answered 404"):
            ask(site_of(tmp_path, server.url, **{**where, "version": "3"}), order_of(artifact), INPUTS)


def test_files_of_a_model_with_another_name_are_still_proven(artifact: Path, tmp_path: Path) -> None:
    served = tmp_path / "served" / "renamed"
    shutil.copytree(artifact, served)
    with tier_elsewhere(served.parent) as (_, url):
        backend = RemoteBackend(site_of(tmp_path, url, model="renamed"))
        with backend.deploy(order_of(artifact)) as deployment:
            (state,) = deployment.states()

    assert list(state.limits["digests"]) == ["tiny-identity"]
    assert list(state.limits["load_s"]) == ["tiny-identity"]
    assert state.unproven == ("links",)


@pytest.fixture
def secure(artifact: Path, certificate: Path) -> Iterator[Stock]:
    with stock_server(Stock({"tiny-identity": artifact / "model.onnx"}), certificate) as server:
        yield server


def https(server: Stock) -> str:
    return server.url.replace("http://", "https://")


def test_a_server_behind_tls_answers_who_trusts_its_certificate_over_one_connection(
    secure: Stock, certificate: Path, artifact: Path, tmp_path: Path
) -> None:
    before = resources()
    backend = RemoteBackend(site_of(tmp_path, https(secure), ca_file=certificate))
    large = {"x": np.arange(60_000, dtype=np.float32).reshape(-1, 6)}  # more than one TLS record
    with backend.deploy(order_of(artifact)) as deployment, deployment.client() as client:
        earlier = secure.connections
        for inputs in (INPUTS, large, INPUTS):
            answer = client.infer("tiny-identity", inputs)
            assert np.array_equal(answer.outputs["y"], inputs["x"])
        assert secure.connections == earlier + 1
    assert wait_until(lambda: not resources() - before)  # the server of this test closes its ends a little later


def test_a_certificate_that_nobody_signed_is_not_trusted(secure: Stock, tmp_path: Path) -> None:
    with pytest.raises(
        TierError,
        match=r": its certificate is not trusted: self-signed certificate \(topology\.tiers\.edge\.ca_file names",
    ):
        RemoteBackend(site_of(tmp_path, https(secure)))


@pytest.mark.usefixtures("certificate")  # which skips where none can be made
def test_a_certificate_for_another_host_is_not_trusted(artifact: Path, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other.pem", "DNS:elsewhere.invalid")
    with (
        stock_server(Stock({"tiny-identity": artifact / "model.onnx"}), other) as server,
        pytest.raises(TierError, match=r"is not trusted: .*not valid for '127\.0\.0\.1'$"),
    ):
        RemoteBackend(site_of(tmp_path, https(server), ca_file=other))


def test_https_to_a_server_without_tls_is_said(stock: Stock, tmp_path: Path) -> None:
    with pytest.raises(TierError, match=r"does not answer: .*failed: it does not speak TLS: "):
        RemoteBackend(site_of(tmp_path, https(stock)))


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read: No such file"), (b"secret", "holds no certificates in PEM format")]
)
def test_a_file_without_certificates_is_said(tmp_path: Path, content: bytes | None, said: str, scheme: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(TierError, match=rf"^topology\.tiers\.edge\.ca_file: .*{said}"):
        RemoteBackend(site_of(tmp_path, f"{scheme}://127.0.0.1:1", ca_file=file))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"pipeline": "client"}, "pipeline needs url beside it"),
        ({"model": "{model}"}, "model needs url beside it"),
        ({"version": "2"}, "version needs url beside it"),
        ({"ca_file": "ca.pem"}, "ca_file needs url beside it"),
        ({"url": "http://lab", "ca_file": "ca.pem"}, "ca_file needs an address that begins with https://"),
        ({"url": "http://lab", "model": "{name}"}, "expected a name, with {model} and {operator} in it"),
        ({"url": "http://lab", "model": "{model!r}"}, "expected a name"),
        ({"url": "http://lab", "model": "{model"}, "expected a name"),
        ({"url": "http://lab", "pipeline": "nobody"}, "pipeline"),
        ({"url": "ftp://lab"}, "expected http://HOST, https://HOST or either with :PORT"),
    ],
)
def test_settings_of_a_server_that_make_no_sense_are_refused(tmp_path: Path, where: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_site(tmp_path, edge=where)


def test_https_is_not_imported_where_it_is_not_used() -> None:
    code = "import sys, pytest_edgeai.wire.client; sys.exit('pytest_edgeai.wire.tls' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
