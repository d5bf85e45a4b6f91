"""The operators `partition` and `sptq_partition` on real networks: parts that answer as the whole, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import BuildError, NoParameters, Operator
from pytest_edgeai.operators.identity import Identity, IdentityParameters
from pytest_edgeai.operators.partition import Partition, PartitionParameters
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.sptq import SptqParameters, StaticQuantization
from pytest_edgeai.operators.sptq_partition import StaticQuantizationPartition
from pytest_edgeai.partition import equivalence, splitting
from pytest_edgeai.partition.equivalence import Equivalence
from pytest_edgeai.partition.graph import PartitionError
from pytest_edgeai.serving.pipeline import Classification, NextPart, Pipeline
from pytest_edgeai.store import library_versions
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.specs import Topology
from tests.operators.small_subject import IMAGES, VECTORS
from tests.plugin.toy_models import Plain
from tests.plugin.toy_models import subject as toy_subject

pytest.importorskip("torch")

Make = Callable[..., Prepared]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def make(root: Path) -> Make:
    def prepare(model: str, operator: str, **parameters: object) -> Prepared:
        given = PartitionParameters.model_validate(parameters)
        operators: dict[str, Operator[Any]] = {
            "identity": Identity(IdentityParameters()),
            "sptq": StaticQuantization(SptqParameters(engine="onnxruntime", calibration_samples=32)),
            "partition": Partition(given),
            "sptq_partition": StaticQuantizationPartition(NoParameters()),
        }
        plan = Plan(root, {"images": IMAGES, "vectors": VECTORS}, operators, this_host())
        return plan.prepare(model, operator, lambda stage: None, lambda note: None)

    return prepare


def _parts(prepared: Prepared) -> list[onnx.ModelProto]:
    return [onnx.load(path) for path in sorted(prepared.artifact.entry.folder.glob("part*/model.onnx"))]


@pytest.mark.parametrize("model", ["images", "vectors"])
@pytest.mark.parametrize("operator", ["partition", "sptq_partition"])
def test_parts_predict_what_the_whole_does(make: Make, model: str, operator: str) -> None:
    whole = make(model, {"partition": "identity", "sptq_partition": "sptq"}[operator])
    parts = make(model, operator)

    assert np.array_equal(parts.evaluation.predictions.ranked[:, 0], whole.evaluation.predictions.ranked[:, 0])
    sides = (np.asarray(one.evaluation.predictions.outputs["scores"]) for one in (parts, whole))
    assert np.abs(np.subtract(*sides)).max() < (0.05 if "sptq" in operator else 1e-5)
    provenance = parts.artifact.entry.provenance
    assert provenance["equivalence"]["basic_difference"] == 0
    assert provenance["equivalence"]["same_predictions"] == 1


def test_every_part_has_its_share_of_weights_and_pipeline_and_nothing_twice(make: Make) -> None:
    whole = make("images", "identity")
    parts = make("images", "partition")

    names = [{one.name for one in part.graph.initializer if len(one.dims) > 1} for part in _parts(parts)]
    assert not names[0] & names[1]
    parameters = parts.artifact.entry.provenance["part_parameters"]
    assert sum(parameters) == pytest.approx(whole.artifact.entry.provenance["parameters"], abs=2)
    assert sum(parts.artifact.entry.provenance["part_macs"]) == 16 * 27 * 64 + 64 * 4
    pipelines = [Pipeline.read(parts.artifact.entry.folder / f"part{number}") for number in range(2)]
    assert pipelines == [Pipeline(onward=NextPart()), Pipeline(None, Classification(k=2))]
    assert {name.partition("/")[0] for name in parts.artifact.entry.files} == {"part0", "part1"}


@pytest.mark.parametrize("cut", ["half", "best"])
@pytest.mark.parametrize("operator", ["partition", "sptq_partition"])
def test_a_graph_is_cut_in_three_parts_that_predict_what_the_whole_does(make: Make, operator: str, cut: str) -> None:
    tier = {"threads": 1, "compute_scale": 1.0}
    stages = [{**tier, "rate_bps": 1e6}, {**tier, "rate_bps": 1e4}, tier]  # so that the second link decides
    whole = make("images", {"partition": "identity", "sptq_partition": "sptq"}[operator])

    made = make("images", operator, chain="mobile+edge+cloud", cut=cut, stages=stages)

    parts, provenance = _parts(made), made.artifact.entry.provenance
    assert len(parts) == 3
    assert [one.name for one in parts[0].graph.output] == [one.name for one in parts[1].graph.input]
    assert [one.name for one in parts[1].graph.output] == [one.name for one in parts[2].graph.input]
    names = [{one.name for one in part.graph.initializer if len(one.dims) > 1} for part in parts]
    assert sum(map(len, names)) == len(set().union(*names)) == 2
    assert sum(provenance["part_macs"]) == 16 * 27 * 64 + 64 * 4
    assert len(provenance["cut"]) == len(provenance["crossing"]) == 2
    assert provenance["equivalence"]["basic_difference"] == 0
    assert np.array_equal(made.evaluation.predictions.ranked[:, 0], whole.evaluation.predictions.ranked[:, 0])
    if cut == "best":
        element_bytes = 4 if operator == "partition" else 1
        assert provenance["crossing_bytes"][1] <= element_bytes * 64  # after the pooling, over the slow link


def test_best_for_three_tiers_knows_both_links() -> None:
    topology = Topology.model_validate(
        {
            "tiers": {name: {"cores": 1, "memory": "1 GiB"} for name in ("mobile", "edge", "cloud")},
            "links": {"mobile-edge": {"rate": "50 Mbit/s"}, "edge-cloud": {"rate": "1 Mbit/s", "delay": "7 ms"}},
        }
    )
    given = PartitionParameters(cut="best", chain="mobile+edge+cloud")
    stages = Partition(given).bind(topology, allot(topology.tiers, 2, 2**33)).parameters.stages
    assert stages is not None
    assert [stage.delay_s for stage in stages] == [0, 7e-3, 0]
    assert [stage.rate_bps for stage in stages] == [pytest.approx(5e7), pytest.approx(1e6), None]


def test_best_over_two_links_knows_that_a_message_is_on_one_after_the_other() -> None:
    topology = Topology.model_validate(
        {
            "tiers": {name: {"cores": 1, "memory": "1 GiB"} for name in ("mobile", "edge", "cloud")},
            "links": {"mobile-edge": {"rate": "3 Mbit/s"}, "edge-cloud": {"rate": "1 Mbit/s", "delay": "7 ms"}},
        }
    )
    given = PartitionParameters(cut="best", chain="mobile+cloud")
    stages = Partition(given).bind(topology, allot(topology.tiers, 2, 2**33)).parameters.stages
    assert stages is not None
    assert stages[0].rate_bps == pytest.approx(0.75e6)
    assert stages[0].delay_s == pytest.approx(7e-3)


def test_int8_parts_exchange_integers(make: Make) -> None:
    parts = make("images", "sptq_partition")
    (crossing,) = _parts(parts)[0].graph.output
    assert crossing.type.tensor_type.elem_type == onnx.TensorProto.UINT8


@pytest.mark.parametrize(
    ("compression", "element_type", "most"),
    [("fp16", onnx.TensorProto.FLOAT16, 1e-3), ("int8", onnx.TensorProto.UINT8, 0.05)],
)
def test_tensors_that_cross_are_compressed_by_the_graphs_and_what_it_costs_is_known(
    make: Make, compression: str, element_type: int, most: float
) -> None:
    parts = make("vectors", "partition", compression=compression)

    (crossing,) = _parts(parts)[0].graph.output
    assert crossing.type.tensor_type.elem_type == element_type
    assert _parts(parts)[1].graph.input[0] == crossing
    provenance = parts.artifact.entry.provenance
    assert provenance["equivalence"]["basic_difference"] == 0
    assert 0 < provenance["compressed"]["difference"] < most
    assert parts.evaluation.metrics["top1"] > 90


def test_compression_on_the_wire_is_for_the_tiers_to_do(make: Make) -> None:
    parts = make("vectors", "partition", compression="zlib")
    assert Pipeline.read(parts.artifact.entry.folder / "part0") == Pipeline(onward=NextPart("zlib"))


def test_a_cut_is_taken_by_the_name_of_its_tensor(make: Make) -> None:
    cuts = make("images", "partition", cut="relu").artifact.entry.provenance
    assert cuts["cut"] == ["relu"]
    every = [make("images", "partition", cut=number).artifact.entry.provenance for number in range(cuts["cuts"])]
    assert cuts["cut"] in [one["cut"] for one in every]
    assert len({tuple(one["cut"]) for one in every}) == cuts["cuts"]
    with pytest.raises(BuildError, match=rf"there is no cut {cuts['cuts']}: the graph has {cuts['cuts']}, numbered"):
        make("images", "partition", cut=cuts["cuts"])
    with pytest.raises(BuildError, match="did you mean 'relu'"):
        make("images", "partition", cut="relo")
    with pytest.raises(BuildError, match="2 cuts make 3 parts, but mobile\\+edge has 2"):
        make("images", "partition", cut=("relu", "avg_pool2d"))


TOPOLOGY = Topology.model_validate(
    {
        "tiers": {name: {"cores": cores, "memory": "1 GiB"} for name, cores in (("mobile", 4), ("edge", 8))},
        "links": {"mobile-edge": {"rate": "1 Mbit/s", "delay": "3 ms"}},
    }
)


def test_the_best_cut_knows_tiers_and_links_and_others_do_not_depend_on_them(make: Make) -> None:
    allotments = allot(TOPOLOGY.tiers, 2, 2**33)
    half = Partition(PartitionParameters())
    assert half.bind(TOPOLOGY, allotments) is half

    best = Partition(PartitionParameters(cut="best")).bind(TOPOLOGY, allotments)

    stages = best.parameters.stages
    assert stages is not None
    assert [stage.rate_bps for stage in stages] == [pytest.approx(1e6), None]
    assert stages[0].delay_s == pytest.approx(3e-3)
    assert stages[0].compute_scale == 2 * stages[1].compute_scale
    with pytest.raises(BuildError, match="needs the tiers of mobile\\+edge in the topology"):
        make("images", "partition", cut="best")


def test_over_a_slow_link_the_best_cut_is_where_the_fewest_bytes_cross(make: Make) -> None:
    stages = [{"threads": 1, "compute_scale": 1.0, "rate_bps": 1e4}, {"threads": 1, "compute_scale": 1.0}]
    provenance = make("images", "partition", cut="best", stages=stages).artifact.entry.provenance
    assert provenance["crossing_bytes"] == [4 * 64]  # after the pooling
    assert provenance["predicted_s"] >= 4 * 64 * 8 / 1e4


def test_large_weights_are_beside_the_graph(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "INLINE_BYTES", 1000)
    parts = make("vectors", "partition", calibration_samples=3)
    files = parts.artifact.entry.files
    assert files["part0/model.onnx.data"] == 32 * 64 * 4
    assert files["part0/model.onnx"] < 1000
    assert parts.artifact.graph_bytes > 32 * 64 * 4
    assert parts.evaluation.metrics["top1"] > 90


def test_parts_that_compute_something_else_are_refused_with_their_numbers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = splitting.save

    def damaged(model: onnx.ModelProto, path: Path) -> None:
        weight = next(one for one in model.graph.initializer if len(one.dims) == 2)
        array = onnx.numpy_helper.to_array(weight) * 1.5
        weight.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), weight.name))
        save(model, path)

    monkeypatch.setattr(splitting, "save", damaged)
    with pytest.raises(BuildError, match=r"^partition: the parts differ from the whole by \S+ at .* BASIC.* and by"):
        make("vectors", "partition", calibration_samples=4)


@pytest.mark.parametrize(
    ("found", "quantized", "sentence"),
    [
        (Equivalence(8, 0.0, 5e-3, 1.0), False, "0.005 of the outputs' size"),
        (Equivalence(8, 1e-7, 0.0, 1.0), False, "1e-07 at optimisation level BASIC"),
        (Equivalence(8, 0.0, 0.0, 0.875), True, "12.5% of 8 predictions"),
        (Equivalence(8, float("nan"), float("nan"), 1.0), True, "nan"),
    ],
)
def test_what_is_not_equivalent_is_said_in_numbers(found: Equivalence, quantized: bool, sentence: str) -> None:
    with pytest.raises(PartitionError, match=sentence):
        found.check(quantized=quantized)


def test_int8_may_round_elsewhere_where_float_may_not() -> None:
    found = Equivalence(8, 0.0, equivalence.FLOAT_TOLERANCE * 10, 1.0)
    found.check(quantized=True)
    with pytest.raises(PartitionError):
        found.check(quantized=False)


def test_all_that_cuts_decides_the_artifact() -> None:
    names = {path.name for path in Partition.sources()}
    assert names == {"partition.py", "partition"}
    assert set(Partition.libraries) == set(library_versions(Partition.libraries))


def test_a_graph_without_a_cut_is_refused_with_what_ties_it(tmp_path: Path) -> None:
    operators: dict[str, Operator[Any]] = {
        "identity": Plain(NoParameters()),
        "partition": Partition(PartitionParameters()),
    }
    plan = Plan(tmp_path, {"toy": toy_subject("toy")}, operators, this_host())
    with pytest.raises(BuildError, match="partition: the graph has no cut: it has only one node that computes"):
        plan.prepare("toy", "partition", lambda stage: None, lambda note: None)
