"""Subject models without Python: an ONNX file and a file of examples in the settings, measured on real servers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.operators.graph_subjects import WIDTH, write_houses
from tests.plugin.conftest import PROCESSES, Project

PRICE = """
models = ["price"]
operators = ["identity", "sptq"]
tiers = ["mobile"]

[subjects.price]
graph = "models/price.onnx"
examples = "models/houses.npz"
metrics = ["mae", "sklearn.metrics.max_error"]

[operator_parameters.sptq]
engine = "onnxruntime"

[budgets.metric_drop]
default = 0.5
"""

FILE = io.BytesIO()
np.save(FILE, np.zeros((20, WIDTH), np.float32))
ONE_ARRAY = FILE.getvalue()
"""What `numpy.save` writes."""


@pytest.fixture
def price(project: Project) -> Project:
    """A project without any Python of its own but the test."""
    folder = project.path / "models"
    folder.mkdir()
    write_houses(folder)
    project.path.joinpath("conftest.py").unlink()
    settings(project, PRICE)
    return project


def settings(project: Project, text: str) -> None:
    """Write settings with their top-level keys first."""
    top, tables = PROCESSES.split("[", 1)
    own_top, own_tables = text.split("[", 1)
    kept = tables.replace("[budgets.accuracy_drop_pp]\ndefault = 100\n", "")
    project.settings(f"{top}{own_top}[{own_tables}\n[{kept}")


def test_a_file_in_the_settings_is_measured_and_judged_in_its_own_unit(price: Project) -> None:
    result = price.run("--benchmark-only", "-v")
    assert result.ret == 0, result.stdout.str()
    rows = {row["id"]: row for row in price.results["strategies"]}
    assert set(rows) == {"price-identity-mobile", "price-sptq-mobile"}
    accuracy = rows["price-sptq-mobile"]["accuracy"]
    assert (accuracy["metric"], accuracy["unit"], accuracy["higher_is_better"]) == ("mae", "", False)
    assert accuracy["drop"] == pytest.approx(accuracy["value"] - accuracy["baseline_value"])
    assert accuracy["limit"] == 0.5
    assert accuracy["mcnemar"] is None
    assert rows["price-sptq-mobile"]["metrics"]["sklearn.metrics.max_error"] > 0
    result.stdout.fnmatch_lines(["*MAE 0.0*"])


def test_a_broken_budget_says_so_in_the_unit_of_the_metric(price: Project) -> None:
    settings(price, PRICE.replace("default = 0.5", 'default = "0.01 %"'))
    result = price.run("--benchmark-only")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*mae is 0.* above the baseline's 0.0* (budget *"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"price.onnx": "prise.onnx"}, "*subjects.price.graph: there is no file *prise.onnx"),
        ({"houses.npz": "houses.npy"}, "*subjects.price.examples: there is no file *houses.npy"),
        ({'"mae", ': '"maee", '}, "*subject model price: there is no metric 'maee'; did you mean 'mae'?*"),
        ({"max_error": "maximal_error"}, "*metric 'sklearn.metrics.maximal_error' cannot be imported*"),
        ({"metrics = [": "metricks = ["}, "*subjects.price.metricks: there is no setting 'metricks'; did you mean*"),
        ({"default = 0.5": 'default = "much"'}, "*budgets.metric_drop.default: a drop is a number in the unit*"),
        ({"default = 0.5": "default = -1"}, "*budgets.metric_drop.default: a drop is not negative*"),
        ({'"sptq"]': '"qat"]'}, "*operator qat cannot be used on model price*qat changes a torch network*"),
    ],
)
def test_what_cannot_work_is_one_sentence_at_collection(price: Project, changes: dict[str, str], sentence: str) -> None:
    text = PRICE
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    settings(price, text)
    result = price.run("--benchmark-only")
    assert result.ret == 4, result.stdout.str()
    told = result.stderr if "ERROR" in result.stderr.str() else result.stdout
    told.fnmatch_lines([sentence])


def test_examples_that_do_not_fit_the_graph_say_so(price: Project) -> None:
    np.savez(price.path / "models" / "houses.npz", x=np.zeros((20, WIDTH + 1), np.float32), reference=np.arange(20.0))
    result = price.run("--benchmark-only")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the graph cannot run on calibration examples: *"])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"x": np.zeros((20, WIDTH), np.float32), "labels": np.arange(20.0)},
            "*edgeai.toml: subjects.price.examples: houses.npz has the arrays labels, x, and the inputs of price.onnx "
            "are x: name each array after the input that it is for, and the right answers 'reference'*",
        ),
        ({"reference": np.arange(20.0)}, "*houses.npz has the arrays none, and the inputs of price.onnx are x: *"),
        (b"not a zip file", "*subjects.price.examples: *houses.npz cannot be read as an .npz file: *"),
        (ONE_ARRAY, "*subjects.price.examples: *houses.npz cannot be read as an .npz file: *"),
    ],
)
def test_arrays_that_are_no_inputs_of_the_graph_are_refused_at_collection(
    price: Project, arrays: dict[str, np.ndarray[Any, Any]] | bytes, sentence: str
) -> None:
    path = price.path / "models" / "houses.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.savez(path, **arrays)
    result = price.run("--collect-only")
    assert result.ret == 4, result.stdout.str()
    result.stderr.fnmatch_lines([sentence])


def test_images_of_a_table_and_lines_of_numbers_are_examples(tmp_path: Path) -> None:
    from pytest_edgeai import ImagePreprocess
    from pytest_edgeai.subjects.files import FileExamples

    rows = ["file,reference"]
    for number in range(8):
        Image.new("L", (8, 8), 30 * number).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{number % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    decoder = ImagePreprocess("image", "pixels", resize=(8, 8), mean=(0.0,), std=(1.0,), mode="L")
    images = FileExamples(tmp_path / "labels.csv", None, decoder)
    calibration, validation = images("calibration"), images("validation")
    assert [one.reference for one in calibration] == [0, 0]
    assert [one.reference for one in validation] == [1, 0, 1, 1, 0, 1]
    assert validation[0].inputs["image"].tolist() == [(tmp_path / "1.png").read_bytes()]

    lines = [json.dumps({"inputs": {"x": [0.5, number]}, "reference": [number]}) for number in range(3)]
    (tmp_path / "numbers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    numbers = FileExamples(tmp_path / "numbers.jsonl", tmp_path / "numbers.jsonl", None)("validation")
    assert [one.reference for one in numbers] == [[0], [1], [2]]
    assert numbers[2].inputs["x"].dtype == np.float32
    assert numbers[2].inputs["x"].tolist() == [[0.5, 2.0]]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "path,reference\n", "has no column 'file'"),
        ("a.csv", "file,reference\nnone.png,1\n", "line 2: there is no file"),
        ("a.jsonl", '{"inputs": ', "line 1: JSONDecodeError"),
        ("a.jsonl", '{"text": "words"}', "line 1: ValueError: there is text, and the subject model has no preprocess"),
        ("a.npz", "no archive", "cannot be read"),
    ],
)
def test_a_file_of_examples_that_is_wrong_names_the_place(
    tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    from pytest_edgeai import ImagePreprocess
    from pytest_edgeai.subjects import SubjectError
    from pytest_edgeai.subjects.files import FileExamples

    (tmp_path / name).write_text(content, encoding="utf-8")
    decoder = ImagePreprocess("image", "pixels", resize=8, mean=(0.0,), std=(1.0,), mode="L")
    with pytest.raises(SubjectError, match=sentence):
        FileExamples(tmp_path / name, None, decoder)("validation")
