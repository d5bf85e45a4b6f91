"""By how much links could have changed requests, against links that are off by a known amount."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.measure.link_errors import (
    UNTOLD_S,
    Crossing,
    LinkErrors,
    estimate_link_errors,
    floor_remark,
    judge_link_errors,
    link_remarks,
)
from pytest_edgeai.tiers.probe import Direction, Point, Probe
from pytest_edgeai.wire.links import LinkShape

SHAPE = LinkShape(1e6, 0.001)


def probes_of(factor: float, host_s: float = 0.0, shape: LinkShape = SHAPE, link: str = "a-b") -> list[Probe]:
    """Probes of a link that takes `factor` times as long for its bytes as was declared, on a host that takes longer."""

    def point(size_bytes: int) -> Point:
        transfer_s = size_bytes * 8 / shape.rate_bps
        ideal_s = transfer_s + 2 * shape.delay_s
        return Point(size_bytes, ideal_s + transfer_s * (factor - 1) + host_s, ideal_s, host_s)

    directions: Sequence[Direction] = ("up", "down")
    return [Probe(link, direction, shape.rate_bps, point(300), point(3000), 1) for direction in directions]


def crossing(sent: int, received: int, factor: float = 1.0, more_s: float = 0.0, link: str = "a-b") -> Crossing:
    transfer_s = (sent + received) * 8 / SHAPE.rate_bps
    return Crossing(link, transfer_s * factor + 2 * SHAPE.delay_s + more_s, sent, received)


@given(st.floats(0.5, 2), st.integers(100, 100_000), st.integers(100, 10_000))
def test_both_ways_find_what_a_wrong_rate_does_to_the_bytes_of_a_request(
    factor: float, sent: int, received: int
) -> None:
    requests = [[crossing(sent, received, factor)] for _ in range(5)]
    errors = estimate_link_errors(requests, [0.0] * 5, {"a-b": SHAPE}, probes_of(factor))
    assert errors is not None
    true_s = (sent + received) * 8 / SHAPE.rate_bps * (factor - 1)
    assert errors.requests_s == pytest.approx(true_s if true_s < 0 else max(0.0, true_s - UNTOLD_S), abs=1e-9)
    assert errors.probed_s == pytest.approx(abs(true_s), abs=1e-9)


@given(st.floats(0, 0.01), st.floats(0, 1))
def test_what_the_host_takes_without_a_link_is_no_error_of_the_link(host_s: float, share: float) -> None:
    requests = [[crossing(5000, 200, more_s=host_s * share)]]
    errors = estimate_link_errors(requests, [0.0], {"a-b": SHAPE}, probes_of(1.0, host_s))
    assert errors is not None
    assert errors.largest_s == pytest.approx(0, abs=1e-9)


def test_what_is_too_fast_is_an_error_whatever_the_host_takes() -> None:
    errors = estimate_link_errors([[crossing(5000, 200, 0.9)]], [0.0], {"a-b": SHAPE}, probes_of(1.0, host_s=0.05))
    assert errors is not None
    assert errors.largest_s == pytest.approx(-0.1 * 5200 * 8 / 1e6)


def test_what_one_link_makes_up_for_is_no_error_of_the_request() -> None:
    late, early = crossing(1000, 100, more_s=0.002, link="a-b"), crossing(1000, 100, more_s=-0.002, link="b-c")
    probes = [*probes_of(1.0), *probes_of(1.0, link="b-c")]
    errors = estimate_link_errors([[late, early]], [0.0], {"a-b": SHAPE, "b-c": SHAPE}, probes)
    assert errors is not None
    assert errors.requests_s == pytest.approx(0, abs=1e-9)


def test_lateness_counts_where_it_is_more_than_the_host_takes_without_a_link() -> None:
    requests = [[crossing(100, 100, more_s=0.001)]]
    for host_s, late_s in ((0.0004, 0.0006), (0.005, 0.0)):
        errors = estimate_link_errors(requests, [0.001], {"a-b": SHAPE}, probes_of(1.0, host_s=host_s))
        assert errors is not None
        assert errors.late_s == pytest.approx(late_s)


def test_requests_over_no_known_link_have_no_error() -> None:
    assert estimate_link_errors([[crossing(1, 1, link="")]], [0.0], {}, []) is None
    assert estimate_link_errors([[]], [0.0], {"a-b": SHAPE}, []) is None


@pytest.mark.parametrize("seconds", [0.0021, -0.0021])
def test_an_error_beyond_the_tolerated_share_is_a_reason_and_names_the_link_that_is_off(seconds: float) -> None:
    reason, remarks = judge_link_errors(LinkErrors(0, seconds, 0), 0.1, 0.02, 1e-4, probes_of(1.1))
    assert "of their latency, where 2.0% are tolerated (tolerances.link_share)" in reason
    assert "link a-b up is 10.0% too slow for its 1 Mbit/s" in reason
    assert remarks == ()


def test_an_error_within_is_a_remark() -> None:
    reason, remarks = judge_link_errors(LinkErrors(0, 0.0019, 0), 0.1, 0.02, 1e-4, probes_of(1.1))
    assert reason == ""
    assert len(remarks) == 2


def test_a_session_says_once_of_each_link_how_far_it_was_off() -> None:
    trials = [(probes_of(1.05), 0.004), (probes_of(0.9), -0.006), (probes_of(1.0), 0.0)]
    assert link_remarks(trials) == (
        "link a-b up was up to 10.0% too fast in 2 of 3 valid trials; that changed their latencies by 0.6% at most",
        "link a-b down was up to 10.0% too fast in 2 of 3 valid trials; that changed their latencies by 0.6% at most",
    )


@pytest.mark.parametrize("seconds", [0.9e-4, -0.9e-4])
def test_an_error_below_the_floor_never_makes_a_short_trial_invalid_and_is_remarked(seconds: float) -> None:
    reason, remarks = judge_link_errors(LinkErrors(0, seconds, 0), 4e-4, 0.02, 1e-4, probes_of(1.0))
    assert reason == ""
    (remark,) = remarks
    assert remark.startswith("links contribute up to 0.09 ms to its latency, 22.5%")


@pytest.mark.parametrize("seconds", [1.1e-4, -1.1e-4])
def test_an_error_above_the_floor_makes_a_short_trial_invalid(seconds: float) -> None:
    reason, remarks = judge_link_errors(LinkErrors(0, seconds, 0), 4e-4, 0.02, 1e-4, probes_of(1.0))
    assert "0.11 ms" in reason
    assert "where 0.1 ms are tolerated (tolerances.link_floor_s)" in reason
    assert remarks == ()


@given(st.floats(1e-4, 1), st.floats(-0.1, 0.1))
def test_the_floor_is_in_force_only_where_the_share_is_less(latency_s: float, error_s: float) -> None:
    reason, _ = judge_link_errors(LinkErrors(0, error_s, 0), latency_s, 0.02, 1e-4, probes_of(1.0))
    assert bool(reason) == (abs(error_s) > 1e-4 and abs(error_s) > 0.02 * latency_s)


def test_what_links_contribute_to_short_latencies_is_said_once_of_a_session() -> None:
    shares = {"a-b-edge": (4e-5, 0.1), "a-c-edge": (5e-5, 0.03), "a-b-cloud": (5e-4, 0.002)}
    assert floor_remark(shares, 0.02) == (
        "links contribute up to 0.04 ms to the latency of a-b-edge, a-c-edge, 10.0% of the median of a-b-edge: "
        "differences from other tiers or versions that are smaller than that are not proven"
    )
    assert floor_remark({"a-b-cloud": (5e-4, 0.002)}, 0.02) == ""
