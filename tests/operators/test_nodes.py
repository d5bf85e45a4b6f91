"""Artifacts for several nodes: each node's graph is what was promised, and together they answer as was said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import SettingsError
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import BuildError, Job, Operator, registry
from pytest_edgeai.operators.chains import with_chains
from pytest_edgeai.operators.data_parallel import DataParallel
from pytest_edgeai.operators.nodes import add_node
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.variants import VariantsParameters, at_resolution
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.parallel.in_process import NodesInProcess
from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.subjects import SubjectModel, Training
from pytest_edgeai.tiers.specs import Spec
from tests.operators.small_subject import PHOTOS, VECTORS, photographer
from tests.plugin.toy_models import CLASSES, WIDTH, write_graph
from tests.plugin.toy_models import subject as toy_subject

pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from pytest_edgeai.operators.class_parallel import ClassParallel
from pytest_edgeai.operators.identity import Identity
from pytest_edgeai.operators.sptq import StaticQuantization
from pytest_edgeai.operators.variants import Variants

if TYPE_CHECKING:
    import torch

SHORT: Mapping[str, Mapping[str, Any]] = {
    "variants": {"n": 3, "training_samples": 640, "batch": 16, "multiple": 1},
    "class_parallel": {"n": 3, "training_samples": 320, "batch": 16, "multiple": 4},
    "data_parallel": {"n": 3},
    "sptq": {"engine": "onnxruntime", "calibration_samples": 32},
}
Make = Callable[..., Prepared]


class FaultParameters(Spec):
    fault: str = ""


class Faulty(Operator[FaultParameters]):
    """Two variants without training, with a fault."""

    name = "faulty"
    gives = "nodes"
    parameters_type = FaultParameters

    @property
    def nodes(self) -> int:
        return 2

    def build(self, job: Job) -> Mapping[str, Any]:
        fault, right = self.parameters.fault, np.zeros((WIDTH, CLASSES))
        right[:CLASSES] = np.eye(CLASSES)
        for number in range(1 if fault == "missing" else 2):
            node = add_node(job, number, Pipeline(None, Classification(k=2)))
            weights = right if number == 0 and fault != "guessing" else _changed(right, fault)
            write_graph(node.folder / "model.onnx", weights)
        if fault != "unsaid":
            Aggregation("variants", 2, CLASSES, 2).write(job.folder)
        return {"engine": "onnx"}


def _changed(right: Array, fault: str) -> Array:
    if fault == "constant":
        return np.zeros_like(right)
    if fault == "nan":
        return right * np.nan
    return np.roll(right, 8, axis=0) if fault in ("weak", "guessing") else right


def scores_of(prepared: Prepared) -> Array:
    """The scores of its answers, shape [n, k]."""
    return np.asarray(prepared.evaluation.predictions.outputs["scores"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def _operators(*names: str, **parameters: Any) -> dict[str, Operator[Any]]:
    classes = (Identity, StaticQuantization, Variants, ClassParallel, DataParallel, Faulty)
    merged = {**SHORT, **{name: {**SHORT.get(name, {}), **given} for name, given in parameters.items()}}
    return with_chains(registry.instantiate({one.name: one for one in classes}, merged), names)


@pytest.fixture
def make(root: Path) -> Make:
    def prepare(operator: str, subject: SubjectModel = PHOTOS, store: Path = root, **parameters: Any) -> Prepared:
        plan = Plan(store, {subject.name: subject}, _operators(operator, **parameters), this_host())
        return plan.prepare(subject.name, operator, lambda stage: None, lambda note: None)

    return prepare


def _nodes(prepared: Prepared) -> list[Model]:
    return [Model(folder, Execution()) for folder in node_folders(prepared.artifact.entry.folder)]


def _graphs(prepared: Prepared) -> list[onnx.GraphProto]:
    return [onnx.load(folder / "model.onnx").graph for folder in node_folders(prepared.artifact.entry.folder)]


def _best(scores: Mapping[int, float], k: int) -> list[int]:
    return sorted(range(4), key=lambda label: (-scores.get(label, 0.0), label))[:k]


def test_there_is_a_lighter_variant_for_each_node_with_smaller_images_and_k_answers(make: Make) -> None:
    prepared = make("variants")
    provenance = prepared.artifact.entry.provenance
    nodes = provenance["nodes"]
    whole = make("identity").artifact.entry.provenance
    assert len(nodes) == len(_nodes(prepared)) == 3
    assert [node["macs"] for node in nodes] == sorted((node["macs"] for node in nodes), reverse=True)
    assert nodes[0]["macs"] < whole["macs"]
    assert [node["parameters"] for node in nodes] == sorted((node["parameters"] for node in nodes), reverse=True)
    sides = []
    for model in _nodes(prepared):
        before, after = model.pipeline.preprocess, model.pipeline.postprocess
        assert isinstance(before, ImagePreprocess)
        sides.append(before.resize)
        assert after == Classification(k=2)
    assert sides == [(16, 16), (13, 13), (10, 10)]
    assert provenance["widths"] == [0.45, 0.4, 0.35]
    aggregation = Aggregation.read(prepared.artifact.entry.folder)
    assert aggregation == Aggregation("variants", 3, 4, 3, deadline_s=1.0)


def test_the_receiver_sums_the_scores_of_variants(make: Make) -> None:
    prepared = make("variants")
    models = _nodes(prepared)
    for number, sample in enumerate(prepared.validation):
        sums: dict[int, float] = {}
        for model in models:
            answer = model.infer(sample.inputs)[0]
            for label, score in zip(answer["labels"][0].tolist(), answer["scores"][0].tolist(), strict=True):
                sums[label] = sums.get(label, 0.0) + score
        labels = _best(sums, 3)
        assert prepared.evaluation.predictions.ranked[number].tolist() == labels
        expected = [sums.get(label, 0.0) / 3 for label in labels]
        assert scores_of(prepared)[number] == pytest.approx(expected, abs=1e-6)


def test_variants_know_what_they_were_taught(make: Make) -> None:
    prepared = make("variants")
    assert prepared.evaluation.metrics["top1"] > 90
    assert prepared.artifact.entry.provenance["training_samples"] == 640
    told = NodesInProcess(prepared.artifact.entry.folder)
    for number in range(3):
        right = sum(
            int(told.answers(one.inputs)[number]["labels"][0, 0] == one.reference) for one in prepared.validation
        )
        assert right > 0.6 * len(prepared.validation)


def test_the_same_seed_trains_the_same_variants(make: Make, tmp_path: Path) -> None:
    again = make("variants", store=tmp_path)
    assert again.artifact.entry.content == make("variants").artifact.entry.content


def test_a_part_has_the_logits_of_its_group_and_fewer_channels(make: Make) -> None:
    prepared = make("class_parallel")
    whole = make("identity").artifact.entry.provenance
    assert Aggregation.read(prepared.artifact.entry.folder).groups == ((0, 1), (2,), (3,))
    sizes = [graph.output[0].type.tensor_type.shape.dim[1].dim_value for graph in _graphs(prepared)]
    assert sizes == [2, 1, 1]
    for node in prepared.artifact.entry.provenance["nodes"]:
        assert node["parameters"] < 0.5 * whole["parameters"]
        assert node["macs"] < 0.5 * whole["macs"]


def test_the_receiver_joins_the_logits_of_parts(make: Make) -> None:
    prepared = make("class_parallel")
    models = _nodes(prepared)
    assert prepared.evaluation.metrics["top1"] > 90
    for number, sample in enumerate(prepared.validation):
        logits = [value for model in models for value in model.infer(sample.inputs)[0]["logits"][0].tolist()]
        total = sum(map(math.exp, logits))
        scores = {label: math.exp(value) / total for label, value in enumerate(logits)}
        labels = _best(scores, 3)
        assert prepared.evaluation.predictions.ranked[number].tolist() == labels
        assert scores_of(prepared)[number] == pytest.approx([scores[label] for label in labels], abs=1e-5)


@pytest.mark.parametrize(("operator", "base"), [("data_parallel", "identity"), ("sptq>data_parallel", "sptq")])
def test_copies_are_the_graph_once_and_answer_as_it_does(make: Make, operator: str, base: str) -> None:
    copies, whole = make(operator), make(base)
    assert [folder.name for folder in node_folders(copies.artifact.entry.folder)] == ["node-0"]
    assert Aggregation.read(copies.artifact.entry.folder) == Aggregation("copies", 3, 4, 3)
    assert copies.artifact.graph_bytes == whole.artifact.graph_bytes
    assert np.array_equal(
        copies.evaluation.predictions.outputs["scores"], whole.evaluation.predictions.outputs["scores"]
    )
    assert np.array_equal(copies.evaluation.predictions.ranked, whole.evaluation.predictions.ranked)


@pytest.mark.parametrize("operator", ["variants", "class_parallel", "data_parallel"])
def test_what_is_counted_is_the_sum_over_nodes(make: Make, operator: str) -> None:
    artifact = make(operator).artifact
    provenance = artifact.entry.provenance
    for key in ("parameters", "nonzero_parameters", "macs"):
        assert provenance[key] == sum(node[key] for node in provenance["nodes"])
    assert artifact.graph_bytes == sum(node["size_bytes"] for node in provenance["nodes"])


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ("variants>sptq", "sptq takes a float graph, and variants gives graphs for several nodes"),
        ("class_parallel>data_parallel", "takes a graph, and class_parallel gives graphs for several nodes"),
        ("sptq>variants", "variants takes a network that can be trained, and sptq gives an int8 graph"),
    ],
)
def test_chains_that_do_not_fit_are_refused(chain: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        _operators(chain)


def test_two_variants_that_are_sound_are_an_artifact(make: Make) -> None:
    assert make("faulty", toy_subject("toy")).evaluation.metrics["top1"] == 100


def test_one_weak_variant_is_an_artifact(make: Make) -> None:
    assert 25 < make("faulty", toy_subject("toy"), faulty={"fault": "weak"}).evaluation.metrics["top1"] < 100


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("constant", "node 1: the graph returns the same for 8 different samples: it has collapsed"),
        ("nan", "node 1: the graph returns NaN or infinity on calibration samples"),
        ("guessing", "no better than always guessing"),
        ("missing", "graphs for 1 nodes, and there should be 2"),
        ("unsaid", "the operator wrote no usable aggregation: .*No such file"),
    ],
)
def test_what_has_collapsed_is_refused(make: Make, fault: str, sentence: str) -> None:
    with pytest.raises(BuildError, match=sentence):
        make("faulty", toy_subject("toy"), faulty={"fault": fault})


def _stubborn() -> torch.nn.Module:
    import torch

    network = photographer()
    with torch.no_grad():
        network.get_parameter("8.bias")[2] = 1000.0
    return network


def test_a_variant_with_one_answer_is_refused(make: Make) -> None:
    subject = replace(PHOTOS, name="stubborn", network=_stubborn, training=Training(learning_rate=1e-6))
    with pytest.raises(
        BuildError, match="node 0: its best class is 2 for all 64 calibration samples: it has collapsed"
    ):
        make("variants", subject, variants={"training_samples": 16})


@pytest.mark.parametrize(
    ("subject", "sentence"),
    [
        (VECTORS, "'vectors' has no images whose resolution could be lowered"),
        (replace(PHOTOS, training=None), "'photos' declares no training"),
    ],
)
def test_subject_models_that_cannot_be_made_lighter_are_refused(
    make: Make, subject: SubjectModel, sentence: str
) -> None:
    with pytest.raises(BuildError, match=sentence):
        make("variants", subject)
    assert sentence in _operators()["variants"].incompatibility(subject)


def test_a_network_without_convolutions_is_not_divided_by_classes(make: Make) -> None:
    with pytest.raises(BuildError, match="has no convolutions"):
        make("class_parallel", VECTORS)


@pytest.mark.parametrize(
    ("operator", "parameters", "sentence"),
    [
        ("variants", {"k": 5}, "k = 5 is more than the 4 classes of photos"),
        ("class_parallel", {"n": 5}, "4 classes cannot be divided among 5 nodes"),
        ("class_parallel", {"channels": 0.01, "multiple": 16}, "nothing could be removed"),
        ("variants", {"widths": (0.99, 0.99), "multiple": 16}, "nothing could be removed"),
    ],
)
def test_parameters_that_the_subject_model_does_not_allow_are_refused(
    make: Make, operator: str, parameters: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(BuildError, match=sentence):
        make(operator, **{operator: parameters})


def test_sizes_are_evenly_spaced_or_given_for_each() -> None:
    assert VariantsParameters(n=3).sizes == ((0.45, 1.0), (0.4, 0.8), (0.35, 0.6))
    given = VariantsParameters(n=3, widths=(0.5, 0.5, 0.25), resolutions=(1.0, 0.5))
    assert given.sizes == ((0.5, 1.0), (0.5, 0.75), (0.25, 0.5))


@pytest.mark.parametrize("widths", [(0.5,), (0.5, 0.4, 0.3, 0.2), (0.5, 0.0), (1.1, 0.5)])
def test_sizes_that_cannot_be_are_refused(widths: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match="widths are 2 or 3 shares above 0 and at most 1"):
        _operators(variants={"n": 3, "widths": widths})


def test_resizing_and_cropping_keep_their_proportion() -> None:
    step = ImagePreprocess("image", "pixels", resize=256, crop=(224, 192), mean=(0.0,) * 3, std=(1.0,) * 3)
    smaller = at_resolution(Pipeline(step, Classification(k=5)), 0.5, 2)
    assert smaller == Pipeline(replace(step, resize=128, crop=(112, 96)), Classification(k=2))
