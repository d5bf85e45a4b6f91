"""A trial is valid with all its numbers, or invalid with a reason and none."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.records import TrialInvalid, TrialRecord
from pytest_edgeai.measure.trial import Assignment, run_trial
from pytest_edgeai.settings_tables import Profile, Tolerances
from pytest_edgeai.store import Store
from pytest_edgeai.subjects import Example, ExampleSource, Split
from pytest_edgeai.subjects.examples import Examples, stored
from pytest_edgeai.subjects.predictions import Predictions
from pytest_edgeai.tiers.backend import TierError, TierState
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.specs import Hop, LinkSpec
from pytest_edgeai.wire.client import Answer, RequestError, Transfer
from pytest_edgeai.wire.timing import Span

CELL = PlannedTrial(Strategy("toy", "identity", Placement(("edge",))), 3)
GRAPHS = ({"model.onnx": "11" * 32}, {"model.onnx": "22" * 32, "model.onnx.data": "33" * 32})
HOP = Hop("mobile", "edge", LinkSpec.model_validate({"rate": "8 Mbit/s"}))


def _generate(split: Split) -> Sequence[Example]:
    return [Example({"x": np.full((1, size), number, np.float32)}, number) for number, size in enumerate((1, 4, 2, 3))]


@pytest.fixture
def validation(tmp_path: Any) -> Examples:
    return stored(Store(tmp_path), ExampleSource("numbers", _generate, ()), "validation")


@dataclass
class Tier:
    """A deployment that answers the number it is sent, through a link of a rate of its own."""

    rate_bps: float = 8e6
    request_bytes: int = 1000
    answer_bytes: int = 500
    late_s: float = 0.0
    scores: Callable[[int], list[float]] = lambda number: [0.9, 0.1]
    fail_at: int | None = None
    sent: list[int] = field(default_factory=list)
    states_left: int = 2
    probes: int = 0
    slow_probes: int = 0
    hops: tuple[Hop, ...] = (HOP,)
    cores: frozenset[int] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)
    more_spans: tuple[Span, ...] = ()
    reference_s: float = 0.001
    slows_down: float = 1.0
    loaded: Mapping[str, str] | None = field(default_factory=lambda: GRAPHS[1])

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
        transmit_s = (self.request_bytes + self.answer_bytes) * 8 / self.rate_bps + self.late_s
        transmit = Span(
            "transmit",
            "mobile-edge",
            transmit_s,
            sent_bytes=self.request_bytes,
            received_bytes=self.answer_bytes,
        )
        more_s = sum(span.duration_s for span in self.more_spans)
        latency_s = 0.0015 + more_s + transmit_s
        return Answer(outputs, latency_s, (*spans, transmit), "edge[1]", self.missing, self.late_s)

    def probe(self, hop: Hop) -> ProbeConnections:
        return ProbeConnections(Link(self, self.rate_bps), Link(self, math.inf))

    def states(self) -> tuple[TierState, ...]:
        self.states_left -= 1
        if self.states_left < 0:
            raise TierError("tier edge was killed by signal 9")
        limits = {"load_s": {"toy": 0.5}} | ({} if self.loaded is None else {"digests": {"toy": self.loaded}})
        return (TierState("edge", limits, ("memory",)),)

    def reference(self) -> Mapping[str, Mapping[str, Any]]:
        runs = {"wall_s": self.reference_s * 1.1, "cpu_s": self.reference_s}
        self.reference_s *= self.slows_down
        return {"edge": {"runs": 1, "fastest": runs, "median": runs}}

    def diagnose(self) -> str | None:
        return None


class Link:
    """The far end of a link, as the probe sees it: time passes as the rate says."""

    def __init__(self, tier: Tier, rate_bps: float) -> None:
        self._tier = tier
        self._rate_bps = rate_bps

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def upload(self, path: str, size_bytes: int) -> Transfer:
        return Transfer(self._took_s(size_bytes), size_bytes, 100)

    def download(self, path: str) -> Transfer:
        size_bytes = int(path.rpartition("=")[2])
        return Transfer(self._took_s(size_bytes), 100, size_bytes)

    def _took_s(self, size_bytes: int) -> float:
        self._tier.probes += 1
        rate_bps = self._rate_bps
        if self._tier.slow_probes and size_bytes > 1000:
            self._tier.slow_probes -= 1
            rate_bps /= 2
        return 0.0003 + (size_bytes + 100) * 8 / rate_bps


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


# How busy the host is that tests run on is not what is tested.
ANY_HOST = Tolerances(foreign_cores=1000)


def _run(
    tier: Any,
    validation: Examples,
    stopwatch: Any = None,
    references: Mapping[str, Sequence[float]] | None = None,
    **profile: Any,
) -> TrialRecord:
    numbers = np.arange(4)
    labels, scores = np.stack([numbers, numbers + 1], axis=1), np.tile([0.9, 0.1], (4, 1))
    evaluation = Evaluation(Predictions({"labels": labels, "scores": scores}, has_classes=True), {})
    known = references or {}
    assignment = Assignment(CELL, "toy", _profile(**profile), ANY_HOST, validation, evaluation, GRAPHS, known)
    return run_trial(tier, assignment, stopwatch or _stopwatch(), time.perf_counter())


def test_what_the_project_has_piled_up_is_walked_through_neither_before_requests_nor_between_them(
    validation: Examples,
) -> None:
    walks: list[int] = []
    frozen: list[int] = []

    def note(phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            walks.append(info["generation"])

    @dataclass
    class Watched(Tier):
        def infer(self, model: str, inputs: Mapping[str, Any]) -> Answer:
            frozen.append(gc.get_freeze_count())
            return super().infer(model, inputs)

    gc.disable()  # what comes by itself, and may come at any time, is not what is tested
    gc.callbacks.append(note)
    try:
        _run(Watched(), validation)
    finally:
        gc.callbacks.remove(note)
        gc.enable()
    assert walks == [1]
    assert min(frozen) > 10_000
    assert gc.get_freeze_count() == 0


def test_the_largest_samples_are_sent_in_passes_after_the_warm_up(validation: Examples) -> None:
    tier = Tier()
    record = _run(tier, validation)
    assert tier.sent == [1, 3, 1, 1, 3, 1, 3]  # three to warm up, then two passes
    assert [one.input for one in record.measurements] == [1, 3, 1, 3]
    assert [one.run for one in record.measurements] == [0, 1, 2, 3]


def test_the_spans_add_up_to_the_latency(validation: Examples) -> None:
    record = _run(Tier(), validation)
    for one in record.measurements:
        assert one.latency_s == pytest.approx(0.003001)
        assert sum(one.spans_s.values()) == pytest.approx(one.latency_s)
        assert list(one.spans_s) == ["compute", "serialize", "transmit mobile-edge"]


def test_a_record_says_which_node_was_slowest(validation: Examples) -> None:
    record = _run(Tier(), validation)
    assert [one.slowest for one in record.measurements] == ["edge[1]"] * 4


def test_a_node_that_is_missing_makes_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match=r"node edge\[0\] is missing from an answer: it was killed"):
        _run(Tier(missing={"edge[0]": "it was killed"}), validation)


def test_a_wait_that_the_stretch_does_not_hide_makes_the_trial_invalid(validation: Examples) -> None:
    waits = (Span("wait", "edge[1]", 0.0012),)
    with pytest.raises(TrialInvalid, match=r"node edge\[1\] waited 1\.2 ms longer for its turn"):
        _run(Tier(more_spans=waits), validation)


def test_links_are_probed_in_both_directions(validation: Examples) -> None:
    record = _run(Tier(), validation)
    assert [probe.direction for probe in record.probes] == ["up", "down"]
    assert all(probe.rate_error == pytest.approx(0, abs=1e-9) for probe in record.probes)
    assert record.link_errors is not None
    assert record.link_errors.largest_s == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_link_of_another_rate_makes_the_trial_invalid_where_it_could_have_changed_requests(
    validation: Examples, factor: float
) -> None:
    with pytest.raises(TrialInvalid, match=r"the links made requests .* of their latency") as caught:
        _run(Tier(rate_bps=8e6 * factor, request_bytes=100_000), validation)
    assert caught.value.cause == "host"
    assert f"too {'slow' if factor < 1 else 'fast'} for its 8 Mbit/s" in str(caught.value)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_link_of_another_rate_is_a_remark_where_requests_are_too_short_to_be_changed(
    validation: Examples, factor: float
) -> None:
    computing = (Span("preprocess", "edge[1]", 0.01),)
    record = _run(Tier(rate_bps=8e6 * factor, request_bytes=20, answer_bytes=10, more_spans=computing), validation)
    assert record.status == "valid"
    assert len(record.remarks) == 2
    assert "which is tolerated" in record.remarks[0]


def test_answers_that_are_late_make_the_trial_invalid_though_the_probes_found_nothing(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match=r"the links made requests 1\.7 ms longer"):
        _run(Tier(late_s=0.002), validation)


def test_a_busy_moment_does_not_make_a_trial_invalid(validation: Examples) -> None:
    record = _run(Tier(slow_probes=2), validation)
    assert record.status == "valid"
    assert record.probes[0].tries > 1


def test_a_tier_that_is_gone_afterwards_makes_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="tier edge was killed by signal 9") as raised:
        _run(Tier(states_left=1), validation)
    assert raised.value.cause == "product"


def test_a_request_without_an_answer_makes_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="no answer"):
        _run(Tier(fail_at=5), validation)


def test_a_prediction_that_differs_from_the_local_one_makes_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match=r"parity: sample 1 gets label 1 with score 0\.8000"):
        _run(Tier(scores=lambda number: [0.8, 0.2]), validation)


def test_nan_scores_make_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="parity"):
        _run(Tier(scores=lambda number: [float("nan"), 0.1]), validation)


def test_more_inputs_than_samples_make_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="sends 5 inputs, but there are 4 samples"):
        _run(Tier(), validation, inputs=5)


def test_a_timer_that_does_not_measure_wall_time_is_found_out(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="leave --benchmark-timer at its default"):
        _run(Tier(), validation, _stopwatch(factor=0.1))


def test_a_host_that_stops_this_process_between_the_two_clocks_is_no_wrong_clock(validation: Examples) -> None:
    inner = _stopwatch()

    def interrupted(*arguments: Any) -> Sequence[float]:
        return [inner_s + 0.05 * (number > 0) for number, inner_s in enumerate(inner(*arguments))]

    assert _run(Tier(), validation, interrupted).status == "valid"


def test_requests_that_were_not_timed_make_the_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="0 of 4 requests were timed"):
        _run(Tier(), validation, lambda send, arguments, rounds, warmup_rounds: [])


def test_a_record_tells_what_was_not_proven_and_how_long_loading_took(validation: Examples) -> None:
    record = _run(Tier(), validation)
    assert [str(one) for one in record.unproven] == ["edge: memory"]
    assert record.load_s == {"edge": 0.5}
    document = record.as_json()
    assert document["id"] == "toy-identity-edge-r3"
    assert document["spans_s"]["compute"] == [0.001] * 4
    assert len(document["latency_s"]) == 4


def _waiting(waited_s: float) -> tuple[Span, ...]:
    """Pre-processing of one millisecond more, some of it without a core."""
    return (Span("preprocess", "edge", 0.001, 0.001 - waited_s, waited_s),)


def test_a_record_tells_cpu_time_and_waiting_of_every_request(validation: Examples) -> None:
    record = _run(Tier(more_spans=_waiting(0.0001)), validation)
    assert [one.waited_s for one in record.measurements] == [0.0001] * 4
    assert record.host["marked_requests"] == 0
    document = record.as_json()
    assert document["waited_s"] == [0.0001] * 4
    assert document["cpu_s"] == [None] * 4  # the toy's compute does not tell it


def test_requests_that_waited_for_a_core_make_the_trial_invalid_for_the_hosts_sake(validation: Examples) -> None:
    with pytest.raises(
        TrialInvalid, match=r"the host was busy: compute waited 80 % of its time for a core; load"
    ) as no:
        _run(Tier(more_spans=_waiting(0.0008)), validation)
    assert no.value.cause == "host"
    assert no.value.host["marked_requests"] == 4
    assert no.value.reference["edge"]["cpu_s"] == 0.001


def test_waiting_counts_as_often_as_compute_is_stretched(validation: Examples) -> None:
    waited = Span("compute", "cloud", 0.001, 0.0007, 0.0003)  # 0.3 ms of 4 ms is tolerated, 1.5 ms of 8 ms is not
    assert _run(Tier(more_spans=(waited,)), validation).host["marked_requests"] == 0
    with pytest.raises(TrialInvalid, match="the host was busy"):
        _run(Tier(more_spans=(waited, Span("stretch", "cloud", 0.004))), validation)


def test_a_record_tells_what_the_reference_took_before_and_after(validation: Examples) -> None:
    record = _run(Tier(slows_down=1.2), validation)
    found = record.reference["edge"]
    assert found["cpu_s"] == pytest.approx(0.0011)
    assert found["wall_s"] == pytest.approx(0.00121)
    assert (found["before_cpu_s"], found["after_cpu_s"]) == (0.001, 0.0012)


def test_a_host_that_became_slow_makes_the_trial_invalid_for_the_hosts_sake(validation: Examples) -> None:
    usual = {"edge": [0.001, 0.001, 0.00101, 0.0012]}
    assert _run(Tier(slows_down=1.2), validation, references=usual).status == "valid"
    with pytest.raises(TrialInvalid, match=r"computed 1\.6 times slower than in its other trials") as slow:
        _run(Tier(slows_down=1.6), validation, references=usual)
    assert slow.value.cause == "host"


def test_what_is_wrong_with_an_answer_is_the_products_fault(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match="parity") as wrong:
        _run(Tier(scores=lambda number: [0.8, 0.2]), validation)
    assert wrong.value.cause == "product"


def test_a_tier_that_loaded_other_files_than_the_artifacts_makes_a_trial_invalid(validation: Examples) -> None:
    with pytest.raises(TrialInvalid, match=r"^tier edge has loaded files of toy other than the artifact's \(SHA-256"):
        _run(Tier(loaded={"model.onnx": "11" * 32, "model.onnx.data": "33" * 32}), validation)


def test_a_tier_that_does_not_say_what_it_loaded_has_not_proven_it(validation: Examples) -> None:
    unproven = _run(Tier(loaded=None), validation).unproven
    assert [str(one) for one in unproven] == ["edge: memory", "edge: graph files"]
