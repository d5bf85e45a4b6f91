"""Subject models from torch modules: given as a function or as they are, with examples in a list or from a function."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_edgeai import Classification, Example, Pipeline, SubjectError, SubjectModel
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators.identity import Identity, IdentityParameters
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.subjects import Split
from tests.operators import small_subject

OPERATORS: Any = {"identity": Identity(IdentityParameters())}
PAIRS = [(one.inputs["x"][0], one.reference) for one in small_subject.vectors("validation")]


class Halves(torch.nn.Module):
    """Returns two tensors, one for each position and one for the whole."""

    output_names = ("positions", "whole")

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        positions = self.linear(x.reshape(-1, 2, 16))
        return positions, positions.sum(dim=(1, 2))


def no_module() -> Any:
    return "nothing"


def of_a_split(split: Split) -> list[tuple[Any, Any]]:
    return [(one.inputs, one.reference) for one in small_subject.vectors(split)]


def subject(network: Any = small_subject.dense, inputs: Any = None, **changes: Any) -> SubjectModel:
    given = {"x": torch.zeros(1, 32)} if inputs is None else inputs
    fields: dict[str, Any] = {"name": "vectors", "examples": PAIRS, "metrics": ("top1",)}
    return SubjectModel.from_torch(network, given, **(fields | changes))


def prepared(root: Path, made: SubjectModel) -> Prepared:
    plan = Plan(root / "store", {made.name: pickle.loads(pickle.dumps(made))}, OPERATORS, this_host())
    return plan.prepare(made.name, "identity", lambda stage: None, lambda note: None)


@pytest.mark.parametrize("network", [small_subject.dense, small_subject.dense()], ids=["function", "module"])
@pytest.mark.parametrize("examples", [PAIRS, of_a_split], ids=["list", "function of the split"])
def test_a_network_is_exported_and_judged(tmp_path: Path, network: Any, examples: Any) -> None:
    made = prepared(tmp_path, subject(network, examples=examples, pipeline=Pipeline(None, Classification(k=2))))
    assert made.evaluation.metrics["top1"] > 90
    assert len(made.validation) == (48 if examples is PAIRS else 64)


def test_a_module_that_names_its_outputs_answers_with_all_of_them(tmp_path: Path) -> None:
    made = prepared(tmp_path, subject(Halves(), metrics=("cosine",)))
    outputs = made.evaluation.predictions.outputs
    assert {name: np.shape(output) for name, output in outputs.items()} == {"positions": (48, 2, 4), "whole": (48,)}


def test_the_weights_of_a_module_decide_its_key() -> None:
    module = small_subject.dense()
    before = subject(module).key
    assert subject(small_subject.dense()).key == before
    with torch.no_grad():
        next(module.parameters()).add_(1e-3)
    assert subject(module).key != before
    assert subject(small_subject.dense).key == ""


def test_the_examples_of_a_list_decide_their_key() -> None:
    before = subject().examples.key
    assert subject(examples=[*PAIRS]).examples.key == before
    assert subject(examples=[*PAIRS[:-1], (PAIRS[-1][0] + 1, PAIRS[-1][1])]).examples.key != before
    assert subject(examples=[*PAIRS[:-1], (PAIRS[-1][0], 1 + PAIRS[-1][1])]).examples.key != before


def test_a_lone_tensor_is_the_input_called_input() -> None:
    made = subject(inputs=np.zeros((1, 32), np.float32), examples=[(row.astype(np.float64), y) for row, y in PAIRS])
    assert made.graph_inputs == ("input",)
    example = made.examples.generate("calibration")[0]
    assert isinstance(example, Example)
    assert example.inputs["input"].shape == (1, 32)
    assert example.inputs["input"].dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": lambda: None}, "the function .* cannot be sent to the process that builds artifacts"),
        ({"network": "resnet"}, "a network is a torch.nn.Module or a function that returns one, not 'resnet'"),
        ({"inputs": {}}, "there are no example inputs"),
        ({"inputs": 3.0}, "example input 'input' is not a tensor whose first dimension is the batch"),
        ({"examples": lambda split: []}, "the function of examples cannot be sent"),
        ({"examples": PAIRS[:5]}, "the list of examples has 5 examples, and 8 are needed"),
        ({"examples": 5}, "examples are a list of pairs, a function of the split or a file, not 5"),
        ({"examples": "nothing.npz"}, "there is no file of examples .*nothing.npz"),
        ({"examples": [*PAIRS, (np.zeros(31, np.float32), 0)]}, r"example 64 is of no use: input 'x' has shape \[31\]"),
        ({"examples": [({"y": PAIRS[0][0]}, 0)] * 8}, "there are the inputs y, and the network takes x"),
        ({"examples": [(PAIRS[0][0], lambda: 0)] * 8}, "example 0 has a reference that JSON cannot hold"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SubjectError, match=f"^subject model vectors: .*{sentence}"):
        subject(**changes)


def test_a_module_of_a_class_that_is_not_at_the_top_of_a_module_is_refused() -> None:
    class Local(torch.nn.Module):
        pass

    with pytest.raises(SubjectError, match=r"the module .*Local cannot be sent to the process that builds"):
        subject(Local())


def test_a_function_that_returns_no_module_says_so() -> None:
    with pytest.raises(SubjectError, match=r"no_module returned str, not a torch.nn.Module"):
        subject(no_module).trained()
