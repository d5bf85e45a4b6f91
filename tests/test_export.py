"""`edgeai export`: artifacts as model repositories that our server, ONNX Runtime and Triton's own schema take."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from pytest_edgeai.arrays import Array
from pytest_edgeai.commands import cli, mlserver
from pytest_edgeai.commands.triton import configuration
from pytest_edgeai.operators.chains import SEPARATOR
from pytest_edgeai.serving.pipeline import Classification, NextPart, Pipeline
from pytest_edgeai.serving.server import ServerSettings
from pytest_edgeai.store import Entry, Recipe, Store
from pytest_edgeai.subjects.graphs import GraphError
from pytest_edgeai.wire.client import Client
from tests.serving import graphs, tiers

X = np.array([[0.5, 3.0, 1.0]], np.float32)
CLASSIFICATION = Classification(input="y", k=2)


def _put(store: Store, model: str, operator: str, write: Callable[[Path], object], version: int = 1) -> Entry:
    """Put an artifact into a store, with a manifest as preparation writes it."""
    steps = ["identity", *(name for name in operator.split(SEPARATOR) if name != "identity")]

    def build(folder: Path) -> Mapping[str, Any]:
        write(folder)
        return {"steps": [{"operator": name} for name in steps]}

    ingredients = {"subject": {"name": model}, "operator": {"name": steps[-1]}, "version": version, "steps": steps}
    return store.find_or_build(Recipe("artifacts", ingredients), build)


def _echo(folder: Path, output: str = "y", pipeline: Pipeline | None = None, source: str = "x") -> None:
    node = helper.make_node("Identity", [source], [output])
    made = graphs.write(
        folder / "made",
        [node],
        [graphs.tensor(source, "FP32", ["n", 3])],
        [graphs.tensor(output, "FP32", ["n", 3])],
        pipeline,
    )
    for path in made.iterdir():
        path.rename(folder / path.name)
    made.rmdir()


def _whole(folder: Path) -> None:
    _echo(folder, pipeline=Pipeline(postprocess=CLASSIFICATION))
    (folder / "notes.txt").write_text("an asset", encoding="utf-8")


def _in_parts(folder: Path) -> None:
    for number, (source, output, pipeline) in enumerate(
        [("x", "t", Pipeline(onward=NextPart())), ("t", "y", Pipeline(postprocess=CLASSIFICATION))]
    ):
        (folder / f"part{number}").mkdir()
        _echo(folder / f"part{number}", output, pipeline, source)


def _for_nodes(folder: Path) -> None:
    for number in range(2):
        (folder / f"node-{number}").mkdir()
        _echo(folder / f"node-{number}")
    (folder / "aggregation.json").write_text("{}", encoding="utf-8")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store that a project without settings uses."""
    monkeypatch.setenv("EDGEAI_STORE", str(tmp_path / "store"))
    store = Store(tmp_path / "store")
    _put(store, "toy", "sptq", _whole)
    return store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def _export(project: Path, *arguments: str | Path) -> int:
    return cli.main(["export", "--root", str(project), *map(str, arguments)])


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _report(project: Path, name: str, *artifacts: tuple[str, str, str], folder: str = "reports") -> None:
    path = project / folder / name
    path.mkdir(parents=True)
    described = [
        {"model": model, "operator": operator, "digest": digest, "provenance": {"built_at": 1.0}}
        for model, operator, digest in artifacts
    ]
    (path / "results.json").write_text(json.dumps({"format": 1, "artifacts": described}), encoding="utf-8")


