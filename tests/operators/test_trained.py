"""The operators that train: what they promise is true of the artifact, and what they cannot do they refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import BuildError, Changed, Job, NetworkOperator, NoParameters, Operator, registry
from pytest_edgeai.operators.chains import with_chains
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.verification import weight_counts
from pytest_edgeai.subjects import SubjectModel, Training
from tests.operators.small_subject import IMAGES, VECTORS

pytest.importorskip("torch")
pytest.importorskip("neural_compressor")

from pytest_edgeai.operators.distilled import Distilled
from pytest_edgeai.operators.dsptq import DistilledStaticQuantization
from pytest_edgeai.operators.identity import Identity
from pytest_edgeai.operators.pruned import Pruned
from pytest_edgeai.operators.pruned_structured import StructuredPruned
from pytest_edgeai.operators.qat import QuantizationAwareTraining
from pytest_edgeai.operators.sptq import StaticQuantization

CLASSES: tuple[type[Operator[Any]], ...] = (
    Identity,
    StaticQuantization,
    QuantizationAwareTraining,
    Pruned,
    Distilled,
    DistilledStaticQuantization,
    StructuredPruned,
)
SHORT: Mapping[str, Mapping[str, Any]] = {
    "qat": {"training_samples": 128, "batch": 16},
    "pruned": {"training_samples": 640, "batch": 16, "learning_rate": 0.01},
    "pruned_structured": {"training_samples": 320, "batch": 16, "channels": 0.5, "multiple": 4},
    "distilled": {"training_samples": 1600, "batch": 16, "learning_rate": 0.03},
}


class Forgetful(NetworkOperator[NoParameters]):
    """Starts again from the subject model's network, and does not say so."""

    name = "forgetful"

    def change(self, job: Job) -> Changed:
        return Changed(job.subject.trained(), "network", {"engine": "none"})


Make = Callable[..., Prepared]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def make(root: Path) -> Make:
    def prepare(
        operator: str, subject: SubjectModel = IMAGES, stages: list[str] | None = None, **parameters: Any
    ) -> Prepared:
        merged = {**SHORT, **{name: {**SHORT.get(name, {}), **given} for name, given in parameters.items()}}
        classes: tuple[type[Operator[Any]], ...] = (*CLASSES, Forgetful)
        operators = registry.instantiate({one.name: one for one in classes}, merged)
        told: list[str] = [] if stages is None else stages
        plan = Plan(root, {subject.name: subject}, with_chains(operators, [operator]), this_host())
        return plan.prepare(subject.name, operator, told.append, lambda note: None)

    return prepare


def _graph(prepared: Prepared) -> onnx.GraphProto:
    return onnx.load(prepared.artifact.entry.folder / "model.onnx").graph


def _provenance(prepared: Prepared) -> Mapping[str, Any]:
    return prepared.artifact.entry.provenance


@pytest.mark.parametrize("subject", [IMAGES, VECTORS], ids=lambda one: one.name)
def test_qat_is_int8_by_neural_compressor_and_still_accurate(make: Make, subject: SubjectModel) -> None:
    prepared = make("qat", subject)
    graph, provenance = _graph(prepared), _provenance(prepared)
    weights = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1]
    assert len(weights) == 2
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    assert prepared.evaluation.metrics["top1"] > 90
    assert (provenance["engine"], provenance["training_samples"]) == ("neural-compressor", 128)


