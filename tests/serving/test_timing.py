"""Spans as `Server-Timing` entries."""

from __future__ import annotations

import doctest
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.serving import timing
from pytest_edgeai.serving.timing import Span, SpanName, format_spans, parse_spans

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
        'compute;dur=1.2.3;desc="x"',
        "compute;dur=1",
        'compute;dur=;desc="x"',
        'compute;dur=1e5;desc="x"',
        'compute;dur=\u0663;desc="x"',
        'COMPUTE;dur=1;desc="x"',
    ],
)
def test_entries_of_others_are_left_out(header: str | None) -> None:
    assert parse_spans(header) == []


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
