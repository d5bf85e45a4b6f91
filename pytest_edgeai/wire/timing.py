"""Spans as `Server-Timing` entries, so that they travel back with the answer they belong to.

An entry is `name;dur=milliseconds;desc="place"` (W3C Server Timing). The name is the span's, the place is the tier,
or for `transmit` the two tiers of the hop joined by a hyphen; what a header cannot carry is percent-encoded in it.
Spans that compute go on with `;cpu=milliseconds;waited=milliseconds;instructions=number`, where these are known.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote, unquote

from pytest_edgeai.errors import EdgeAIError

HEADER = "Server-Timing"

SpanName: TypeAlias = Literal[
    "load", "preprocess", "compute", "stretch", "wait", "postprocess", "serialize", "transmit", "exchange", "aggregate"
]
SPAN_NAMES: tuple[SpanName, ...] = get_args(SpanName)

_MILLISECONDS = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_ENTRY = re.compile(
    rf'\s*([a-z]+);dur=([^;,"]*);desc="([^",]*)"(?:;cpu=({_MILLISECONDS}))?(?:;waited=({_MILLISECONDS}))?'
    r"(?:;instructions=([0-9]{1,18}))?(?:;sent=([0-9]{1,15});received=([0-9]{1,15}))?\s*"
)
_RESOLUTION_S = 1e-6
_CLOCK_DRIFT = 500e-6  # by which two machines' clocks may run apart: what the kernel lets time synchronization do
_encode_place = functools.lru_cache(maxsize=64)(quote)
_decode_place = functools.lru_cache(maxsize=64)(unquote)


class SpanError(EdgeAIError, ValueError):
    """Spans that cannot be parts of the exchange in which they were told; one sentence."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a sample: what was done, where, and for how many seconds.

    Parameters
    ----------
    name, place, duration_s
        What, at which tier or over which hop, and how long.
    cpu_s
        CPU time of the threads that computed, or None where it is not known.
    waited_s
        How much of the duration passed while they waited for a core, or None where that is not known.
    sent_bytes, received_bytes
        Of `transmit`, the lengths of the request and of the answer; None where they are not told.
    instructions
        How many the threads that computed retired, or None where the processor's counters cannot be read.
    """

    name: SpanName
    place: str
    duration_s: float
    cpu_s: float | None = None
    waited_s: float | None = None
    sent_bytes: int | None = None
    received_bytes: int | None = None
    instructions: int | None = None


def format_spans(spans: Iterable[Span]) -> str:
    """The value of a Server-Timing header; durations keep whole nanoseconds.

    Examples
    --------
    >>> format_spans([Span("compute", "edge", 0.0025), Span("transmit", "edge-cloud", 0.03)])
    'compute;dur=2.500000;desc="edge", transmit;dur=30.000000;desc="edge-cloud"'
    """
    return ", ".join(
        f'{span.name};dur={span.duration_s * 1e3:.6f};desc="{_encode_place(span.place)}"'
        f"{_parameter('cpu', span.cpu_s)}{_parameter('waited', span.waited_s)}{_instructions(span)}{_bytes(span)}"
        for span in spans
    )


def parse_spans(header: str | None) -> list[Span]:
    """The spans in a Server-Timing header; entries that are not ours are left out (a proxy may add its own).

    A duration that cannot be read is NaN, which `check_spans` refuses.

    Examples
    --------
    >>> (span,) = parse_spans('cache;desc="hit", compute;dur=2.5;desc="edge"')
    >>> span.name, span.place, span.duration_s
    ('compute', 'edge', 0.0025)
    """
    spans = []
    for entry in (header or "").split(","):
        match = _ENTRY.fullmatch(entry)
        if match and match[1] in SPAN_NAMES:
            name: SpanName = match[1]
            cpu_s, waited_s = (None if text is None else float(text) / 1e3 for text in match.group(4, 5))
            instructions, sent, received = (None if text is None else int(text) for text in match.group(6, 7, 8))
            duration_s = _seconds(match[2])
            spans.append(Span(name, _decode_place(match[3]), duration_s, cpu_s, waited_s, sent, received, instructions))
    return spans


def _parameter(name: str, duration_s: float | None) -> str:
    return "" if duration_s is None else f";{name}={max(0.0, duration_s) * 1e3:.6f}"


def _instructions(span: Span) -> str:
    return "" if span.instructions is None else f";instructions={max(0, span.instructions)}"


def _bytes(span: Span) -> str:
    return "" if span.sent_bytes is None else f";sent={span.sent_bytes};received={span.received_bytes}"


def check_spans(spans: Sequence[Span], exchange_s: float) -> None:
    """Whether spans can be what a server did during an exchange.

    Parameters
    ----------
    spans
        As it tells them.
    exchange_s
        How long the exchange took, by the clock of who asked.

    Raises
    ------
    SpanError
        One is negative or not a number, or they are longer than the exchange; names the span.

    Examples
    --------
    >>> check_spans([Span("compute", "edge", 0.02)], exchange_s=0.01)
    Traceback (most recent call last):
      ...
    pytest_edgeai.wire.timing.SpanError: compute of edge is 0.02 s, in an exchange of 0.01 s
    """
    slack_s = _RESOLUTION_S + _CLOCK_DRIFT * exchange_s
    for span in spans:
        what = f"{span.name} of {span.place or 'no place'}"
        if not math.isfinite(span.duration_s):
            raise SpanError(f"{what} is not a number")
        if span.duration_s < -slack_s:
            raise SpanError(f"{what} is negative, {span.duration_s:.6g} s")
        if span.duration_s > exchange_s + slack_s:
            raise SpanError(f"{what} is {span.duration_s:.6g} s, in an exchange of {exchange_s:.6g} s")
    known_s = sum(span.duration_s for span in spans)
    if known_s > exchange_s + slack_s:
        names = ", ".join(f"{span.name} of {span.place or 'no place'}" for span in spans)
        raise SpanError(f"{names} add up to {known_s:.6g} s, in an exchange of {exchange_s:.6g} s")


def _seconds(milliseconds: str) -> float:
    try:
        return float(milliseconds) / 1e3
    except ValueError:
        return math.nan