def _parse(text: str) -> Any:
    """Parse a configuration by Triton's own schema; the module beside tritonclient's gRPC client needs no gRPC."""
    found = importlib.util.find_spec("tritonclient")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    paths = [path for folder in folders if (path := Path(folder, "grpc", "model_config_pb2.py")).is_file()]
    if not paths:
        pytest.skip("tritonclient is not installed")
    spec = importlib.util.spec_from_file_location("model_config_pb2", paths[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return importlib.import_module("google.protobuf.text_format").Parse(text, module.ModelConfig())


def _run(graph: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def test_the_triton_layout_has_the_graph_its_configuration_and_what_is_the_client_s(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models"
    assert _export(project, "toy-sptq", target, "--layout", "triton") == 0
    assert _files(target) == [
        "toy-sptq/1/model.onnx",
        "toy-sptq/client/notes.txt",
        "toy-sptq/client/pipeline.json",
        "toy-sptq/config.pbtxt",
        "toy-sptq/model-settings.json",
    ]
    assert Pipeline.read(target / "toy-sptq" / "client") == Pipeline(postprocess=CLASSIFICATION)
    np.testing.assert_array_equal(_run(target / "toy-sptq" / "1" / "model.onnx", {"x": X})["y"], X)
    said = capsys.readouterr().out
    assert "Triton runs the graph" in said
    assert f"The client does the step postprocess (classification) of {target}" in said
    assert f"tritonserver --model-repository={target}" in said

    parsed = _parse((target / "toy-sptq" / "config.pbtxt").read_text(encoding="utf-8"))
    assert (parsed.name, parsed.platform, parsed.backend) == ("toy-sptq", "onnxruntime_onnx", "onnxruntime")
    assert (parsed.max_batch_size, parsed.default_model_filename) == (4, "model.onnx")
    assert [(one.name, list(one.dims)) for one in (*parsed.input, *parsed.output)] == [("x", [3]), ("y", [3])]

    assert json.loads((target / "toy-sptq" / "model-settings.json").read_text(encoding="utf-8")) == {
        "name": "toy-sptq",
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        "parameters": {"uri": "1/model.onnx"},
    }


@pytest.mark.parametrize(
    ("element", "expected"), [("STRING", "BYTES"), ("FLOAT16", "FP16"), ("BOOL", "BOOL"), ("BFLOAT16", None)]
)
def test_mlserver_gets_its_own_names_of_datatypes_and_nothing_that_it_has_none_for(
    tmp_path: Path, element: str, expected: str | None
) -> None:
    tensors = [helper.make_tensor_value_info(name, getattr(onnx.TensorProto, element), ["n", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    written = json.loads(mlserver.settings("m", tmp_path / "model.onnx", "model.onnx"))

    assert [one["datatype"] for one in written.get("inputs", [])] == ([] if expected is None else [expected])


def test_our_server_answers_from_the_plain_layout_as_from_the_artifact(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models"
    assert _export(project, "toy-sptq", target) == 0
    assert _files(target) == ["toy-sptq/model.onnx", "toy-sptq/notes.txt", "toy-sptq/pipeline.json"]
    with tiers.in_thread(target, ServerSettings()) as port, Client("127.0.0.1", port) as client:
        assert client.infer("toy-sptq", {"x": X}).outputs["labels"].tolist() == [[1, 2]]
    said = capsys.readouterr().out
    assert "with its pre- and post-processing" in said
    assert f"--repository {target}\n" in said


def test_parts_are_models_of_their_own_for_triton(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _put(store, "toy", "partition", _in_parts)
    target = tmp_path / "models"
    assert _export(project, "toy-partition", target, "--layout", "triton") == 0
    names = ["toy-partition.part0", "toy-partition.part1"]
    assert sorted(path.name for path in target.iterdir()) == names
    assert [_parse((target / name / "config.pbtxt").read_text(encoding="utf-8")).name for name in names] == names
    tensors: dict[str, Array] = {"x": X}
    for name in names:
        tensors = _run(target / name / "1" / "model.onnx", tensors)
    np.testing.assert_array_equal(tensors["y"], X)
    said = capsys.readouterr().out
    assert "The client asks part after part" in said
    assert "after it asks toy-partition.part1" in said


def test_parts_are_repositories_of_their_own_for_our_server(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _put(store, "toy", "partition", _in_parts)
    target = tmp_path / "models"
    assert _export(project, "toy-partition", target) == 0
    with tiers.in_thread(target / "part1", ServerSettings()) as far:
        settings = ServerSettings(upstream=("127.0.0.1", far))
        with tiers.in_thread(target / "part0", settings) as near, Client("127.0.0.1", near) as client:
            assert client.infer("toy-partition", {"x": X}).outputs["labels"].tolist() == [[1, 2]]
    said = capsys.readouterr().out.splitlines()
    serving = [line for line in said if line.startswith("To serve")]
    assert [line.partition(":")[0] for line in serving] == ["To serve part1", "To serve part0"]
    assert [line.endswith("--upstream HOST:PORT") for line in serving] == [False, True]


@pytest.mark.parametrize(
    ("layout", "folders"),
    [
        ("plain", ["node-0/toy-variants", "node-1/toy-variants"]),
        ("triton", ["toy-variants.node0", "toy-variants.node1"]),
    ],
)
def test_what_nodes_have_is_written_with_the_aggregation(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, folders: list[str]
) -> None:
    _put(store, "toy", "variants", _for_nodes)
    target = tmp_path / "models"
    assert _export(project, "toy-variants", target, "--layout", layout) == 0
    inner = "client/aggregation.json" if layout == "triton" else "aggregation.json"
    assert all((target / folder / inner).is_file() for folder in folders)
    assert "how it combines their answers, is in aggregation.json" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["plain", "triton"])
def test_weights_in_a_file_of_their_own_stay_beside_the_graph(
    store: Store, project: Path, tmp_path: Path, layout: str
) -> None:
    weights = np.arange(3000, dtype=np.float32).reshape(1000, 3)

    def write(folder: Path) -> None:
        x, y = graphs.tensor("x", "FP32", ["n", 1000]), graphs.tensor("y", "FP32", ["n", 3])
        initializer = numpy_helper.from_array(weights, "w")
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [initializer])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin")

    _put(store, "large", "identity", write)
    assert _export(project, "large-identity", tmp_path / "models", "--layout", layout) == 0
    folder = tmp_path / "models" / "large-identity" / ("1" if layout == "triton" else "")
    assert {"model.onnx", "weights.bin"} <= {path.name for path in folder.iterdir()}
    x = np.ones((2, 1000), np.float32)
    np.testing.assert_allclose(_run(folder / "model.onnx", {"x": x})["y"], x @ weights)
    assert not (tmp_path / "models" / "large-identity" / "client").exists()


Dims = Sequence[int | str]


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch", "dims"),
    [
        ([["n", 3]], [["n", 2]], 7, [[3], [2]]),
        ([["n", 3, "w"]], [["m", 2]], 7, [[3, -1], [2]]),
        ([[1, 3]], [["n", 2]], 0, [[1, 3], [-1, 2]]),
        ([["n", 3]], [["n", 2], [1, 4]], 0, [[-1, 3], [-1, 2], [1, 4]]),
        ([["n", 3], ["n"]], [["n", 2]], 0, [[-1, 3], [-1], [-1, 2]]),
        ([["n", 3]], [[]], 0, [[-1, 3], [1]]),
    ],
    ids=["batch", "batch and another open size", "fixed input", "one fixed output", "nothing but a batch", "a scalar"],
)
def test_dims_are_those_of_the_graph(
    tmp_path: Path, inputs: Sequence[Dims], outputs: Sequence[Dims], batch: int, dims: list[list[int]]
) -> None:
    folder = graphs.write(
        tmp_path / "graph",
        [helper.make_node("Identity", ["x0"], [f"y{number}"]) for number in range(len(outputs))],
        [graphs.tensor(f"x{number}", "FP32", shape) for number, shape in enumerate(inputs)],
        [graphs.tensor(f"y{number}", "FP32", shape) for number, shape in enumerate(outputs)],
    )
    parsed = _parse(configuration("name", folder / "model.onnx", 7, "two\nlines"))
    assert parsed.max_batch_size == batch
    tensors = [*parsed.input, *parsed.output]
    assert [list(one.dims) for one in tensors] == dims
    assert [one.HasField("reshape") for one in tensors] == [shape == [] for shape in (*inputs, *outputs)]


@pytest.mark.parametrize("datatype", graphs.ELEMENT_TYPES)
def test_datatypes_are_those_of_the_graph(tmp_path: Path, datatype: str) -> None:
    folder = graphs.write_echo(tmp_path / "graph", datatype, ["n", 3])
    parsed = _parse(configuration("name", folder / "model.onnx", 4, ""))
    expected = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    field = parsed.input[0].DESCRIPTOR.fields_by_name["data_type"]
    for one in (*parsed.input, *parsed.output):
        assert field.enum_type.values_by_number[one.data_type].name == expected


def test_names_are_quoted(tmp_path: Path) -> None:
    name = 'a "name" with \\ and é'
    node = helper.make_node("Identity", [name], ["y"])
    x, y = graphs.tensor(name, "FP32", ["n", 3]), graphs.tensor("y", "FP32", ["n", 3])
    folder = graphs.write(tmp_path / "graph", [node], [x], [y])
    parsed = _parse(configuration("distilled>sptq", folder / "model.onnx", 4, ""))
    assert (parsed.name, parsed.input[0].name) == ("distilled>sptq", name)


def test_a_graph_of_any_rank_is_refused(tmp_path: Path) -> None:
    folder = graphs.write_echo(tmp_path / "graph")
    with pytest.raises(GraphError, match="'x' has no shape"):
        configuration("name", folder / "model.onnx", 4, "")


def test_the_largest_batch_can_be_said(store: Store, project: Path, tmp_path: Path) -> None:
    assert _export(project, "toy-sptq", tmp_path / "models", "--layout", "triton", "--max-batch-size", "32") == 0
    text = (tmp_path / "models" / "toy-sptq" / "config.pbtxt").read_text(encoding="utf-8")
    assert _parse(text).max_batch_size == 32


@pytest.mark.parametrize("batch", ["0", "-1", "x", str(2**31)])
def test_a_largest_batch_that_cannot_be_is_refused(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        _export(project, "toy-sptq", tmp_path / "models", f"--max-batch-size={batch}")
    assert ended.value.code == 2
    assert "is not a whole number" in capsys.readouterr().err


def test_an_unknown_strategy_gets_a_hint(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export(project, "toy-sqtp", tmp_path / "models") == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: nothing was written: there is no artifact 'toy-sqtp'; did you mean 'toy-sptq'?")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "models").exists()


def test_what_is_there_is_replaced_only_by_force_and_other_models_stay(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "models"
    for path in (target / "toy-sptq" / "mine.txt", target / "other" / "model.onnx"):
        path.parent.mkdir(parents=True)
        path.write_text("mine", encoding="utf-8")
    before = _files(target)
    assert _export(project, "toy-sptq", target) == 2
    assert f"{target / 'toy-sptq'} is there already and not empty: --force replaces it" in capsys.readouterr().err
    assert _files(target) == before
    assert _export(project, "toy-sptq", target, "--force") == 0
    assert sorted(path.name for path in target.iterdir()) == ["other", "toy-sptq"]
    assert _files(target) == ["other/model.onnx", "toy-sptq/model.onnx", "toy-sptq/notes.txt", "toy-sptq/pipeline.json"]


def test_an_empty_folder_is_not_in_the_way(store: Store, project: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "toy-sptq").mkdir(parents=True)
    assert _export(project, "toy-sptq", tmp_path / "models") == 0


@pytest.mark.parametrize("what", ["file", "link"])
def test_force_removes_neither_files_nor_what_a_link_leads_to(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "mine").mkdir()
    in_the_way = tmp_path / "models" / "toy-sptq"
    in_the_way.write_text("mine", encoding="utf-8") if what == "file" else in_the_way.symlink_to(tmp_path / "mine")
    assert _export(project, "toy-sptq", tmp_path / "models", "--force") == 2
    assert "is in the way and not a folder" in capsys.readouterr().err
    assert in_the_way.is_symlink() == (what == "link")


def test_a_failure_leaves_what_was_there(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "models"
    assert _export(project, "toy-sptq", target) == 0
    before = _files(target)

    def fail(source: Path, copy: Path) -> None:
        raise OSError(28, "No space left on device", str(copy))

    monkeypatch.setattr("shutil.copyfile", fail)
    assert _export(project, "toy-sptq", target, "--force") == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert _files(target) == before
    assert [path.name for path in target.iterdir()] == ["toy-sptq"]


def test_a_target_that_is_a_file_or_in_one_is_an_error(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert _export(project, "toy-sptq", tmp_path / "file") == 2
    assert f"{tmp_path / 'file'} is not a folder" in capsys.readouterr().err
    assert _export(project, "toy-sptq", tmp_path / "file" / "models") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_newest_report_says_which_artifact_it_is(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _put(store, "toy", "sptq", lambda folder: _echo(folder, "old"), version=2).digest
    new = _put(store, "toy", "sptq", lambda folder: _echo(folder, "new"), version=3).digest
    _report(project, "2026-01-02T00-00-00", ("toy", "sptq", new))
    _report(project, "2026-01-01T00-00-00", ("toy", "sptq", old))
    _report(project, "2026-01-03T00-00-00", ("other", "sptq", old))
    (project / "reports" / "2026-01-04T00-00-00").mkdir()
    (project / "reports" / "2026-01-04T00-00-00" / "results.json").write_text("{", encoding="utf-8")
    (project / "reports" / "latest").symlink_to("2026-01-01T00-00-00")
    assert _export(project, "toy-sptq", tmp_path / "models") == 0
    assert f"artifact {new[:12]} of {project / 'reports' / '2026-01-02T00-00-00'}" in capsys.readouterr().out
    assert _run(tmp_path / "models" / "toy-sptq" / "model.onnx", {"x": X}).keys() == {"new"}


def test_names_that_provenance_does_not_have_come_from_reports(store: Store, project: Path, tmp_path: Path) -> None:
    made = _put(store, "toy", f"distilled{SEPARATOR}sptq", _whole)
    _report(project, "2026-01-01T00-00-00", ("toy", "dsptq", made.digest), folder="elsewhere")
    (project / "edgeai.toml").write_text('report = "elsewhere"\n', encoding="utf-8")
    assert _export(project, "toy-dsptq", tmp_path / "models") == 0
    assert _export(project, "toy-distilled>sptq", tmp_path / "models") == 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["toy-distilled>sptq", "toy-dsptq"]


def test_a_reported_artifact_that_the_store_lacks_is_not_replaced_by_another(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _report(project, "2026-01-01T00-00-00", ("toy", "sptq", "0" * 64))
    assert _export(project, "toy-sptq", tmp_path / "models") == 2
    assert f"is artifact {'0' * 12}, which {store.root} does not have, or not whole" in capsys.readouterr().err


def test_a_damaged_artifact_is_not_written(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (graph,) = store.root.glob("artifacts/*/model.onnx")
    graph.write_bytes(graph.read_bytes() + b"more")
    assert _export(project, "toy-sptq", tmp_path / "models") == 2
    assert "or not whole" in capsys.readouterr().err


def test_of_several_artifacts_the_digest_chooses(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _put(store, "toy", "sptq", lambda folder: _echo(folder, "other"), version=2).digest
    assert _export(project, "toy-sptq", tmp_path / "models") == 2
    said = capsys.readouterr().err
    assert "has 2 artifacts toy-sptq: give --digest with one of" in said
    assert other[:12] in said
    assert _export(project, "toy-sptq", tmp_path / "models", "--digest", other[:12]) == 0
    assert _run(tmp_path / "models" / "toy-sptq" / "model.onnx", {"x": X}).keys() == {"other"}
    assert _export(project, "toy-sptq", tmp_path / "models", "--digest", "xyz", "--force") == 2
    assert "no artifact toy-sptq has a digest that begins with 'xyz'" in capsys.readouterr().err


def test_the_store_is_that_of_the_option_else_of_the_settings(project: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _put(Store(tmp_path / name), name, "identity", _whole)
    (project / "edgeai.toml").write_text('store = "../one"\n', encoding="utf-8")
    assert _export(project, "one-identity", tmp_path / "models") == 0
    assert _export(project, "two-identity", tmp_path / "models") == 2
    assert _export(project, "two-identity", tmp_path / "models", "--store", tmp_path / "two") == 0


def test_settings_that_are_wrong_are_said(
    store: Store, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "edgeai.toml").write_text('stroe = "x"\n', encoding="utf-8")
    assert _export(project, "toy-sptq", tmp_path / "models") == 2
    assert "stroe" in capsys.readouterr().err


def test_help_shows_both_layouts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "DIR/bert-sptq/config.pbtxt" in said
    assert "python -m pytest_edgeai.serving --repository DIR" in said
