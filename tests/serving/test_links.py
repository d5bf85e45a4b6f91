"""Links that are held at their receiving end: when a message arrives, and what of a delay the link makes up for."""

from __future__ import annotations

import contextlib
import doctest
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.serving.endpoints import PROBE_PATH
from pytest_edgeai.serving.server import TierServer
from pytest_edgeai.serving.settings import ServerSettings
from pytest_edgeai.wire import links
from pytest_edgeai.wire.connection import Connection
from pytest_edgeai.wire.heads import MessageError
from pytest_edgeai.wire.links import LinkDirection, LinkShape, read_stamp, stamp

from . import tiers

RATES_BPS = st.floats(1e3, 1e10)
SHAPES = st.builds(LinkShape, RATES_BPS, st.floats(0, 1), st.floats(0, 0.1), st.floats(0, 0.5))
SLOW = LinkShape(rate_bps=1e6)
FAST = LinkShape(rate_bps=2e8)


def test_the_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(links).failed == 0


@given(SHAPES)
def test_a_shape_crosses_a_command_line_as_it_is(shape: LinkShape) -> None:
    assert LinkShape.parse(shape.as_argument()) == shape


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is not one of"),
        ("delay_s=1", "rate_bps is missing"),
        ("rate_bps=0", "above 0"),
        ("rate_bps=inf", "above 0"),
        ("rate_bps=1,rate_bps=2", "is not one of"),
        ("rate_bps=1,delay_s=nan", "from 0"),
        ("rate_bps=1,loss=1", "below 1"),
        ("rate_bps=fast", "could not convert"),
    ],
)
def test_what_is_no_shape_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        LinkShape.parse(text)


@given(RATES_BPS, st.lists(st.tuples(st.floats(0, 10), st.integers(1, 10**7)), min_size=1, max_size=20))
def test_messages_leave_one_after_the_other_at_the_rate(rate_bps: float, messages: list[tuple[float, int]]) -> None:
    direction = LinkDirection(LinkShape(rate_bps, delay_s=0.5))
    now = free_at = 0.0
    for pause_s, size_bytes in messages:
        now += pause_s
        arrives_at = direction.arrives_at(now, size_bytes)
        # A slow reference: the queue of the link, message by message.
        free_at = (free_at if free_at > now else now) + size_bytes * 8 / rate_bps
        assert arrives_at == pytest.approx(free_at + 0.5, rel=1e-9)


@given(st.floats(0, 0.05), st.floats(0, 0.02), st.integers(1, 10**6), st.integers())
def test_jitter_never_brings_a_message_before_its_bytes_could_be_there(
    delay_s: float, jitter_s: float, size_bytes: int, seed: int
) -> None:
    direction = LinkDirection(LinkShape(1e6, delay_s, jitter_s), seed)
    assert direction.arrives_at(100.0, size_bytes) >= 100.0 + size_bytes * 8 / 1e6 - 1e-9


def test_jitter_has_the_spread_that_is_declared() -> None:
    direction = LinkDirection(LinkShape(1e9, delay_s=1.0, jitter_s=0.01), seed=1)
    delays_s = [direction.arrives_at(float(number * 10), 1) - number * 10 for number in range(2000)]
    mean_s = sum(delays_s) / len(delays_s)
    spread_s = math.sqrt(sum((delay_s - mean_s) ** 2 for delay_s in delays_s) / len(delays_s))
    assert mean_s == pytest.approx(1.0, abs=0.001)
    assert spread_s == pytest.approx(0.01, rel=0.1)


def test_as_many_packets_are_sent_again_as_are_lost() -> None:
    direction = LinkDirection(LinkShape(1e9, loss=0.1), seed=1)
    delayed = sum(direction.arrives_at(float(number * 100), 100) - number * 100 > 0.1 for number in range(2000))
    assert delayed == pytest.approx(200, abs=60)


def test_a_stamp_says_when_a_message_was_sent() -> None:
    before = time.perf_counter()
    raw = stamp(late_s=0.0)
    after = time.perf_counter()
    assert before - 1e-6 <= read_stamp(raw, after) <= after + 1e-6
    assert read_stamp(stamp(late_s=1.5), time.perf_counter()) <= time.perf_counter() - 1.5


@pytest.mark.parametrize("late_s", [-5.0, 3600.0])
def test_a_stamp_of_another_clock_is_refused(late_s: float) -> None:
    with pytest.raises(ValueError, match="have to be on one machine"):
        read_stamp(stamp(late_s), time.perf_counter())


