"""The benchmark of availability, on small artifacts and real processes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_edgeai.tiers.nodes import deploy
from pytest_edgeai.tiers.placements import Placement

from . import artifacts
from .artifacts import CLASSES, NAME, one_hot, order

availability: Any = import_module("benchmarks.availability")
PLACEMENT = "mobile*3"
ASKED = [(one_hot(label), label) for label in range(CLASSES)] * 2


def _phases(artifact: Path) -> list[Any]:
    placement = Placement.parse(PLACEMENT)
    with (
        availability.backend_for([placement], docker=False) as backend,
        deploy(backend, order(artifact, PLACEMENT)) as deployment,
        deployment.client() as client,
    ):
        deaths, kill = availability.deaths_of(placement, deployment)
        assert deaths == ["mobile[0]", "mobile[1]"]
        phases: list[Any] = availability.run(client, NAME, PLACEMENT, ASKED, deaths, kill)
        return phases


def test_variants_answer_every_request_and_say_that_nodes_are_missing(tmp_path: Path) -> None:
    artifact, matrices = artifacts.write_variants(tmp_path / "artifact", 3)
    phases = _phases(artifact)
    assert [(one.answered, one.failed) for one in phases] == [(len(ASKED), 0)] * 3
    assert phases[0].partly == 0
    for number, one in enumerate(phases):
        # The first request was in flight when a node was killed.
        right = sum(artifacts.summed(matrices[number:], label)[0][0] == label for _, label in ASKED)
        assert abs(one.right - right) <= (number > 0)
        assert one.partly >= (len(ASKED) - 1 if number else 0)
    assert "| none | 12 | 0 | 0 | 100.0% | 100.0% |" in availability.table(phases)


def test_groups_of_classes_fail_from_the_first_death_on(tmp_path: Path) -> None:
    artifact, _ = artifacts.write_classes(tmp_path / "artifact", 3)
    whole, *without = _phases(artifact)
    assert (whole.answered, whole.failed, whole.right) == (len(ASKED), 0, len(ASKED))
    for one in without:
        assert one.failed >= len(ASKED) - 1
        assert "is needed and has not answered" in one.reason
