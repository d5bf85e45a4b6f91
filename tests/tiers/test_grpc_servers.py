"""Remote tiers that are reached over gRPC: servers from the service that Triton's client library has generated."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.measure.answers import spans_of
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.registry import open_backend
from pytest_edgeai.tiers.remote import RemoteBackend
from pytest_edgeai.wire import grpc_messages
from pytest_edgeai.wire.client import RequestError
from pytest_edgeai.wire.grpc_client import GrpcClient
from pytest_edgeai.wire.protocol import DATATYPES, ProtocolError

from .conftest import INPUTS, TEXT, make_site, resources
from .peers import peer, read_all, run_module, wait_until
from .stock import make_certificate
from .stock_grpc import GrpcStock, grpc_server
from .test_stock_servers import ask, order_of, site_of


@pytest.fixture
def stock(texts: Path, artifact: Path) -> Iterator[GrpcStock]:
    graphs = {"texts-identity": texts / "model.onnx", "tiny-identity": artifact / "model.onnx"}
    with grpc_server(GrpcStock(graphs)) as server:
        yield server


@pytest.fixture
def client(stock: GrpcStock) -> Iterator[GrpcClient]:
    with GrpcClient(f"127.0.0.1:{stock.port}", place="mobile", link="mobile-edge") as client:
        yield client


@pytest.mark.parametrize("name", sorted({*grpc_messages.MESSAGES} - {"InferTensor", "TensorMetadata"}))
def test_messages_are_those_of_the_generated_service(name: str) -> None:
    theirs = {field.number: field for field in service_pb2.DESCRIPTOR.message_types_by_name[name].fields}
    ours = grpc_messages.message_class(name).DESCRIPTOR
    assert ours.full_name == service_pb2.DESCRIPTOR.message_types_by_name[name].full_name

    def compare(own: Any, other: Any) -> None:
        assert (own.name, own.type, own.is_repeated) == (other.name, other.type, other.is_repeated)
        if own.message_type is not None:
            fields = {one.number: one for one in other.message_type.fields}
            for one in own.message_type.fields:
                compare(one, fields[one.number])

    for field in ours.fields:
        compare(field, theirs[field.number])


def test_the_pipeline_runs_at_the_client_and_answers_as_a_tier_with_it_does(
    stock: GrpcStock,
    texts: Path,
    tmp_path: Path,
) -> None:
    answer = ask(site_of(tmp_path, stock.url, pipeline="client"), order_of(texts), TEXT)
    local, _ = Model(texts, Execution()).infer(TEXT)

    assert answer.outputs["labels"].tolist() == local["labels"].tolist()
    assert answer.outputs["scores"] == pytest.approx(local["scores"], abs=1e-6)
    (request,) = stock.requests
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, [*tensor.shape]) == ("input_ids", "INT64", [1, 8])


def test_spans_of_the_client_are_told_and_those_of_the_server_are_absent(
    stock: GrpcStock,
    texts: Path,
    artifact: Path,
    tmp_path: Path,
) -> None:
    site = site_of(tmp_path, stock.url, pipeline="client")
    bare, around = ask(site, order_of(artifact), INPUTS), ask(site, order_of(texts), TEXT)

    assert [(span.name, span.place) for span in bare.spans] == [("serialize", "mobile"), ("exchange", "mobile-edge")]
    assert [span.name for span in around.spans] == ["preprocess", "serialize", "postprocess", "exchange"]
    for answer in (bare, around):
        assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s, abs=1e-9)
        assert all(span.duration_s >= 0 for span in answer.spans)
    assert set(spans_of(bare, bare.latency_s)) == {"serialize", "exchange"}


@pytest.mark.parametrize("answers_raw", [True, False], ids=["raw", "lists"])
def test_outputs_are_read_in_both_forms(artifact: Path, tmp_path: Path, answers_raw: bool) -> None:
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"}, answers_raw)) as server:
        answer = ask(site_of(tmp_path, server.url), order_of(artifact), INPUTS)

    np.testing.assert_array_equal(answer.outputs["y"], INPUTS["x"])
    assert answer.outputs["y"].dtype == np.float32


def test_messages_above_the_usual_limit_are_taken(artifact: Path, tmp_path: Path) -> None:
    large = {"x": np.arange(1_200_000, dtype=np.float32).reshape(-1, 6)}
    unlimited = ("grpc.max_receive_message_length", -1)
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"}), None, unlimited) as server:
        answer = ask(site_of(tmp_path, server.url), order_of(artifact), large)

    np.testing.assert_array_equal(answer.outputs["y"], large["x"])


def test_a_message_that_is_too_large_for_the_server_says_what_to_raise(
    stock: GrpcStock, artifact: Path, tmp_path: Path
) -> None:
    large = {"x": np.zeros((200_000, 6), np.float32)}
    with pytest.raises(RequestError, match=r"larger than max.*; raise the limit that the server has for the length"):
        ask(site_of(tmp_path, stock.url), order_of(artifact), large)


def test_connections_and_threads_are_gone_after_a_deployment(stock: GrpcStock, artifact: Path, tmp_path: Path) -> None:
    site, order = site_of(tmp_path, stock.url), order_of(artifact)
    ask(site, order, INPUTS)  # what gRPC keeps for good, it has now
    before = resources()
    for _ in range(3):
        ask(site, order, INPUTS)
    # The server of this test is in this process and closes its ends a little later.
    assert wait_until(lambda: not resources() - before), resources() - before


def test_names_and_versions_of_a_server_are_its_own(artifact: Path, tmp_path: Path) -> None:
    with grpc_server(GrpcStock({"tiny_of_identity/2": artifact / "model.onnx"})) as server:
        where = {"model": "{model}_of_{operator}", "version": "2"}
        answer = ask(site_of(tmp_path, server.url, **where), order_of(artifact), INPUTS)
        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        assert [(one.model_name, one.model_version) for one in server.requests] == [("tiny_of_identity", "2")]
        with pytest.raises(TierError, match=r"does not serve version 3 of tiny_of_identity: .*answered NOT_FOUND: no "):
            ask(site_of(tmp_path, server.url, **{**where, "version": "3"}), order_of(artifact), INPUTS)


def test_metadata_are_compared_with_the_pipeline_before_the_trial(
    stock: GrpcStock,
    texts: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(TierError, match=r"takes input_ids and not pair, .*set topology\.tiers\.edge\.pipeline"):
        ask(site_of(tmp_path, stock.url), order_of(texts), TEXT)
    stock.sessions["texts-identity"] = stock.sessions["tiny-identity"]
    with pytest.raises(TierError, match="takes x, where pre-processing at the client makes input_ids"):
        ask(site_of(tmp_path, stock.url, pipeline="client"), order_of(texts), TEXT)
    assert stock.requests == []


def test_a_gateway_that_has_the_methods_of_models_alone_is_enough(artifact: Path, tmp_path: Path) -> None:
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"}, is_gateway=True)) as server:
        answer = ask(site_of(tmp_path, server.url), order_of(artifact), INPUTS)

    assert np.array_equal(answer.outputs["y"], INPUTS["x"])


def test_a_relay_in_front_of_a_server_lets_it_through(stock: GrpcStock, artifact: Path, tmp_path: Path) -> None:
    with run_module("pytest_edgeai.tiers.relay", "--target", f"127.0.0.1:{stock.port}", "--rate-bps", "1e8") as relay:
        assert relay.stdout is not None
        port = json.loads(relay.stdout.readline())["port"]
        answer = ask(site_of(tmp_path, f"grpc://127.0.0.1:{port}", "binary"), order_of(artifact), INPUTS)
        relay.kill()

    assert np.array_equal(answer.outputs["y"], INPUTS["x"])


def test_of_a_server_everything_is_unproven(stock: GrpcStock, artifact: Path, tmp_path: Path) -> None:
    with RemoteBackend(site_of(tmp_path, stock.url)).deploy(order_of(artifact)) as deployment:
        (state,) = deployment.states()
        assert (dict(state.limits), state.unproven) == ({}, ("cores", "memory", "links", "load", "session"))
        assert deployment.reference() == {}
        assert deployment.diagnose() is None


@pytest.mark.parametrize("wire", ["json", "base64"])
def test_encodings_that_grpc_has_not_are_refused_at_the_start(stock: GrpcStock, tmp_path: Path, wire: Any) -> None:
    with pytest.raises(TierError, match=rf'no form for the profile\'s wire = "{wire}": leave it out, or give'):
        RemoteBackend(site_of(tmp_path, stock.url, wire))


def test_without_the_extra_the_session_ends_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pytest_edgeai.wire.grpc_client")
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SettingsError, match=r"tier edge at grpc://.* pip install 'pytest-edgeai\[grpc\]'$"):
        open_backend("remote", site_of(tmp_path, "grpc://127.0.0.1:1"), {})


def test_a_host_that_refuses_is_said_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"grpc://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(TierError, match=f"^tier edge at {url} does not answer: the connection .* failed: .*refused"):
        RemoteBackend(site_of(tmp_path, url))


def test_a_host_that_is_silent_is_given_up_in_time(tmp_path: Path) -> None:
    with peer(read_all) as port, pytest.raises(TierError, match=r"does not answer: .*within 0.2 s"):
        RemoteBackend(site_of(tmp_path, f"grpc://127.0.0.1:{port}"), check_timeout_s=0.2)


def test_something_that_speaks_no_grpc_is_said(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    with (
        peer(lambda connection: connection.sendall(answer)) as port,
        pytest.raises(TierError, match=r"does not answer: "),
    ):
        RemoteBackend(site_of(tmp_path, f"grpc://127.0.0.1:{port}"), check_timeout_s=2)


def test_a_server_that_is_not_live_is_said(stock: GrpcStock, tmp_path: Path) -> None:
    stock.live = False
    with pytest.raises(TierError, match="says that it is not live"):
        RemoteBackend(site_of(tmp_path, stock.url))


def test_a_server_that_goes_away_in_the_middle_is_named(artifact: Path, tmp_path: Path) -> None:
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"})) as server:
        backend, order = RemoteBackend(site_of(tmp_path, server.url)), order_of(artifact)
        stack = backend.deploy(order)
        deployment = stack.__enter__()
        requests = deployment.client()
        requests.infer(order.name, INPUTS)
    with requests, pytest.raises(RequestError, match=r"^the connection to 127\.0\.0\.1:\d+ failed: "):
        requests.infer(order.name, INPUTS)
    with pytest.raises(TierError, match=f"^tier edge at {server.url} does not answer: "):
        deployment.states()
    said = deployment.diagnose()
    assert said is not None
    assert said.startswith(f"tier edge at {server.url} does not answer: ")
    stack.__exit__(None, None, None)


def test_an_answer_that_does_not_come_is_given_up_in_time(stock: GrpcStock) -> None:
    there = threading.Event()

    class Sleeping:
        def run(self, *_: Any) -> None:
            there.wait(60)

    stock.sessions["tiny-identity"] = Sleeping()
    try:
        with (
            GrpcClient(f"127.0.0.1:{stock.port}", timeout_s=0.2) as client,
            pytest.raises(RequestError, match=r"^127\.0\.0\.1:\d+ did not answer within 0.2 s$"),
        ):
            client.infer("tiny-identity", INPUTS)
    finally:
        there.set()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (grpc.StatusCode.UNAVAILABLE, "the connection to .* failed: still loading"),
        (grpc.StatusCode.INVALID_ARGUMENT, "answered INVALID_ARGUMENT: still loading"),
        (grpc.StatusCode.INTERNAL, "answered INTERNAL: still loading"),
    ],
)
def test_a_refusal_is_told_in_the_server_s_words(
    stock: GrpcStock, client: GrpcClient, status: Any, sentence: str
) -> None:
    stock.refusal = status, "still\nloading"
    with pytest.raises(RequestError, match=sentence):
        client.infer("tiny-identity", INPUTS)


def test_a_token_is_sent_and_its_refusal_is_said(artifact: Path, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("open sesame\n")
    wrong.write_text("open barley\n")
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"}, token="open sesame")) as server:
        answer = ask(site_of(tmp_path, server.url, token_file=right), order_of(artifact), INPUTS)
        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        with pytest.raises(TierError, match=rf"refuses the token in {wrong} .*answered PERMISSION_DENIED: not you"):
            RemoteBackend(site_of(tmp_path, server.url, token_file=wrong))
        with pytest.raises(TierError, match=r"wants a token: set topology\.tiers\.edge\.token_file .*who are you"):
            RemoteBackend(site_of(tmp_path, server.url))


@pytest.fixture
def secure(artifact: Path, certificate: Path) -> Iterator[str]:
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"}), certificate) as server:
        yield server.url.replace("grpc://", "grpcs://")


def test_a_server_behind_tls_answers_who_trusts_its_certificate(
    secure: str, certificate: Path, artifact: Path, tmp_path: Path
) -> None:
    answer = ask(site_of(tmp_path, secure, ca_file=certificate), order_of(artifact), INPUTS)
    assert np.array_equal(answer.outputs["y"], INPUTS["x"])


def test_a_certificate_that_nobody_signed_is_not_trusted(secure: str, tmp_path: Path) -> None:
    with pytest.raises(
        TierError, match=r": its certificate is not trusted: .*\(topology\.tiers\.edge\.ca_file names the certificates"
    ):
        RemoteBackend(site_of(tmp_path, secure))


@pytest.mark.usefixtures("certificate")  # which skips where none can be made
def test_a_certificate_for_another_host_is_not_trusted(artifact: Path, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other.pem", "DNS:elsewhere.invalid")
    with grpc_server(GrpcStock({"tiny-identity": artifact / "model.onnx"}), other) as server:
        url = server.url.replace("grpc://", "grpcs://")
        with pytest.raises(TierError, match=r": its certificate is not trusted: .*[Hh]ostname|[Pp]eer name"):
            RemoteBackend(site_of(tmp_path, url, ca_file=other))


def test_tls_to_a_server_without_it_is_said(stock: GrpcStock, tmp_path: Path) -> None:
    with pytest.raises(TierError, match=r"does not answer: .*failed: it does not speak TLS: "):
        RemoteBackend(site_of(tmp_path, stock.url.replace("grpc://", "grpcs://")))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"url": "grpc://lab"}, "expected grpc://HOST:PORT, because gRPC has no usual port"),
        ({"url": "grpc://lab:0"}, "expected http://HOST"),
        ({"url": "grpc://lab:8001", "ca_file": "ca.pem"}, "begins with https:// or grpcs://"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(tmp_path: Path, where: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_site(tmp_path, edge=where)


def test_the_address_of_the_newer_protocol_of_the_internet_is_taken(tmp_path: Path) -> None:
    make_site(tmp_path, edge={"url": "grpc://[::1]:8001"})


@pytest.mark.parametrize(
    ("outputs", "raws", "sentence"),
    [
        ([], [], "has no outputs"),
        ([("y", "FP32", [2], {})], [b"1234"], "takes 8 bytes, but has 4"),
        ([("y", "FP32", [1], {})], [b"1234", b"5678"], "describes 1 outputs, and has the bytes of 2"),
        ([("y", "FP32", [1], {}), ("y", "FP32", [1], {})], [b"1234", b"1234"], "'y' is given twice"),
        ([("y", "FP32", [3], {"fp32_contents": [1, 2]})], [], "has 2 values in its fp32_contents"),
        ([("y", "INT8", [1], {"int_contents": [128]})], [], "that INT8 cannot hold"),
        ([("y", "FP16", [1], {})], [], "of datatype FP16 has no raw bytes"),
        ([("y", "FP31", [1], {})], [], "has datatype 'FP31'"),
        ([("y", "FP32", [-1], {})], [b"1234"], "not a list of up to"),
    ],
)
def test_answers_that_are_none_are_refused(outputs: Any, raws: list[bytes], sentence: str) -> None:
    response = service_pb2.ModelInferResponse(raw_output_contents=raws)
    for name, datatype, shape, contents in outputs:
        response.outputs.add(name=name, datatype=datatype, shape=shape, contents=contents)
    with pytest.raises(ProtocolError, match=sentence):
        grpc_messages.decode_response(response.SerializeToString())


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(ProtocolError, match="are no ModelInferResponse"):
        grpc_messages.decode_response(b"\xff\xff\xff")


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "INT32", "INT64", "UINT8", "UINT64", "FP32", "FP64", "BYTES"])
def test_lists_of_every_datatype_are_read(datatype: str) -> None:
    dtype = DATATYPES[datatype]
    array = np.array([b"a", b""], object) if datatype == "BYTES" else np.array([1, 0]).astype(dtype)
    response = service_pb2.ModelInferResponse()
    contents = {grpc_messages.CONTENTS[datatype]: array.tolist()}
    response.outputs.add(name="y", datatype=datatype, shape=[2, 1], contents=contents)
    read = grpc_messages.decode_response(response.SerializeToString())["y"]

    assert read.dtype == dtype
    assert read.tolist() == array.reshape(2, 1).tolist()


@pytest.mark.parametrize("datatype", ["FP16", "BOOL", "INT8", "UINT64", "BYTES"])
def test_requests_are_what_the_generated_service_reads(datatype: str) -> None:
    dtype = DATATYPES[datatype]
    array = np.array([[b"ab"]], object) if datatype == "BYTES" else np.array([[1, 0]]).astype(dtype)
    request = service_pb2.ModelInferRequest.FromString(grpc_messages.encode_request("m", "2", {"x": array}))

    assert (request.model_name, request.model_version, request.inputs[0].name) == ("m", "2", "x")
    assert (request.inputs[0].datatype, [*request.inputs[0].shape]) == (datatype, [*array.shape])
    expected = b"\x02\0\0\0ab" if datatype == "BYTES" else array.tobytes()
    assert [*request.raw_input_contents] == [expected]


def test_grpc_is_not_imported_where_it_is_not_used() -> None:
    code = "import sys, pytest_edgeai.tiers.remote; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
