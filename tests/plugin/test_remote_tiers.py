"""Whole sessions on a server that knows nothing of this package: JSON, the graph alone, no spans."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.plugin.conftest import ANY_HOST, Project
from tests.tiers.stock import Stock, stock_server

SETTINGS = """
models = ["shade"]
operators = ["identity"]
tiers = ["lab"]
replicates = 1

[profiles.quick]
inputs = 3
warmup = 1

[topology]
origin = "phone"

[topology.tiers.phone]
cores = 1
memory = "1 GiB"

[topology.tiers.lab]
cores = 1
memory = "1 GiB"
url = "{url}"
pipeline = "client"
model = "{{model}}_{{operator}}"

[topology.links.phone-lab]
rate = "100 Mbit/s"

[subjects.shade]
graph = "shade.onnx"
examples = "images/labels.csv"
metrics = ["top1"]
postprocess = {{ kind = "classification", input = "logits", k = 2 }}

[subjects.shade.preprocess]
kind = "image"
input = "image"
output = "pixels"
resize = [8, 8]
mean = [0.5]
std = [1.0]
mode = "L"
"""


def write_classifier(path: Path) -> Path:
    """A graph from `pixels` [n, 1, 8, 8] to `logits` [n, 2]: dark or bright."""
    weights = np.stack([-np.ones(64), np.ones(64)], axis=1).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["pixels"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "shade",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_project(project: Project) -> Path:
    """Make it a project with a graph and images; the graph."""
    project.path.joinpath("conftest.py").unlink()
    images = project.path / "images"
    images.mkdir()
    rows, generator = ["file,reference"], random.Random(0)
    for number in range(24):
        bright = number // 4 % 2
        noise = bytes(generator.randrange(40) + 180 * bright for _ in range(64))
        Image.frombytes("L", (8, 8), noise).save(images / f"{number}.png")
        rows.append(f"{number}.png,{bright}")
    (images / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return write_classifier(project.path / "shade.onnx")


@pytest.fixture
def shade(project: Project) -> Iterator[tuple[Project, Stock]]:
    """A project with a graph and images, and a server that has the graph."""
    graph = write_project(project)
    with stock_server(Stock({"shade_identity": graph})) as server:
        project.settings(SETTINGS.format(url=server.url) + ANY_HOST)
        yield project, server


def test_a_session_on_a_stock_server_is_valid_and_tells_what_is_proven(shade: tuple[Project, Stock]) -> None:
    project, server = shade
    result = project.run("--benchmark-only")

    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*the pipeline of lab runs at the client; lab gets JSON*"])
    (row,) = project.results["strategies"]
    assert row["accuracy"]["value"] == 100
    assert set(row["spans_s"]) == {"preprocess", "serialize", "postprocess", "exchange"}
    assert {one["inputs"][0]["name"] for one in server.bodies} == {"pixels"}
    with (project.report / "samples.csv").open(encoding="utf-8", newline="") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == 3
    for sample in samples:
        told = {name: float(sample[f"{name}_s"]) for name in ("preprocess", "serialize", "postprocess", "exchange")}
        assert sum(told.values()) == pytest.approx(float(sample["latency_s"]), abs=1e-6)
        assert (sample["compute_s"], sample["transmit_s"]) == ("", "")


def test_a_server_with_another_graph_makes_no_valid_trial(shade: tuple[Project, Stock]) -> None:
    project, server = shade
    session = server.sessions["shade_identity"]

    class Inverted:
        get_inputs, get_outputs = session.get_inputs, session.get_outputs

        def run(self, names: object, feeds: object) -> list[object]:
            return [-one for one in session.run(names, feeds)]

    server.sessions["shade_identity"] = Inverted()
    result = project.run("--benchmark-only")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*parity: sample * gets label * through the tiers, but *"])


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("inputs = 3", 'inputs = 3\nwire = "binary"', "*tier lab at http://*does not announce the extension*"),
        (
            'url = "http://',
            'ca_file = "ca.pem"\nurl = "https://',
            "*topology.tiers.lab.ca_file: *ca.pem cannot be read*",
        ),
        ('url = "http://', 'url = "https://', "*tier lab at https://*it does not speak TLS*"),
        ("_{operator}", "_{operater}", "*topology.tiers.lab.model: expected a name, with {model} and {operator}*"),
        (
            'tiers = ["lab"]',
            'tiers = ["phone"]\nprofile = "text"',
            '*profiles.text.wire: "json" cannot carry the image*',
        ),
    ],
)
def test_what_cannot_work_is_one_sentence_at_collection(
    shade: tuple[Project, Stock], before: str, after: str, sentence: str
) -> None:
    project, server = shade
    text = SETTINGS.format(url=server.url)
    assert before in text
    more = '\n[profiles.text]\nreplicates = 1\nwarmup = 1\ninputs = 3\npasses = 1\nwire = "json"\n'
    project.settings(text.replace(before, after) + more + ANY_HOST)
    result = project.run("--benchmark-only")

    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    result.stderr.fnmatch_lines([sentence])
    assert server.bodies == []
