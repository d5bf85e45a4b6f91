"""Models on disk made ready to answer, and what is found out at the start rather than at a request."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline, SampleError, TextPreprocess
from pytest_edgeai.serving.repository import Execution, Model, ModelError, load_repository
from tests.serving import graphs

IMAGE = ImagePreprocess("images", "x", resize=(2, 2), mean=(0.0,), std=(1.0,), mode="L")


@pytest.mark.parametrize("datatype", [name for name in graphs.ELEMENT_TYPES if name != "BYTES"])
def test_every_numeric_datatype_goes_through_a_graph_unchanged(repository: Path, datatype: str) -> None:
    model = Model(repository / f"echo-{datatype.lower()}", Execution())
    dtype = {"BOOL": "?"}.get(datatype, datatype.lower().replace("fp", "float"))
    array = np.array([[0, 1], [1, 1]]).astype(dtype)
    outputs, _ = model.infer({"x": array})
    assert outputs["y"].dtype == array.dtype
    assert outputs["y"].tolist() == array.tolist()


def test_text_goes_through_a_graph_unchanged(repository: Path) -> None:
    array = np.array([["grün".encode(), b""], [b"x", b"'\"\\"]], dtype=object)
    outputs, _ = Model(repository / "echo-bytes", Execution()).infer({"x": array})
    assert outputs["y"].tolist() == [["grün", ""], ["x", "'\"\\"]]


def test_text_that_is_not_utf8_is_refused_rather_than_changed(repository: Path) -> None:
    with pytest.raises(SampleError, match="an element of 'x' is not UTF-8"):
        Model(repository / "echo-bytes", Execution()).infer({"x": np.array([b"\xff"], dtype=object)})


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 0, 3), (1, 1, 1, 1, 1)])
def test_a_graph_of_open_rank_takes_any_shape(repository: Path, shape: tuple[int, ...]) -> None:
    outputs, _ = Model(repository / "echo-fp32", Execution()).infer({"x": np.ones(shape, np.float32)})
    assert outputs["y"].shape == shape


def test_a_graph_of_rank_0_takes_scalars(tmp_path: Path) -> None:
    model = Model(graphs.write_echo(tmp_path / "scalar", "FP32", []), Execution())
    assert model.infer({"x": np.array(2, np.float32)})[0]["y"] == 2


def test_a_fixed_shape_is_checked_and_an_open_one_is_free(tmp_path: Path) -> None:
    model = Model(graphs.write_echo(tmp_path / "echo", "FP32", ["n", 3, "m"]), Execution())
    assert model.inputs[0].shape == (-1, 3, -1)
    model.infer({"x": np.ones((5, 3, 7), np.float32)})
    with pytest.raises(SampleError, match=r"has shape \[5, 4, 7\], not \[-1, 3, -1\]"):
        model.infer({"x": np.ones((5, 4, 7), np.float32)})


def test_inputs_and_outputs_are_those_of_the_pipeline_where_there_is_one(tmp_path: Path) -> None:
    pipeline = Pipeline(IMAGE, Classification("y", k=9))
    # Identity gives logits of the wrong rank, which does not matter for metadata.
    graphs.write_echo(tmp_path / "model", "FP32", ["n", 1, 2, 2], pipeline)
    model = Model(tmp_path / "model", Execution())
    assert [spec.as_json() for spec in model.inputs] == [{"name": "images", "datatype": "BYTES", "shape": [-1]}]
    assert [spec.as_json() for spec in model.outputs] == [
        {"name": "labels", "datatype": "INT64", "shape": [-1, 2]},
        {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
    ]


def test_every_step_is_a_span_of_the_tier_in_the_order_it_ran(tmp_path: Path, jpeg: bytes) -> None:
    flatten = helper.make_node("Flatten", ["x"], ["y"])
    folder = graphs.write(
        tmp_path / "model",
        [flatten],
        [graphs.tensor("x", "FP32", ["n", 1, 2, 2])],
        [graphs.tensor("y", "FP32", ["n", 4])],
        Pipeline(IMAGE, Classification("y", k=2)),
    )
    images = {"images": np.array([jpeg], dtype=object)}
    for session, load in (("per_deployment", []), ("per_request", ["load"])):
        execution = Execution(compute_scale=2, session=session, tier="edge")  # type: ignore[arg-type]  # a parameter of any text
        outputs, spans = Model(folder, execution).infer(images)
        assert [span.name for span in spans] == [*load, "preprocess", "compute", "stretch", "postprocess"]
        assert {span.place for span in spans} == {"edge"}
        assert outputs["labels"].shape == (1, 2)


@pytest.fixture
def jpeg() -> bytes:
    from tests.serving.test_pipeline import JPEG

    return JPEG


@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_stretch_adds_what_is_missing_to_the_scale(tmp_path: Path, scale: float) -> None:
    model = Model(graphs.write_matmul(tmp_path / "model", 200), Execution(compute_scale=scale))
    x = {"x0": np.ones((200, 200), np.float32)}
    ratios = []
    for _ in range(15):
        spans = {span.name: span.duration_s for span in model.infer(x)[1]}
        ratios.append(spans["stretch"] / spans["compute"])
    # To sleep less is impossible; on a busy host most sleeps are much longer, but not all of them.
    assert (scale - 1) * 0.999 <= min(ratios) < (scale - 1) * 3


def test_a_scale_of_1_adds_no_span(repository: Path) -> None:
    _, spans = Model(repository / "echo-fp32", Execution()).infer({"x": np.ones(1, np.float32)})
    assert [span.name for span in spans] == ["compute"]


def test_a_session_for_every_request_is_loaded_anew(tmp_path: Path) -> None:
    folder = graphs.write_echo(tmp_path / "model")
    model = Model(folder, Execution(session="per_request"))
    x = {"x": np.ones(1, np.float32)}
    model.infer(x)
    (folder / "model.onnx").rename(tmp_path / "away.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        model.infer(x)
    shutil.copyfile(tmp_path / "away.onnx", folder / "model.onnx")
    assert model.infer(x)[0]["y"].tolist() == [1]


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        (
            Pipeline(ImagePreprocess("i", "pixels", (2, 2), (0.0,), (1.0,), "L")),
            "takes x, but the pipeline makes pixels",
        ),
        (Pipeline(postprocess=Classification("logits")), "the pipeline takes 'logits', but the graph makes y"),
        (Pipeline(TextPreprocess("t", {"ids": "x"}, 8)), r"tokenizer\.json is not a tokenizer"),
    ],
)
def test_a_pipeline_that_does_not_fit_its_graph_is_found_when_it_is_loaded(
    tmp_path: Path, pipeline: Pipeline, words: str
) -> None:
    graphs.write_echo(tmp_path / "model", pipeline=pipeline)
    with pytest.raises(ModelError, match=words):
        load_repository(tmp_path, Execution())


def test_outputs_that_the_protocol_cannot_carry_are_found_when_the_graph_is_loaded(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("y", graphs.ELEMENT_TYPES["FP32"], None)
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    folder = graphs.write(tmp_path / "model", [node], [graphs.tensor("x", "FP32", ["n"])], [sequence])
    with pytest.raises(ModelError, match=r"'y' is a seq\(tensor\(float\)\), which cannot be sent"):
        Model(folder, Execution())


def test_a_provider_that_is_not_here_is_no_reason_to_run_elsewhere(repository: Path) -> None:
    with pytest.raises(ModelError, match="of the execution providers Quantum, CPUExecutionProvider only"):
        Model(repository / "sum", Execution(providers=("Quantum", "CPUExecutionProvider")))


def test_a_repository_is_loaded_by_name(repository: Path) -> None:
    models = load_repository(repository, Execution())
    assert {"sum", "echo-fp32", "classifier"} < set(models)
    assert all(model.load_s > 0 for model in models.values())


def test_an_empty_repository_has_no_models(tmp_path: Path) -> None:
    assert load_repository(tmp_path, Execution()) == {}


def test_unknown_and_missing_inputs_are_named(repository: Path) -> None:
    model = Model(repository / "sum", Execution())
    one: Any = np.ones((1, 2), np.float32)
    with pytest.raises(SampleError, match="input 'a' is missing"):
        model.infer({"b": one, "c": one})
    with pytest.raises(SampleError, match="the model has no input 'c'"):
        model.infer({"a": one, "b": one, "c": one})


def test_a_model_says_the_digest_of_the_files_that_it_loaded(tmp_path: Path) -> None:
    folder = graphs.write_echo(tmp_path / "echo")
    (folder / "model.onnx.data").write_bytes(b"weights")
    model = Model(folder, Execution())
    assert model.digests == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "model.onnx.data")
    }


def test_a_graph_that_is_changed_after_it_was_loaded_is_not_loaded_for_a_request(tmp_path: Path) -> None:
    folder = graphs.write_echo(tmp_path / "echo", "FP32", ["n"])
    model = Model(folder, Execution(session="per_request"))
    graphs.write_echo(tmp_path / "other", "FP32", ["m"])
    shutil.copy(tmp_path / "other" / "model.onnx", folder)
    with pytest.raises(ModelError, match=r"model\.onnx was changed after it was loaded"):
        model.infer({"x": np.ones(1, np.float32)})
