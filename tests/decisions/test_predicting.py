"""What is predicted for other links, cores and payloads is what rates, delays and scales alone give."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.decisions.measured_trials import (
    HostTime,
    HostTimes,
    MeasuredTrial,
    PredictionError,
    host_times,
    measured_trials,
)
from pytest_edgeai.decisions.predicting import Change, Surroundings, best_over_rates, latency_after, predict, scale_for
from pytest_edgeai.wire.links import LinkShape
from pytest_edgeai.wire.round_trips import Exchange, round_trip_s
from tests.decisions.reports import LINKS, ROUTES, SCALES, model_latency_s, strategy, trial

shapes = st.builds(LinkShape, st.floats(1e5, 1e9), st.floats(0, 0.1))


def _measured(tier: str, compute_s: float, length: int, trials: int = 6) -> tuple[MeasuredTrial, ...]:
    """Trials that are exactly what the model says, but for an overhead that no model knows."""
    name = f"m-identity-{tier}"
    rows = [
        trial(
            name,
            [model_latency_s(tier, compute_s, length, LINKS, SCALES) + 0.001] * 5,
            compute_s={tier: compute_s},
            sent_bytes=dict.fromkeys(ROUTES[tier], length),
        )
        for _ in range(trials)
    ]
    return measured_trials(strategy(name), rows, "mobile")


@given(
    st.sampled_from(["mobile", "edge", "cloud"]),
    st.floats(0.001, 0.1),
    st.integers(500, 100_000),
    shapes,
    shapes,
    st.floats(1, 20),
)
def test_a_prediction_is_what_the_model_says_of_the_changed_system_and_the_overhead_that_was_measured(
    tier: str, compute_s: float, length: int, near: LinkShape, far: LinkShape, scale: float
) -> None:
    links, scales = {"mobile-edge": near, "edge-cloud": far}, dict.fromkeys(SCALES, scale)
    found = predict(_measured(tier, compute_s, length), Surroundings((tier,), LINKS), Change(links, scales))
    expected = model_latency_s(tier, compute_s, length, links, scales) + 0.001
    assert found.estimate == pytest.approx(expected)
    assert found.low == pytest.approx(expected)
    assert found.high == pytest.approx(expected)


def test_nothing_changed_is_what_was_measured() -> None:
    trials = _measured("cloud", 0.01, 3000)
    for around in (Surroundings(("cloud",), LINKS), Surroundings(("cloud",), LINKS, _hosts(0.002, 0.001))):
        assert predict(trials, around, Change(LINKS, SCALES)).estimate == pytest.approx(trials[0].latency_s[0])


def _hosts(fixed_s: float, error_s: float) -> dict[str, HostTimes]:
    one = HostTime(fixed_s, 0.0, error_s)
    return dict.fromkeys(LINKS, HostTimes(one, one))


def test_a_held_link_that_becomes_fast_shows_what_the_host_takes() -> None:
    """At 1 Mbit/s the host's milliseconds are in the link's own time; at 1 Gbit/s they are not."""
    trials, change = _measured("cloud", 0.01, 3000), Change({"edge-cloud": LinkShape(1e9)})
    hidden = predict(trials, Surroundings(("cloud",), LINKS, _hosts(0.002, 0.0)), change).estimate
    alone = predict(trials, Surroundings(("cloud",), LINKS), change).estimate
    assert 0.002 < hidden - alone <= 0.008


def test_an_interval_is_wider_by_the_error_of_the_links_that_change_and_no_others() -> None:
    trials = _measured("cloud", 0.01, 3000)
    around = Surroundings(("cloud",), LINKS, _hosts(0.0, 0.003))
    plain = predict(trials, around, Change(scales={"cloud": 2.0}))
    one = predict(trials, around, Change({"edge-cloud": LinkShape(5e6)}))
    assert plain.high - plain.low == pytest.approx(0)
    assert one.high - one.low == pytest.approx(2 * (0.003 + 0.003))


def test_a_payload_changes_the_hops_that_the_input_crosses_and_those_of_a_chain_in_between_keep_theirs() -> None:
    rows = [
        trial(
            "m-partition-edge+cloud",
            [0.5] * 5,
            compute_s={"edge": 0.01, "cloud": 0.01},
            sent_bytes={"mobile-edge": 10_000, "edge-cloud": 5_000},
        )
        for _ in range(6)
    ]
    trials = measured_trials(strategy("m-partition-edge+cloud"), rows, "mobile")
    found = predict(trials, Surroundings(("edge", "cloud"), LINKS), Change(payload_bytes=20_000))
    assert found.estimate - 0.5 == pytest.approx(10_000 * 8 / 200e6)
    whole = predict(trials, Surroundings(("cloud",), LINKS), Change(payload_bytes=20_000))
    assert whole.estimate - 0.5 == pytest.approx(10_000 * 8 / 200e6 + 15_000 * 8 / 1e6)


def test_of_a_chain_each_tier_has_its_own_scale() -> None:
    rows = [trial("m-partition-mobile+edge", [0.1] * 5, compute_s={"mobile": 0.01, "edge": 0.005}) for _ in range(6)]
    trials = measured_trials(strategy("m-partition-mobile+edge"), rows, "mobile")
    found = predict(trials, Surroundings(("mobile", "edge"), LINKS), Change(scales={"mobile": 8.0}))
    assert found.estimate == pytest.approx(0.1 + 4 * 0.01)


def test_messages_whose_lengths_are_not_told_are_not_predicted() -> None:
    row = trial("m-identity-edge", [0.1] * 5, sent_bytes={"mobile-edge": 100})
    with pytest.raises(PredictionError, match="m-identity-edge cannot be predicted: a server on its way"):
        measured_trials(strategy("m-identity-edge"), [{**row, "sent_bytes": {}}], "mobile")


def test_cores_give_the_scale_of_their_ratio_and_nothing_faster_than_the_measured_core() -> None:
    assert scale_for("mobile", 2, 4, 4.0) == 8.0
    assert scale_for("mobile", 8, 4, 4.0) == 2.0
    with pytest.raises(PredictionError, match="cloud with 32 cores cannot be predicted"):
        scale_for("cloud", 32, 16, 1.0)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.floats(0.001, 0.1), st.floats(0, 1e6)), min_size=1),
    st.floats(1e5, 1e6),
    st.floats(2, 1000),
)
def test_the_best_over_rates_is_the_best_at_every_rate_and_ranges_meet(
    lines: dict[str, tuple[float, float]], low: float, ratio: float
) -> None:
    predicted = {name: _line(fixed_s, bits) for name, (fixed_s, bits) in lines.items()}
    found = best_over_rates(predicted, low, low * ratio)
    assert (found[0].low, found[-1].high) == (low, low * ratio)
    for before, after in itertools.pairwise(found):
        assert before.high == after.low
        assert before.name != after.name
    for rate in np.geomspace(low, low * ratio, 333):  # other rates than those that it looks at
        (best, *_) = [one for one in found if one.low <= rate * (1 + 1e-9) and rate <= one.high * (1 + 1e-9)]
        least = min(latency(float(rate)) for latency in predicted.values())
        assert predicted[best.name](rate) <= least * (1 + 1e-3)


def test_where_lines_cross_is_found_between_the_rates_that_are_looked_at() -> None:
    found = best_over_rates({"near": _line(0.05, 0), "far": _line(0.01, 1e5)}, 1e5, 1e8, points=7)
    assert [one.name for one in found] == ["near", "far"]
    assert found[0].high == pytest.approx(1e5 / 0.04)


def _line(fixed_s: float, bits: float) -> Callable[[float], float]:
    return lambda rate_bps: fixed_s + bits / rate_bps


def test_what_the_host_takes_comes_from_the_probes_of_valid_trials() -> None:
    def probe(direction: str, small_s: float, large_s: float) -> Mapping[str, object]:
        return {
            "link": "mobile-edge[1]",
            "direction": direction,
            "small": {"size_bytes": 400, "host_s": small_s, "took_s": 0.0011, "ideal_s": 0.001},
            "large": {"size_bytes": 100_400, "host_s": large_s, "took_s": 0.02, "ideal_s": 0.02},
        }

    rows = [trial("m-identity-edge", [0.1], probes=[probe("up", 0.0004, 0.0014), probe("down", 0.0002, 0.0002)])]
    rows.append(trial("m-identity-edge", [0.1], probes=[probe("up", 9.0, 9.0)], status="invalid"))
    times = host_times(rows)["mobile-edge"]
    assert times.up.of(np.array(400.0)) == pytest.approx(0.0002)
    assert times.up.of(np.array(100_400.0)) == pytest.approx(0.0012)
    assert times.down.of(np.array(400.0)) == pytest.approx(0.0001)
    assert 0 < times.up.error_s <= 0.0001


@given(st.lists(st.tuples(shapes, st.integers(0, 10**6), st.integers(0, 10**6)), max_size=4))
def test_without_a_host_a_round_trip_is_the_sum_of_rates_and_delays(crossed: list[tuple[LinkShape, int, int]]) -> None:
    exchanges = [Exchange(*one) for one in crossed]
    ideal_s = sum(shape.ideal_s(sent) + shape.ideal_s(received) for shape, sent, received in crossed)
    assert float(round_trip_s(exchanges)) == pytest.approx(ideal_s)


@given(
    st.lists(st.tuples(shapes, st.integers(0, 10**5), st.floats(0, 0.05), st.floats(0, 0.05)), min_size=1, max_size=3)
)
def test_a_host_never_makes_a_round_trip_shorter_than_the_links_nor_longer_than_both(
    crossed: list[tuple[LinkShape, int, float, float]],
) -> None:
    exchanges = [Exchange(shape, length, 400, up_s, down_s) for shape, length, up_s, down_s in crossed]
    links_s = float(round_trip_s([dataclasses.replace(one, host_up_s=0.0, host_down_s=0.0) for one in exchanges]))
    host_s = math.fsum(up_s + down_s for _, _, up_s, down_s in crossed)
    took_s = float(round_trip_s(exchanges))
    assert max(links_s, host_s) <= took_s * (1 + 1e-9)
    assert took_s <= (links_s + host_s) * (1 + 1e-9)


def test_the_point_estimate_is_that_of_the_prediction() -> None:
    trials, around = _measured("cloud", 0.01, 3000), Surroundings(("cloud",), LINKS)
    change = Change({"edge-cloud": LinkShape(7e6)})
    assert latency_after(trials, around, change, 90) == predict(trials, around, change, 90).estimate


@pytest.mark.parametrize(
    ("placement", "hop"), [("mobile*5", "mobile-mobile"), ("edge*5", "mobile-edge")], ids=["of the origin", "elsewhere"]
)
def test_several_nodes_are_predicted_by_the_slowest(placement: str, hop: str) -> None:
    tier = placement.partition("*")[0]
    name, links = f"m-variants-{placement}", {**LINKS, "mobile-mobile": LinkShape(50e6)}
    states = {f"{tier}[{node}]": {"after": {"compute_scale": 12.0}} for node in range(5)}
    rows = [trial(name, [0.2] * 5, compute_s={tier: 0.01}, sent_bytes={hop: 5000}, tiers=states) for _ in range(6)]
    trials = measured_trials(strategy(name), rows, "mobile")
    change = Change({hop: LinkShape(1e6, 0.01)}, {tier: 6.0}, payload_bytes=9000)
    before_s = (5000 + 400) * 8 / links[hop].rate_bps
    after_s = (9000 + 400) * 8 / 1e6 + 0.02
    found = predict(trials, Surroundings((tier,), links), change)
    assert found.estimate == pytest.approx(0.2 - 6 * 0.01 + after_s - before_s)
