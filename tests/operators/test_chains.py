"""From the names of chains to steps, and why some cannot be made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.operators import Operator, chains, registry
from pytest_edgeai.operators.chains import lacking, steps, with_chains
from pytest_edgeai.operators.composition import Composition
from pytest_edgeai.subjects import SubjectModel


@pytest.fixture(scope="module")
def operators() -> dict[str, Operator[Any]]:
    from pytest_edgeai.operators.distilled import Distilled
    from pytest_edgeai.operators.dsptq import DistilledStaticQuantization
    from pytest_edgeai.operators.identity import Identity
    from pytest_edgeai.operators.pruned import Pruned
    from pytest_edgeai.operators.pruned_structured import StructuredPruned
    from pytest_edgeai.operators.qat import QuantizationAwareTraining
    from pytest_edgeai.operators.sptq import StaticQuantization

    classes: tuple[type[Operator[Any]], ...] = (
        Identity,
        StaticQuantization,
        QuantizationAwareTraining,
        Pruned,
        Distilled,
        DistilledStaticQuantization,
        StructuredPruned,
        Endless,
    )
    return registry.instantiate({one.name: one for one in classes}, {})


class Endless(Composition):
    """It contains itself."""

    name = "endless"
    chain = ("pruned", "endless")


def _names(name: str, operators: dict[str, Operator[Any]]) -> list[str]:
    chains = {chain: Composition.named(chain, tuple(chain.split(">"))) for chain in [name] if ">" in chain}
    return [step.name for step in steps(name, {**operators, **chains})]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identity", ["identity"]),
        ("sptq", ["identity", "sptq"]),
        ("qat", ["qat"]),
        ("pruned", ["pruned", "identity"]),
        ("dsptq", ["distilled", "identity", "sptq"]),
        ("distilled>sptq", ["distilled", "identity", "sptq"]),
        ("pruned_structured>qat", ["pruned_structured", "qat"]),
        ("pruned>qat", ["pruned", "qat"]),
        ("pruned_structured>pruned>sptq", ["pruned_structured", "pruned", "identity", "sptq"]),
        ("distilled>pruned>sptq", ["distilled", "pruned", "identity", "sptq"]),
        ("identity>sptq", ["identity", "sptq"]),
    ],
)
def test_a_chain_is_exported_where_a_graph_is_needed(
    operators: dict[str, Operator[Any]], name: str, expected: list[str]
) -> None:
    assert _names(name, operators) == expected


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sptq>qat", "qat takes a network that can be trained, and sptq gives an int8 graph"),
        ("qat>sptq", "sptq takes a float graph, and qat gives an int8 graph"),
        ("sptq>sptq", "sptq takes a float graph, and sptq gives an int8 graph"),
        ("identity>pruned", "pruned takes a network that can be trained, and identity gives a float graph"),
        ("dsptq>distilled", "distilled takes a network that can be trained, and sptq gives an int8 graph"),
        ("pruned>distilled", "distilled would not keep the zeros of pruned, since it trains another network"),
        ("pruned_structured>dsptq", "distilled would not keep the structure of pruned_structured, since it trains"),
        ("distilled>pruned>pruned_structured", "pruned_structured would not keep the zeros of pruned, since what has"),
        ("distiled>sptq", "in 'distiled>sptq', there is no operator 'distiled'; did you mean 'distilled'"),
        ("distilled>", "there is no operator ''"),
        ("pruned>endless", "endless is a step of itself"),
    ],
)
def test_a_chain_that_cannot_be_made_says_why(operators: dict[str, Operator[Any]], name: str, sentence: str) -> None:
    known = {key: value for key, value in operators.items() if key != "endless" or "endless" in name}
    with pytest.raises(SettingsError, match=sentence):
        with_chains(known, [name])


def test_only_chains_that_are_named_are_added(operators: dict[str, Operator[Any]]) -> None:
    known = {key: value for key, value in operators.items() if key != "endless"}
    assert list(with_chains(known, ["sptq", "distilled>sptq"])) == [*known, "distilled>sptq"]


def test_without_torch_what_starts_from_a_network_says_what_to_install(
    operators: dict[str, Operator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import bert
    from tests.operators.small_subject import VECTORS

    known = {name: one for name, one in operators.items() if name != "endless"}
    everything = with_chains(known, ["pruned>sptq"])
    assert not lacking("qat", bert.SUBJECT, everything)
    monkeypatch.setattr(chains, "is_installed", lambda module: module != "torch")
    remedy = "a torch network, and torch is not installed: pip install 'pytest-edgeai[operators]'"
    for name, step in (("qat", "qat"), ("dsptq", "distilled"), ("pruned>sptq", "pruned")):
        assert lacking(name, bert.SUBJECT, everything) == f"operator {step} changes {remedy}"
    assert not lacking("identity", bert.SUBJECT, everything)
    assert not lacking("sptq", bert.SUBJECT, everything)
    assert lacking("sptq", VECTORS, everything) == f"model vectors is {remedy}"


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    operators: dict[str, Operator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import bert, resnet

    known = {name: one for name, one in operators.items() if name != "endless"}

    def without(module: str, name: str, subject: SubjectModel = bert.SUBJECT) -> str:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            return lacking(name, subject, known)

    def remedy(extra: str) -> str:
        return f"which is not installed: pip install 'pytest-edgeai[{extra}]'"

    missing = without("torch_pruning", "pruned_structured")
    assert missing == f"operator pruned_structured needs torch-pruning, {remedy('operators')}"
    assert without("transformers", "qat") == f"model bert needs transformers, {remedy('operators')}"
    assert without("neural_compressor", "qat") == f"operator qat needs neural-compressor, {remedy('suite')}"
    assert without("onnxscript", "sptq") == f"operator identity needs onnxscript, {remedy('suite')}"
    missing = without("sklearn", "identity", resnet.SUBJECT)
    assert missing == f"the examples of model resnet need scikit-learn, {remedy('suite')}"
    assert not without("transformers", "sptq")
    assert not without("neural_compressor", "sptq")  # ONNX Runtime does it then


def test_a_graph_is_copied_without_the_library_that_fills_skeletons(
    operators: dict[str, Operator[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.operators.graph_subjects import regression, write_regression

    subject = regression(write_regression(tmp_path / "graph.onnx"), "mae")
    known = {name: one for name, one in operators.items() if name != "endless"}
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert not lacking("identity", subject, known)
