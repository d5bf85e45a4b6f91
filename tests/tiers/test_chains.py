"""Artifacts in parts on chains of tiers, with real servers."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.serving.pipeline import NextPart, Pipeline
from pytest_edgeai.tiers.backend import DeploymentSpec, TierError
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.process import ProcessBackend

from .conftest import INPUTS, make_model

PLACEMENTS = {
    "mobile+edge": (["mobile", "edge"], ["mobile-edge"]),
    "edge+cloud": (["edge", "cloud"], ["mobile-edge", "edge-cloud"]),
    "mobile+cloud": (["mobile", "cloud"], ["mobile-edge", "edge-cloud"]),
    "mobile+edge+cloud": (["mobile", "edge", "cloud"], ["mobile-edge", "edge-cloud"]),
}


def order_in_parts(folder: Path, placement: str) -> DeploymentSpec:
    """Parts that each give back what they take, under the name that the next one takes."""
    parts = placement.count("+") + 1
    artifact = folder / "artifact"
    for number in range(parts):
        taken, given = f"t{number}" if number else "x", "y" if number == parts - 1 else f"t{number + 1}"
        make_model(artifact / f"part{number}", taken, given)
        Pipeline(onward=NextPart() if number < parts - 1 else None).write(artifact / f"part{number}")
    return DeploymentSpec("tiny-partition", artifact, Placement.parse(placement))


@pytest.mark.parametrize("placement", list(PLACEMENTS))
def test_each_part_runs_on_its_tier_and_every_link_on_the_way_is_crossed_and_probed(
    backend: ProcessBackend, tmp_path: Path, placement: str
) -> None:
    computing, crossed = PLACEMENTS[placement]
    with backend.deploy(order_in_parts(tmp_path, placement)) as deployment, deployment.client() as client:
        answer = client.infer("tiny-partition", INPUTS)

        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        assert {span.place for span in answer.spans if span.name == "compute"} == set(computing)
        assert {span.place for span in answer.spans if span.name == "transmit" and span.place} == set(crossed)
        assert sum(span.duration_s for span in answer.spans) == pytest.approx(answer.latency_s)
        assert [hop.name for hop in deployment.hops] == crossed
        for hop in deployment.hops:
            with deployment.probe(hop) as lines:
                shape = hop.link.shape
                for transfer in (
                    lines.link.upload("/edgeai/probe", 1000),
                    lines.link.download("/edgeai/probe?bytes=1000"),
                ):
                    assert transfer.took_s >= shape.ideal_s(transfer.sent_bytes) + shape.ideal_s(
                        transfer.received_bytes
                    )
        loaded = {state.tier for state in deployment.states() if "tiny-partition" in state.limits["load_s"]}
        assert loaded == set(computing)
        assert deployment.diagnose() is None


@pytest.mark.parametrize("placement", ["mobile", "mobile+edge+cloud"])
def test_as_many_tiers_as_parts_are_needed(backend: ProcessBackend, tmp_path: Path, placement: str) -> None:
    order = DeploymentSpec("tiny-partition", order_in_parts(tmp_path, "mobile+edge").folder, Placement.parse(placement))
    with pytest.raises(TierError, match="an artifact in 2 parts runs on as many tiers"), backend.deploy(order):
        pass


def test_a_part_without_its_graph_is_refused(backend: ProcessBackend, tmp_path: Path) -> None:
    order = order_in_parts(tmp_path, "mobile+edge")
    shutil.move(order.folder / "part1" / "model.onnx", tmp_path)
    with pytest.raises(TierError, match="tier edge cannot serve tiny-partition"), backend.deploy(order):
        pass


def test_who_of_a_chain_is_gone_is_named(backend: ProcessBackend, tmp_path: Path) -> None:
    with backend.deploy(order_in_parts(tmp_path, "mobile+edge")) as deployment:
        os.kill(deployment._servers["edge"].pid, signal.SIGKILL)  # noqa: SLF001  # to break it from outside
        assert "tier edge" in (deployment.diagnose() or "")
