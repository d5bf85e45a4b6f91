"""Spans as `Server-Timing` entries."""

from __future__ import annotations

import doctest
import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.wire import timing
from pytest_edgeai.wire.timing import Span, SpanError, SpanName, check_spans, format_spans, parse_spans

SPANS = st.builds(Span, st.sampled_from(get_args(SpanName)), st.text(), st.floats(-1e6, 1e6))


@given(st.lists(SPANS))
def test_spans_come_back_to_the_nanosecond_whatever_their_place_is_called(spans: list[Span]) -> None:
    header = format_spans(spans)
    assert header.isascii()
    assert header.isprintable()
    parsed = parse_spans(header)
    assert [(span.name, span.place) for span in parsed] == [(span.name, span.place) for span in spans]
    for one, other in zip(parsed, spans, strict=True):
        assert one.duration_s == pytest.approx(other.duration_s, rel=1e-12, abs=0.51e-9)


@given(st.none() | st.text() | st.from_regex(r'[a-z]{0,9}(;dur=[0-9.e-]{0,9})?(;desc="?[^"]{0,5}"?)?(, )?'))
def test_any_header_is_parsed_and_only_our_own_entries_are_spans(header: str | None) -> None:
    assert all(isinstance(span.duration_s, float) for span in parse_spans(header))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "cache",
        'cache;desc="hit, not miss"',
        'db;dur=5;desc="x"',
        "compute;dur=1",
        'COMPUTE;dur=1;desc="x"',
    ],
)
def test_entries_of_others_are_left_out(header: str | None) -> None:
    assert parse_spans(header) == []


EDGE_0_01_S = Span("compute", "edge", 0.01)


@pytest.mark.parametrize(
    "told", ["nan", "inf", "-inf", "1.2.3", "", "soon", "-5000", "-0.1", "1e15", "1000000000000000"]
)
def test_a_span_that_cannot_be_a_part_of_its_exchange_is_refused(told: str) -> None:
    spans = parse_spans(f'serialize;dur=1;desc="edge", compute;dur={told};desc="edge"')
    with pytest.raises(SpanError, match=r"^compute of edge is "):
        check_spans(spans, exchange_s=0.02)


def test_spans_that_are_together_longer_than_their_exchange_are_refused() -> None:
    check_spans([EDGE_0_01_S, EDGE_0_01_S], exchange_s=0.02)
    with pytest.raises(
        SpanError, match=r"^compute of edge, compute of edge add up to 0\.02 s, in an exchange of 0\.019"
    ):
        check_spans([EDGE_0_01_S, EDGE_0_01_S], exchange_s=0.019)


def test_clocks_of_two_machines_may_run_apart_by_as_much_as_clocks_do() -> None:
    check_spans([Span("compute", "edge", 1.0004)], exchange_s=1.0)
    with pytest.raises(SpanError):
        check_spans([Span("compute", "edge", 1.001)], exchange_s=1.0)


def test_a_span_that_is_not_a_number_stays_one_on_its_way_through_other_tiers() -> None:
    (span,) = parse_spans(format_spans(parse_spans('compute;dur=nan;desc="edge"')))
    assert math.isnan(span.duration_s)


def test_entries_of_others_do_not_hide_our_own() -> None:
    header = 'cdn-cache;desc="HIT", compute;dur=2.5;desc="edge" , total;dur=9'
    assert parse_spans(header) == [Span("compute", "edge", 0.0025)]


def test_a_place_cannot_break_out_of_its_header() -> None:
    span = Span("compute", 'x", compute;dur=9;desc="y\r\nSet-Cookie: z', 1.0)
    assert parse_spans(format_spans([span])) == [span]


def test_the_examples_in_the_documentation_hold() -> None:
    results: Any = doctest.testmod(timing)
    assert results.attempted > 0
    assert results.failed == 0