@pytest.mark.parametrize(("subject", "block", "sparsity"), [(IMAGES, 2, 0.75), (VECTORS, 4, 0.9)])
def test_pruned_zeroes_whole_blocks_as_many_as_it_should(
    make: Make, subject: SubjectModel, block: int, sparsity: float
) -> None:
    prepared = make("pruned", subject)
    provenance = _provenance(prepared)
    assert provenance["engine"] == "neural-compressor"
    assert provenance["pattern"] == f"{block}x1"
    assert provenance["pruned_layers_sparsity"] == pytest.approx(sparsity, abs=0.01)
    assert prepared.evaluation.metrics["top1"] > 60
    shapes = {"images": (16, 27), "vectors": (64, 32)}
    first = next(
        array.reshape(shapes[subject.name])
        for array in map(numpy_helper.to_array, _graph(prepared).initializer)
        if array.size == np.prod(shapes[subject.name])
    )
    blocks = (first == 0).reshape(len(first) // block, block, -1)
    assert np.mean(first == 0) == pytest.approx(sparsity, abs=0.01)
    assert (blocks.all(axis=1) == blocks.any(axis=1)).all()


def test_sparsity_is_counted_in_the_graph_whatever_the_network_says(make: Make, tmp_path: Path) -> None:
    graph = make("identity").artifact.entry.folder / "model.onnx"
    assert weight_counts(graph)[1] < 0.5 * weight_counts(graph)[0]
    operator = registry.instantiate({"pruned": Pruned}, {})["pruned"]
    with pytest.raises(BuildError, match=r"of the graph's weights are zero, and not the 75\.0%"):
        operator.check(graph, {"network_sparsity": 0.75})


def test_a_sparsity_that_is_not_reached_is_refused(make: Make) -> None:
    with pytest.raises(BuildError, match="pruning reached a sparsity of"):
        make("pruned", pruned={"training_samples": 32, "masks": 1, "sparsity": 0.999})


@pytest.mark.parametrize(("subject", "parameters"), [(IMAGES, 3 * 8 * 9 + 8 + 32 * 4 + 4), (VECTORS, 33 * 16 + 17 * 4)])
def test_distilled_is_the_student_and_learned_from_the_teacher(
    make: Make, subject: SubjectModel, parameters: int
) -> None:
    prepared = make("distilled", subject)
    provenance = _provenance(prepared)
    assert provenance["parameters"] == parameters
    assert provenance["engine"] == "neural-compressor"
    assert provenance["training_samples"] == 1600
    assert prepared.evaluation.metrics["top1"] > 70
    assert provenance["macs"] < _provenance(make("identity", subject))["macs"]


def test_a_student_learns_from_wrong_teachers_what_they_say(make: Make, root: Path) -> None:
    right = make("distilled", VECTORS).evaluation.metrics["top1"]
    wrong = make("distilled", replace(VECTORS, network=mistaken), distilled={"teacher_weight": 1.0})
    assert wrong.evaluation.metrics["top1"] < right - 20


def mistaken() -> Any:
    """The dense network with two of its answers exchanged."""
    network: Any = VECTORS.trained()
    network[1].weight.data = network[1].weight.data[[1, 0, 2, 3]]
    return network


def test_dsptq_is_the_distilled_network_in_int8(make: Make) -> None:
    prepared, chained = make("dsptq"), make("distilled>sptq")
    assert prepared.artifact.entry.digest == chained.artifact.entry.digest
    assert prepared.artifact.name == "images-dsptq"
    provenance = _provenance(prepared)
    assert [step["operator"] for step in provenance["steps"]] == ["distilled", "identity", "sptq"]
    assert provenance["build_s"] == sum(step["build_s"] for step in provenance["steps"])
    assert provenance["training_samples"] == 1600
    int8 = [one for one in _graph(prepared).initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1]
    assert sorted(len(numpy_helper.to_array(one).flat) for one in int8) == [4 * 32, 8 * 27]


def test_pruned_structured_leaves_half_of_the_channels(make: Make) -> None:
    pytest.importorskip("torch_pruning")
    prepared, provenance = make("pruned_structured"), _provenance(make("pruned_structured"))
    assert provenance["engine"] == "torch-pruning"
    assert provenance["parameters"] == 3 * 8 * 9 + 8 + 32 * 4 + 4
    assert provenance["removed_parameters"] > 0
    assert 2 * provenance["macs"] == _provenance(make("identity"))["macs"]
    assert prepared.evaluation.metrics["top1"] > 90


def test_a_network_that_lost_channels_is_trained_on_in_int8(make: Make) -> None:
    pytest.importorskip("torch_pruning")
    prepared = make("pruned_structured>qat")
    provenance = _provenance(prepared)
    assert [step["operator"] for step in provenance["steps"]] == ["pruned_structured", "qat"]
    assert provenance["engine"] == "torch-pruning > neural-compressor"
    assert provenance["training_samples"] == 320 + 128
    assert {one.data_type for one in _graph(prepared).initializer if len(one.dims) == 4} == {onnx.TensorProto.INT8}
    assert prepared.evaluation.metrics["top1"] > 90


def _zeros(prepared: Prepared) -> list[npt.NDArray[np.bool_]]:
    """Where the weights of a graph's two layers are zero, outputs first; counted in its initializers."""
    arrays = [numpy_helper.to_array(one) for one in _graph(prepared).initializer]
    weights = [array for array in arrays if array.ndim > 1 and array.dtype in (np.float32, np.int8)]
    assert len(weights) == 2
    as_torch = {(64, 32), (4, 64), (4, 32)}
    return [array == 0 if array.ndim > 2 or array.shape in as_torch else array.T == 0 for array in weights]


@pytest.mark.parametrize("subject", [IMAGES, VECTORS], ids=lambda one: one.name)
@pytest.mark.parametrize("chain", ["pruned>qat", "pruned>sptq", "pruned>pruned", "pruned>pruned>qat"])
def test_what_was_pruned_stays_zero_to_the_end_of_a_chain(make: Make, subject: SubjectModel, chain: str) -> None:
    pruned, prepared = make("pruned", subject), make(chain, subject)
    layers = {zeros.shape: zeros for zeros in _zeros(prepared)}
    for before in _zeros(pruned):
        assert layers[before.shape][before].all()
    expected = {"images": 0.75, "vectors": 0.9}[subject.name]
    first = max(layers.values(), key=np.size)
    assert expected - 0.01 <= first.mean() <= expected + 0.03  # rounding to int8 adds a few
    assert _provenance(prepared)["sparsity"] == pytest.approx(
        np.mean(np.concatenate([*map(np.ravel, layers.values())]))
    )
    assert prepared.evaluation.metrics["top1"] > 60


def test_what_was_removed_stays_removed_and_what_is_pruned_of_the_rest_stays_zero(make: Make) -> None:
    pytest.importorskip("torch_pruning")
    prepared = make("pruned_structured>pruned>qat")
    provenance = _provenance(prepared)
    assert provenance["macs"] == _provenance(make("pruned_structured"))["macs"]
    assert [layer.size for layer in _zeros(prepared)] == [8 * 27, 32 * 4]
    assert _zeros(prepared)[0].mean() == pytest.approx(0.75, abs=0.04)
    assert prepared.evaluation.metrics["top1"] > 60


@pytest.mark.parametrize("chain", ["pruned>forgetful", "pruned>forgetful>sptq"])
def test_a_step_that_brings_weights_back_is_refused(make: Make, chain: str) -> None:
    with pytest.raises(BuildError, match=r"% of the graph's weights are zero, and not the \d\d\.\d%"):
        make(chain, VECTORS)


def test_a_step_that_brings_removed_channels_back_is_refused(make: Make) -> None:
    pytest.importorskip("torch_pruning")
    with pytest.raises(BuildError, match="weights when channels, neurons and heads were removed"):
        make("pruned_structured>forgetful")


def test_a_network_without_channels_or_heads_cannot_be_pruned_structurally(make: Make) -> None:
    pytest.importorskip("torch_pruning")
    with pytest.raises(BuildError, match="this network has neither"):
        make("pruned_structured", VECTORS)


def test_what_chains_have_in_common_is_built_once(make: Make) -> None:
    make("distilled", VECTORS)
    stages: list[str] = []
    make("distilled>sptq", VECTORS, stages)
    assert "calibrating" in stages
    assert not any(stage.startswith("training") for stage in stages)


def test_the_same_seed_trains_the_same_weights(make: Make, tmp_path: Path) -> None:
    operators = registry.instantiate({one.name: one for one in CLASSES}, SHORT)
    contents = []
    for folder in ("first", "second"):
        plan = Plan(tmp_path / folder, {"vectors": VECTORS}, operators, this_host())
        prepared = plan.prepare("vectors", "pruned", lambda stage: None, lambda note: None)
        contents.append(prepared.artifact.entry.content)
    assert contents[0] == contents[1]


def test_who_trains_needs_a_subject_that_can_be_trained(make: Make) -> None:
    for operator in ("qat", "pruned"):
        with pytest.raises(BuildError, match="declares no training"):
            make(operator, replace(IMAGES, training=None))
    with pytest.raises(BuildError, match="has no student to distil into"):
        make("distilled", replace(IMAGES, training=Training()))


def test_training_that_diverges_is_refused(make: Make) -> None:
    with pytest.raises(BuildError, match="training collapsed: the loss of step"):
        make("distilled", replace(VECTORS, training=Training(loss=no_number, student=VECTORS.training.student)))  # type: ignore[union-attr]  # it has one


def no_number(logits: Any, labels: Any) -> Any:
    """A loss that is no number."""
    return logits.sum() * float("nan")


def test_there_is_no_fallback_for_neural_compressor(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neural_compressor", None)
    for operator in ("qat", "pruned", "distilled"):
        with pytest.raises(BuildError, match=r"pip install 'pytest-edgeai\[suite\]'"):
            make(operator, **{operator: {"training_samples": 33}})


def test_pruning_keeps_what_layers_say_close_to_what_they_said(tmp_path: Path) -> None:
    import torch

    from pytest_edgeai.operators.neural_compressor.networks import prune
    from pytest_edgeai.operators.training import Batch, Interventions
    from tests.operators.test_networks import attentive

    ids = torch.randint(1, 50, (64, 9), generator=torch.Generator().manual_seed(1))
    inputs = (ids, torch.ones_like(ids))
    original = attentive()
    matched = [f"model.bert.encoder.layer.{number}.output" for number in range(2)]

    def train(network: torch.nn.Module, interventions: Interventions) -> int:
        network.train()
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
        for step in range(30):
            interventions.before_step(step)
            logits = network(*inputs)
            wrong = torch.nn.functional.cross_entropy(logits, ids[:, 0] % 2)
            loss = interventions.loss(Batch((), inputs, ids[:, 0]), logits, wrong)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types there
            interventions.before_update()
            optimizer.step()
            interventions.after_update()
        return 30 * len(ids)

    distances = []
    for names in ((), matched):
        network = attentive()
        prune(
            network,
            train,
            tmp_path,
            pattern="4x1",
            sparsity=0.5,
            first_step=0,
            last_step=20,
            frequency=2,
            excluded=(),
            model=original,
            matched=names,
            loss_weight=0.1 if names else 1.0,
        )
        assert not any(module._forward_hooks for one in (network, original) for module in one.modules())  # noqa: SLF001  # torch tells no other way
        with torch.no_grad():
            distances.append(float((network.eval()(*inputs) - original(*inputs)).square().mean()))
    assert distances[1] < 0.5 * distances[0]
