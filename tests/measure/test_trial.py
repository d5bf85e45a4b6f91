"""A trial is valid with all its numbers, or invalid with a reason and none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.artifacts import Store
from pytest_edgeai.matrix import Cell, Placement, Strategy
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.client import Answer, RequestError
from pytest_edgeai.measure.trial import Assignment, TrialInvalid, TrialRecord, run_trial
from pytest_edgeai.serving.timing import Span
from pytest_edgeai.settings import Profile, Tolerances
from pytest_edgeai.subjects import Sample, SampleSource, Split
from pytest_edgeai.subjects.samples import Samples, stored
from pytest_edgeai.tiers.backend import TierError, TierState
from pytest_edgeai.tiers.probe import SMALL_BYTES
from pytest_edgeai.tiers.specs import Hop, LinkSpec

CELL = Cell(Strategy("toy", "identity", Placement(("edge",))), 3)
HOP = Hop("mobile", "edge", LinkSpec.model_validate({"rate": "8 Mbit/s"}))


def _generate(split: Split) -> Sequence[Sample]:
    return [Sample({"x": np.full((1, size), number, np.float32)}, number) for number, size in enumerate((1, 4, 2, 3))]


@pytest.fixture
def validation(tmp_path: Any) -> Samples:
    return stored(Store(tmp_path), SampleSource("numbers", _generate, ()), "validation")


@dataclass
class Tier:
    """A deployment that answers the number it is sent, through a link of a rate of its own."""

    rate_bps: float = 8e6
    scores: Callable[[int], list[float]] = lambda number: [0.9, 0.1]
    fail_at: int | None = None
    sent: list[int] = field(default_factory=list)
    states_left: int = 2
    probes: int = 0
    slow_probes: int = 0
    hops: tuple[Hop, ...] = (HOP,)
    missing: Mapping[str, str] = field(default_factory=dict)
    more_spans: tuple[Span, ...] = ()

    @contextmanager
    def client(self) -> Iterator[Any]:
        yield self

    def infer(self, model: str, inputs: Mapping[str, Any]) -> Answer:
        if self.fail_at is not None and len(self.sent) == self.fail_at:
            raise RequestError("no answer")
        number = int(inputs["x"][0, 0])
        self.sent.append(number)
        outputs = {"labels": np.array([[number, number + 1]]), "scores": np.array([self.scores(number)])}
        spans = (Span("compute", "edge[1]", 0.001), *self.more_spans, Span("serialize", "mobile", 0.0005))
        return Answer(outputs, 0.004, (*spans, Span("transmit", "mobile-edge[1]", 0.0025)), "edge[1]", self.missing)

    def probe(self, hop: Hop) -> Any:
        return Link(self)

    def states(self) -> tuple[TierState, ...]:
        self.states_left -= 1
        if self.states_left < 0:
            raise TierError("tier edge was killed by signal 9")
        return (TierState("edge", {"load_s": {"toy": 0.5}}, ("memory",)),)

    def diagnose(self) -> str | None:
        return None


class Link:
    """The far end of a link, as the probe sees it: time passes as the rate says."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def upload(self, path: str, size_bytes: int) -> float:
        self._tier.probes += 1
        rate = self._tier.rate_bps
        if self._tier.slow_probes and size_bytes > SMALL_BYTES:
            self._tier.slow_probes -= 1
            rate /= 2
        return 0.0003 + size_bytes * 8 / rate

    def download(self, path: str) -> float:
        return self.upload("", int(path.rpartition("=")[2]))


def _profile(**values: Any) -> Profile:
    return Profile.model_validate({"replicates": 1, "warmup": 3, "inputs": 2, "passes": 2, **values})


def _stopwatch(factor: float = 1.0) -> Any:
    def run(send: Any, arguments: Any, rounds: int, warmup_rounds: int) -> Sequence[float]:
        timed = []
        for number in range(warmup_rounds + rounds):
            positional, named = arguments()
            answer = send(*positional, **named)
            if number >= warmup_rounds:
                timed.append(answer.latency_s * factor + 1e-6)
        return timed

    return run


def _run(tier: Any, validation: Samples, stopwatch: Any = None, **profile: Any) -> TrialRecord:
    numbers = np.arange(4)
    evaluation = Evaluation(
        np.stack([numbers, numbers + 1], axis=1), np.tile([0.9, 0.1], (4, 1)), numbers, {"top1": 100.0}
    )
    assignment = Assignment(CELL, "toy", _profile(**profile), Tolerances(), validation, evaluation)
    return run_trial(tier, assignment, stopwatch or _stopwatch(), time.perf_counter())


