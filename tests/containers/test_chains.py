"""Artifacts in parts on chains of containers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.tiers.containers import DockerBackend
from tests.containers.conftest import assert_is_never_faster
from tests.tiers.conftest import INPUTS
from tests.tiers.test_chains import PLACEMENTS, order_in_parts


@pytest.mark.parametrize("placement", list(PLACEMENTS))
def test_each_part_runs_in_its_container_and_every_link_on_the_way_is_crossed(
    backend: DockerBackend, tmp_path: Path, placement: str
) -> None:
    computing, crossed = PLACEMENTS[placement]
    with backend.deploy(order_in_parts(tmp_path, placement)) as deployment, deployment.client() as client:
        answer = client.infer("tiny-partition", INPUTS)
        assert np.array_equal(answer.outputs["y"], INPUTS["x"])
        assert {span.place for span in answer.spans if span.name == "compute"} == set(computing)
        assert {span.place for span in answer.spans if span.name == "transmit" and span.place} == set(crossed)
        assert [hop.name for hop in deployment.hops] == crossed
        states = deployment.states()
        assert {state.tier for state in states if "tiny-partition" in state.limits["load_s"]} == set(computing)
        assert [state.tier for state in states[: len(computing)]] == computing


def test_the_links_of_a_chain_are_never_faster_than_declared(backend: DockerBackend, tmp_path: Path) -> None:
    with backend.deploy(order_in_parts(tmp_path, "mobile+cloud")) as deployment:
        for hop in deployment.hops:
            assert_is_never_faster(deployment, hop)
