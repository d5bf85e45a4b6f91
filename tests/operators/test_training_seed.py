"""The seed of the training that operators do is a setting, and part of what an artifact is made from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.preparation import Plan
from pytest_edgeai.selection import Registered
from pytest_edgeai.session import MeasuringSession
from pytest_edgeai.settings import Settings
from tests.operators.small_subject import IMAGES

pytest.importorskip("torch")

from pytest_edgeai.operators.identity import Identity
from pytest_edgeai.operators.pruned_structured import StructuredPruned

OPERATORS = registry.instantiate(
    {one.name: one for one in (Identity, StructuredPruned)},
    {"pruned_structured": {"training_samples": 320, "batch": 16, "channels": 0.5, "multiple": 4}},
)


@pytest.mark.parametrize("seed", [0, 3])
def test_builds_of_a_session_have_the_seed_of_its_settings(tmp_path: Path, seed: int) -> None:
    registered = Registered({"images": IMAGES}, OPERATORS, {})
    settings = Settings(operators=("identity",), training_seed=seed)
    assert MeasuringSession(settings, registered, 1, tmp_path).plan.seed == seed


@pytest.mark.parametrize("seed", [-1, 2**32, "one"])
def test_a_seed_that_no_generator_takes_is_refused(seed: object) -> None:
    with pytest.raises(ValidationError, match="training_seed"):
        Settings.model_validate({"training_seed": seed})


def test_another_seed_is_another_artifact(tmp_path: Path) -> None:
    plans = [Plan(tmp_path, {"images": IMAGES}, OPERATORS, this_host(), seed=seed) for seed in (0, 1)]
    contents = []
    for plan in plans:
        assert plan.find("images", "pruned_structured") is None
        made = plan.prepare("images", "pruned_structured", lambda stage: None, lambda note: None)
        contents.append(made.artifact.entry.content)
        assert plan.find("images", "pruned_structured") is not None
    assert contents[0] != contents[1]