@contextlib.contextmanager
def over_link(shape: LinkShape, settings: ServerSettings | None = None) -> Iterator[int]:
    """A server behind a link, in a thread; the port for what comes over the link."""
    with TierServer(("127.0.0.1", 0), {}, settings or ServerSettings(), LinkDirection(shape)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(tiers.PATIENCE_S)


def connection_to(port: int, shape: LinkShape | None, *, polls: bool = False) -> contextlib.closing[Connection]:
    link = None if shape is None else LinkDirection(shape)
    return contextlib.closing(Connection("127.0.0.1", port, timeout_s=tiers.PATIENCE_S, link=link, polls=polls))


@pytest.mark.parametrize("polls", [False, True], ids=["sleeping", "polling"])
@pytest.mark.parametrize(("shape", "size"), [(SLOW, 1), (SLOW, 5000), (FAST, 1), (FAST, 500_000)])
def test_no_message_is_faster_than_its_link(shape: LinkShape, size: int, polls: bool) -> None:
    with over_link(shape, ServerSettings(polls=polls)) as port, connection_to(port, shape, polls=polls) as connection:
        for method, target, body in (("POST", PROBE_PATH, [bytes(size)]), ("GET", f"{PROBE_PATH}?bytes={size}", None)):
            for _ in range(5):
                started = time.perf_counter()
                answer = connection.exchange(method, target, {}, body)
                took_s = time.perf_counter() - started
                assert took_s >= shape.ideal_s(answer.sent_bytes) + shape.ideal_s(answer.received_bytes)
                assert answer.late_s >= 0


def test_a_link_with_time_to_spare_makes_up_for_what_was_late_before() -> None:
    late_s, size_bytes = 0.3, 50_000
    times_s = []
    with over_link(SLOW) as port, connection_to(port, SLOW) as connection:
        connection.exchange("POST", PROBE_PATH, {}, [b""])
        for _ in range(5):  # a busy host makes an exchange slow, never fast
            time.sleep(late_s)  # a message leaves after the one before it, however late it says it is
            started = time.perf_counter()
            answer = connection.exchange("POST", PROBE_PATH, {}, [bytes(size_bytes)], late_s)
            times_s.append(time.perf_counter() - started)
            ideal_s = SLOW.ideal_s(answer.sent_bytes) + SLOW.ideal_s(answer.received_bytes)
            assert times_s[-1] >= ideal_s - late_s
    assert min(times_s) < ideal_s  # 0.4 s for the link, of which most was over before it began


def test_what_no_link_makes_up_for_is_told_with_the_answer() -> None:
    with over_link(FAST) as port, connection_to(port, FAST) as connection:
        connection.exchange("POST", PROBE_PATH, {}, [b""])
        time.sleep(0.6)  # a message leaves after the one before it, however late it says it is
        answer = connection.exchange("POST", PROBE_PATH, {}, [b""], late_s=0.5)
    assert answer.late_s > 0.4


def test_a_chain_of_links_adds_up_and_tells_what_was_late(tmp_path: Path) -> None:
    with over_link(SLOW) as far:
        settings = ServerSettings(upstream=("127.0.0.1", far), link="edge-cloud", upstream_link=SLOW)
        with over_link(FAST, settings) as near, connection_to(near, FAST) as connection:
            started = time.perf_counter()
            answer = connection.exchange("GET", "/v2/models/other", {})
            took_s = time.perf_counter() - started
    assert answer.status == 404  # of the far one: it has no models
    assert took_s >= SLOW.ideal_s(100) + SLOW.ideal_s(100)
    assert answer.late_s >= 0


def test_who_does_not_know_of_the_link_is_refused() -> None:
    with over_link(FAST) as port, connection_to(port, None) as connection:
        with pytest.raises(MessageError) as caught:
            connection.exchange("GET", "/v2/health/live", {})
        assert "status line" in str(caught.value) or "header" in str(caught.value) or "HTTP" in str(caught.value)


def test_a_server_process_listens_on_a_second_port_for_what_comes_over_a_link(tmp_path: Path) -> None:
    with (
        tiers.started(tmp_path, "--inbound-link", SLOW.as_argument(), "--poll") as tier,
        connection_to(tier.port, None) as bare,
        connection_to(tier.said["link_port"], SLOW, polls=True) as held,
    ):
        assert bare.exchange("GET", "/v2/health/live", {}).status == 200
        started = time.perf_counter()
        assert held.exchange("POST", PROBE_PATH, {}, [bytes(10_000)]).status == 200
        assert time.perf_counter() - started >= 0.08
