"""The official client of the protocol against a tier in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.arrays import Array

tritonclient = pytest.importorskip("tritonclient.http")
utils = pytest.importorskip("tritonclient.utils")


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    with tritonclient.InferenceServerClient(f"127.0.0.1:{port}", connection_timeout=20, network_timeout=20) as client:
        yield client


def tensor(name: str, array: Array, datatype: str, *, binary: bool) -> Any:
    described = tritonclient.InferInput(name, list(array.shape), datatype)
    described.set_data_from_numpy(array, binary_data=binary)
    return described


def test_it_asks_for_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sum")
    assert client.is_model_ready("sum", "1")
    assert not client.is_model_ready("sum", "2")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert [one["name"] for one in client.get_model_metadata("sum", "1")["outputs"]] == ["total", "difference"]


@pytest.mark.parametrize("sent_binary", [True, False], ids=["binary request", "JSON request"])
@pytest.mark.parametrize("got_binary", [True, False], ids=["binary response", "JSON response"])
@pytest.mark.parametrize("version", ["", "1"])
def test_it_infers(client: Any, sent_binary: bool, got_binary: bool, version: str) -> None:
    a, b = np.random.default_rng(1).random((2, 5, 2), np.float32)
    result = client.infer(
        "sum",
        [tensor("a", a, "FP32", binary=sent_binary), tensor("b", b, "FP32", binary=sent_binary)],
        model_version=version,
        outputs=[tritonclient.InferRequestedOutput(name, binary_data=got_binary) for name in ("difference", "total")],
        request_id="seven",
    )
    assert result.get_response()["id"] == "seven"
    np.testing.assert_array_equal(result.as_numpy("total"), a + b)
    np.testing.assert_array_equal(result.as_numpy("difference"), a - b)


def test_it_infers_without_naming_outputs(client: Any) -> None:
    a = np.ones((1, 2), np.float32)
    result = client.infer("sum", [tensor("a", a, "FP32", binary=True), tensor("b", a, "FP32", binary=True)])
    np.testing.assert_array_equal(result.as_numpy("total"), a + a)


@pytest.mark.parametrize(
    "datatype", ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP64"]
)
def test_every_numeric_datatype_comes_back_as_it_was_sent(client: Any, datatype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(utils.triton_to_np_dtype(datatype))
    result = client.infer(f"echo-{datatype.lower()}", [tensor("x", array, datatype, binary=True)])
    np.testing.assert_array_equal(result.as_numpy("y"), array)


@pytest.mark.parametrize("binary", [True, False])
def test_text_comes_back_as_it_was_sent(client: Any, binary: bool) -> None:
    array = np.array(["grün", "", "x\0y"], dtype=object)
    outputs = [tritonclient.InferRequestedOutput("y", binary_data=binary)]
    result = client.infer("echo-bytes", [tensor("x", array, "BYTES", binary=binary)], outputs=outputs)
    texts = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("y").tolist()]
    assert texts == array.tolist()


def test_a_refusal_reaches_its_user_as_a_sentence(client: Any) -> None:
    array = np.ones((1, 2), np.float32)
    with pytest.raises(tritonclient.InferenceServerException, match="input 'b' is missing"):
        client.infer("sum", [tensor("a", array, "FP32", binary=True)])


def test_a_request_for_classes_is_refused_rather_than_answered_with_something_else(client: Any) -> None:
    array = np.ones((1, 2), np.float32)
    with pytest.raises(tritonclient.InferenceServerException, match="classification, which is not supported"):
        client.infer(
            "sum",
            [tensor(name, array, "FP32", binary=True) for name in ("a", "b")],
            outputs=[tritonclient.InferRequestedOutput("total", class_count=2)],
        )


@pytest.mark.parametrize("version", ["", "1"])
def test_it_asks_for_a_configuration(client: Any, version: str) -> None:
    configuration = client.get_model_config("sum", version)
    assert (configuration["name"], configuration["max_batch_size"]) == ("sum", 0)
    assert configuration["input"][0] == {"name": "a", "data_type": "TYPE_FP32", "dims": [-1, 2]}


def test_it_asks_for_the_index(client: Any) -> None:
    index = client.get_model_repository_index()
    assert {"name": "sum", "version": "1", "state": "READY"} in index
    assert all(client.is_model_ready(one["name"], one["version"]) for one in index)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_it_compresses_requests_and_finds_them_counted(client: Any, algorithm: str, binary: bool) -> None:
    a = np.arange(2000, dtype=np.float32).reshape(-1, 2)
    before = client.get_inference_statistics("sum")["model_stats"][0]["inference_count"]
    result = client.infer(
        "sum",
        [tensor(name, a, "FP32", binary=binary) for name in ("a", "b")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("total"), 2 * a)
    (counted,) = client.get_inference_statistics("sum", "1")["model_stats"]
    assert counted["inference_count"] == before + 1
    names = [one["name"] for one in client.get_inference_statistics()["model_stats"]]
    assert {"sum", "classifier"} <= set(names)


def test_it_cannot_load_or_unload(client: Any) -> None:
    with pytest.raises(tritonclient.InferenceServerException, match="loaded when the server starts"):
        client.load_model("sum")
    with pytest.raises(tritonclient.InferenceServerException, match="loaded when the server starts"):
        client.unload_model("sum")
