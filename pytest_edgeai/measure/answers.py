"""What the answer to a request says: where its time went, what it waited for, and whether its prediction is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.contention import Wait
from pytest_edgeai.measure.link_errors import Crossing
from pytest_edgeai.measure.records import TrialInvalid
from pytest_edgeai.protocols import Tolerances
from pytest_edgeai.subjects.predictions import LABELS, SCORES, as_text
from pytest_edgeai.tiers.specs import tier_of
from pytest_edgeai.wire.client import Answer
from pytest_edgeai.wire.timing import Span

Number = TypeVar("Number", int, float)

_NODE: Final = re.compile(r"\[[0-9]+\]")


def crossings_of(answer: Answer) -> list[Crossing]:
    """The hops of a request whose lengths are told."""
    return [
        Crossing(span.place, span.duration_s, span.sent_bytes, span.received_bytes)
        for span in answer.spans
        if span.sent_bytes is not None and span.received_bytes is not None
    ]


def spans_of(answer: Answer, latency_s: float) -> dict[str, float]:
    """Seconds by span; what the benchmark's timer saw more than the client is transmission, too."""
    spans: dict[str, float] = {}
    for span in answer.spans:
        name = _column(span)
        spans[name] = spans.get(name, 0.0) + span.duration_s
    spans[_column(answer.spans[-1])] += latency_s - answer.latency_s
    return spans


def computed_of(answer: Answer) -> dict[str, float]:
    """Seconds of `compute` by tier."""
    computed_s: dict[str, float] = {}
    for span in answer.spans:
        if span.name == "compute":
            tier = tier_of(span.place)
            computed_s[tier] = computed_s.get(tier, 0.0) + span.duration_s
    return computed_s


def crossed_of(answer: Answer) -> dict[str, tuple[int, int]]:
    """Lengths of the request and of the answer by hop; the same whichever node a hop leads to."""
    return {_NODE.sub("", one.hop): (one.sent_bytes, one.received_bytes) for one in crossings_of(answer) if one.hop}


def cpu_of(answer: Answer) -> float | None:
    """CPU time of all that was computed, where every tier that did tells it."""
    return _sum_of_all([span.cpu_s for span in answer.spans if span.name == "compute"])


def instructions_of(answer: Answer) -> int | None:
    """Instructions of all that was computed, where every tier that did counts them."""
    return _sum_of_all([span.instructions for span in answer.spans if span.name == "compute"])


def _sum_of_all(told: Sequence[Number | None]) -> Number | None:
    known = [one for one in told if one is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(told) else None


def wait_of(answer: Answer, latency_s: float) -> Wait | None:
    """What a request waited for cores; None where no tier tells it."""
    known = [(span, span.waited_s) for span in answer.spans if span.waited_s is not None]
    if not known:
        return None
    stretch_s = {span.place: span.duration_s for span in answer.spans if span.name == "stretch"}
    effects_s = [
        waited_s * (1 + stretch_s.get(span.place, 0.0) / span.duration_s) if span.name == "compute" else waited_s
        for span, waited_s in known
        if span.duration_s > 0
    ]
    computed_s, waited_s = sum(span.duration_s for span, _ in known), sum(one for _, one in known)
    return Wait(latency_s, computed_s, waited_s, sum(effects_s))


def _column(span: Span) -> str:
    """The name of a span in a record, which is the same whichever node it is of."""
    return f"transmit {_NODE.sub('', span.place)}".rstrip() if span.name == "transmit" else span.name


def check_nodes(answer: Answer) -> None:
    """Every node has answered, and computed when it was to."""
    for node, reason in answer.missing.items():
        raise TrialInvalid(f"node {node} is missing from an answer: {reason}")
    for span in answer.spans:
        if span.name == "wait":
            raise TrialInvalid(
                f"node {span.place} waited {span.duration_s * 1e3:.3g} ms longer for its turn on a core that nodes "
                "share than the stretch of its compute allows: raise the compute_scale of every tier alike "
                "(topology.tiers.*.compute_scale), or measure on a host with more cores"
            )


def check_parity(answer: Answer, number: int, local: Evaluation, tolerances: Tolerances) -> None:
    """Parity: a prediction through the tiers equals the local one."""
    if local.predictions.has_classes:
        _check_labels(answer, number, local, tolerances.score)
        return
    for name, rows in local.predictions.outputs.items():
        if name not in answer.outputs:
            raise TrialInvalid(f"the answer has no output {name!r}: the tier serves another model")
        _check_output(as_text(np.asarray(answer.outputs[name])), np.asarray(rows[number]), name, number, tolerances)


def _check_output(got: Array, expected: Array, name: str, number: int, tolerances: Tolerances) -> None:
    """One output of the graph: floats within a share of the largest, everything else equal."""
    if got.shape == (1, *expected.shape):
        got = got[0]
    where = f"parity: output {name!r} of sample {number}"
    if got.shape != expected.shape or got.dtype.kind != expected.dtype.kind:
        raise TrialInvalid(
            f"{where} is {got.dtype} {list(got.shape)} through the tiers, but {expected.dtype} {list(expected.shape)} "
            "locally"
        )
    if expected.dtype.kind != "f":
        if not np.array_equal(got, expected):
            raise TrialInvalid(f"{where} differs through the tiers from what it is locally")
        return
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    difference = float(np.abs(got.astype(np.float64) - expected).max(initial=0.0)) / size
    if not difference <= tolerances.output:
        raise TrialInvalid(
            f"{where} differs through the tiers by {difference:.2g} of its size "
            f"(tolerances.output {tolerances.output:g})"
        )


def _check_labels(answer: Answer, number: int, local: Evaluation, tolerance: float) -> None:
    try:
        labels, scores = answer.outputs[LABELS][0], answer.outputs[SCORES][0]
    except (KeyError, IndexError):
        raise TrialInvalid("the answer has no labels and scores: the tier serves another model") from None
    outputs = local.predictions.outputs
    expected, expected_scores = outputs[LABELS][number], outputs[SCORES][number]
    differ = np.abs(scores - expected_scores).max() if scores.shape == expected_scores.shape else np.inf
    # Two classes with equal scores may change places.
    tie = len(expected_scores) > 1 and expected_scores[0] - expected_scores[1] <= tolerance
    if not differ <= tolerance or (labels[0] != expected[0] and not tie):
        raise TrialInvalid(
            f"parity: sample {number} gets label {labels[0]} with score {scores[0]:.4f} through the tiers, but "
            f"{expected[0]} with {expected_scores[0]:.4f} locally"
        )