def test_the_largest_samples_are_sent_in_passes_after_the_warm_up(validation: Samples) -> None:
    tier = Tier()
    record = _run(tier, validation)
    assert tier.sent == [1, 3, 1, 1, 3, 1, 3]  # three to warm up, then two passes
    assert [one.input for one in record.measurements] == [1, 3, 1, 3]
    assert [one.run for one in record.measurements] == [0, 1, 2, 3]


def test_the_spans_add_up_to_the_latency(validation: Samples) -> None:
    record = _run(Tier(), validation)
    for one in record.measurements:
        assert one.latency_s == pytest.approx(0.004001)
        assert sum(one.spans_s.values()) == pytest.approx(one.latency_s)
        assert list(one.spans_s) == ["compute", "serialize", "transmit mobile-edge"]


def test_a_record_says_which_node_was_slowest(validation: Samples) -> None:
    record = _run(Tier(), validation)
    assert [one.slowest for one in record.measurements] == ["edge[1]"] * 4


def test_a_node_that_is_missing_makes_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match=r"node edge\[0\] is missing from an answer: it was killed"):
        _run(Tier(missing={"edge[0]": "it was killed"}), validation)


def test_a_wait_that_the_stretch_does_not_hide_makes_the_trial_invalid(validation: Samples) -> None:
    waits = (Span("wait", "edge[1]", 0.0012),)
    with pytest.raises(TrialInvalid, match=r"node edge\[1\] waited 1\.2 ms longer for its turn"):
        _run(Tier(more_spans=waits), validation)


def test_links_are_probed_before_and_after_in_both_directions(validation: Samples) -> None:
    record = _run(Tier(), validation)
    assert [probe.direction for probe in record.probes] == ["up", "down", "up", "down"]
    assert all(probe.rate_bps == pytest.approx(8e6) for probe in record.probes)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_link_of_another_rate_makes_the_trial_invalid(validation: Samples, factor: float) -> None:
    tier = Tier(rate_bps=8e6 * factor)
    with pytest.raises(TrialInvalid, match=rf"link mobile-edge up lets {8 * factor:.3g} Mbit/s through \(") as raised:
        _run(tier, validation)
    assert raised.value.cause == "host"
    assert tier.sent == []


def test_a_busy_moment_does_not_make_a_trial_invalid(validation: Samples) -> None:
    record = _run(Tier(slow_probes=2), validation)
    assert record.status == "valid"
    assert record.probes[0].tries == 3


def test_a_tier_that_is_gone_afterwards_makes_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match="tier edge was killed by signal 9") as raised:
        _run(Tier(states_left=1), validation)
    assert raised.value.cause == "product"


def test_a_request_without_an_answer_makes_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match="no answer"):
        _run(Tier(fail_at=5), validation)


def test_a_prediction_that_differs_from_the_local_one_makes_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match=r"parity: sample 1 gets label 1 with score 0\.8000"):
        _run(Tier(scores=lambda number: [0.8, 0.2]), validation)


def test_nan_scores_make_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match="parity"):
        _run(Tier(scores=lambda number: [float("nan"), 0.1]), validation)


def test_more_inputs_than_samples_make_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match="sends 5 inputs, but there are 4 samples"):
        _run(Tier(), validation, inputs=5)


def test_a_timer_that_does_not_measure_wall_time_is_found_out(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match="leave --benchmark-timer at its default"):
        _run(Tier(), validation, _stopwatch(factor=0.1))


def test_a_host_that_stops_this_process_between_the_two_clocks_is_no_wrong_clock(validation: Samples) -> None:
    inner = _stopwatch()

    def interrupted(*arguments: Any) -> Sequence[float]:
        return [inner_s + 0.05 * (number > 0) for number, inner_s in enumerate(inner(*arguments))]

    assert _run(Tier(), validation, interrupted).status == "valid"


def test_requests_that_were_not_timed_make_the_trial_invalid(validation: Samples) -> None:
    with pytest.raises(TrialInvalid, match="0 of 4 requests were timed"):
        _run(Tier(), validation, lambda send, arguments, rounds, warmup_rounds: [])


def test_a_record_tells_what_was_not_proven_and_how_long_loading_took(validation: Samples) -> None:
    record = _run(Tier(), validation)
    assert record.unproven == ("edge: memory",)
    assert record.load_s == {"edge": 0.5}
    document = record.as_json()
    assert document["id"] == "toy-identity-edge-r3"
    assert document["spans_s"]["compute"] == [0.001] * 4
    assert len(document["latency_s"]) == 4
