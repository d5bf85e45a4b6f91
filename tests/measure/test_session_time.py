"""How long a session takes, by hand."""

from __future__ import annotations

import pytest

from pytest_edgeai.measure.session_time import RequestCost, SessionTime, duration, trial_time
from pytest_edgeai.tiers.specs import Topology, paper_topology

TOPOLOGY = Topology.model_validate(paper_topology())
COST = RequestCost(compute_s=0.01, load_s=0.5, sent_bytes=12_200, received_bytes=700)


def _time(tier: str, *, loads_each: bool = False, scale: float = 1.0) -> SessionTime:
    return trial_time(
        COST,
        requests=12,
        probe_s=0.02,
        loads_each=loads_each,
        hops=TOPOLOGY.route(tier),
        scale=scale,
        servers=2,
        server_s=0.3,
    )


def test_requests_compute_and_cross_each_link_with_their_bytes() -> None:
    spent = _time("cloud", scale=2)
    assert spent.computing_s == pytest.approx(12 * 0.01 * 2)
    slow_s, fast_s = (13_500 * 8 / rate for rate in (1e6, 200e6))
    assert spent.crossing_s == pytest.approx(12 * (slow_s + fast_s))
    assert spent.starting_s == pytest.approx(2 * 0.3 + 0.5)
    assert spent.total_s == pytest.approx(spent.computing_s + spent.crossing_s + spent.probing_s + spent.starting_s)


def test_where_no_link_is_crossed_none_is_probed() -> None:
    spent = _time("mobile")
    assert (spent.crossing_s, spent.probing_s) == (0, 0)


def test_a_probe_takes_its_larger_messages_and_little_more() -> None:
    # Twice in each direction, of 20 ms each.
    assert 4 * 0.02 < _time("edge").probing_s < 5 * 0.02


def test_a_model_that_each_request_loads_is_loaded_as_often() -> None:
    assert _time("mobile", loads_each=True).starting_s == pytest.approx(2 * 0.3 + 12 * 0.5)


def test_the_parts_are_in_the_sentence() -> None:
    spent = SessionTime(1.0, 20.0, 0.5, 100.0).times(2) + SessionTime(1.0)
    assert spent.sentence() == (
        "4:04 min (3.0 s computing + 40 s crossing links + 1.0 s probing links + 3:20 min starting tiers)"
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.9, "9.9 s"), (12.4, "12 s"), (185, "3:05 min"), (7800, "2:10 h")]
)
def test_durations_are_written_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words
