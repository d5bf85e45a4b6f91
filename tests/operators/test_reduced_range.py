"""How many bits int8 takes is decided by the tiers or the user, and never by the processor of whoever builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.measure.records import TrialRecord
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.identity import Identity
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.qat import QatParameters, QuantizationAwareTraining
from pytest_edgeai.operators.reduced_range import RangeParameters
from pytest_edgeai.operators.sptq import SptqParameters, StaticQuantization
from pytest_edgeai.reporting.tiers import saturation_sentences
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.specs import Topology
from tests.operators.small_subject import IMAGES

pytest.importorskip("torch")
pytest.importorskip("neural_compressor")

VNNI, AVX2 = ("avx2", "avx512f", "avx512_vnni"), ("avx2",)
Make = Callable[..., Prepared]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def _plan(root: Path, parameters: Mapping[str, Mapping[str, Any]], instructions: tuple[str, ...]) -> Plan:
    classes = {one.name: one for one in (Identity, StaticQuantization, QuantizationAwareTraining)}
    operators = registry.instantiate(classes, parameters)
    return Plan(root, {"images": IMAGES}, operators, replace(this_host(), instructions=instructions))


@pytest.fixture
def make(root: Path) -> Make:
    def prepare(operator: str, instructions: tuple[str, ...] = VNNI, **parameters: object) -> Prepared:
        short: Mapping[str, object] = {"training_samples": 128, "batch": 16} if operator == "qat" else {}
        plan = _plan(root, {operator: {**short, **parameters}}, instructions)
        return plan.prepare("images", operator, lambda stage: None, lambda note: None)

    return prepare


def _graph(prepared: Prepared) -> onnx.GraphProto:
    return onnx.load(prepared.artifact.entry.folder / "model.onnx").graph


def _largest_weight(prepared: Prepared) -> int:
    weights = [
        numpy_helper.to_array(one).astype(int)
        for one in _graph(prepared).initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    ]
    return max(int(np.abs(one).max()) for one in weights)


def _first_scale(prepared: Prepared) -> float:
    """Of the graph's input, which has the same range however many bits it takes."""
    graph = _graph(prepared)
    constants = {one.name: one for one in graph.initializer}
    scale = next(node.input[1] for node in graph.node if node.op_type == "QuantizeLinear")
    return float(numpy_helper.to_array(constants[scale]))


@pytest.mark.parametrize("engine", ["neural-compressor", "onnxruntime"])
@pytest.mark.parametrize(("reduced", "largest"), [(True, 64), (False, 127)])
def test_weights_take_7_or_8_bits_as_is_asked(make: Make, engine: str, reduced: bool, largest: int) -> None:
    prepared = make("sptq", engine=engine, reduce_range=reduced)
    assert abs(_largest_weight(prepared) - largest) <= 1
    assert prepared.artifact.entry.provenance["reduce_range"] is reduced


def test_activations_of_a_trained_graph_take_7_or_8_bits_as_is_asked(make: Make) -> None:
    seven, eight = (_first_scale(make("qat", reduce_range=reduced)) for reduced in (True, False))
    assert seven / eight == pytest.approx(255 / 127, rel=0.05)


@pytest.mark.parametrize("vnni", [True, False])
@pytest.mark.parametrize("operator", ["sptq", "qat"])
def test_the_processor_of_the_builder_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str, vnni: bool
) -> None:
    import neural_compressor.adaptor.pytorch as adaptor
    from neural_compressor.utils.utility import CpuInfo

    monkeypatch.setattr(CpuInfo(), "_vnni", vnni)
    monkeypatch.setattr(adaptor, "REDUCE_RANGE", not vnni)
    short: Mapping[str, object] = {"training_samples": 128, "batch": 16} if operator == "qat" else {}
    contents = []
    for reduced in (False, True):
        plan = _plan(tmp_path, {operator: {**short, "reduce_range": reduced}}, VNNI)
        contents.append(plan.prepare("images", operator, lambda stage: None, lambda note: None))
    if operator == "sptq":
        assert (_largest_weight(contents[0]) > 64, _largest_weight(contents[1]) > 64) == (True, False)
    else:
        assert _first_scale(contents[1]) / _first_scale(contents[0]) == pytest.approx(255 / 127, rel=0.05)
    assert (CpuInfo().vnni, adaptor.REDUCE_RANGE) == (vnni, not vnni)


@pytest.mark.parametrize(
    ("instructions", "reduced"),
    [(VNNI, False), (AVX2, True), (("avx2", "avx512f"), True), (("avx2", "avx_vnni"), False), (("asimd",), False)],
)
def test_auto_is_decided_by_the_processor_of_the_tiers_before_the_recipe_is_made(
    tmp_path: Path, instructions: tuple[str, ...], reduced: bool
) -> None:
    for name in ("sptq", "qat"):
        parameters = _plan(tmp_path, {}, instructions).operators[name].parameters
        assert isinstance(parameters, RangeParameters)
        assert parameters.reduce_range is reduced
    assert _plan(tmp_path, {"sptq": {"reduce_range": False}}, AVX2).operators["sptq"].parameters.reduce_range is False


def test_where_a_tier_is_elsewhere_auto_takes_one_bit_less() -> None:
    tiers = {"mobile": {"cores": 1, "memory": "1 GiB"}, "edge": {"cores": 1, "memory": "1 GiB"}}
    here = Topology.model_validate({"origin": "mobile", "tiers": tiers, "links": {"mobile-edge": {"rate": "1 Mbit/s"}}})
    there = here.model_copy(
        update={"tiers": {**here.tiers, "edge": here.tiers["edge"].model_copy(update={"url": "http://board:8000"})}}
    )
    host = replace(this_host(), instructions=VNNI)
    for operator in (StaticQuantization(SptqParameters()), QuantizationAwareTraining(QatParameters())):
        for topology, reduced in ((here, False), (there, True)):
            settled = operator.bind(topology, allot(here.tiers, 2, 2**33)).settled(host)
            assert settled.parameters.model_dump()["reduce_range"] is reduced


@pytest.mark.parametrize(
    ("reduced", "instructions", "said"),
    [(False, AVX2, True), (True, AVX2, False), (False, VNNI, False), (False, (), False)],
)
def test_8_bits_on_a_tier_that_sums_in_16_are_a_remark(
    make: Make, reduced: bool, instructions: tuple[str, ...], said: bool
) -> None:
    prepared = make("sptq", engine="onnxruntime", reduce_range=reduced)
    after = {"instructions": list(instructions), "load_s": {"images-sptq": 0.1}}
    on_the_way = {"instructions": list(AVX2), "load_s": {}}
    tiers = {"cloud": {"before": after, "after": after}, "edge": {"before": on_the_way, "after": on_the_way}}
    strategy = Strategy("images", "sptq", Placement(("cloud",)))
    record = TrialRecord(PlannedTrial(strategy, 0), "valid", tiers=tiers)
    sentences = saturation_sentences([record], {strategy.artifact: prepared})
    assert len(sentences) == said
    for sentence in sentences:
        assert sentence.startswith("int8 on tier cloud: sums may saturate")
        assert "images-sptq use all 8 bits" in sentence
