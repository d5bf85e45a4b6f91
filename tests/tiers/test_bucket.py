"""The token bucket's arithmetic: `Direction.accept` against a bucket whose tokens are counted."""

import itertools
import threading
from fractions import Fraction
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.tiers.relay import BURST_S, PACKET_BYTES, Direction, burst_bytes

from . import slow

Arrival: TypeAlias = tuple[float, int]
# Seconds since the last one, and bytes.
arrivals = st.lists(st.tuples(st.integers(0, 300_000).map(lambda us: us / 1e6), st.integers(1, 100_000)), min_size=1)
rates = st.sampled_from([1e3, 1e6, 1e7, 2e8, 1e9]) | st.floats(1e3, 1e9)
depths = st.sampled_from([0.0, BURST_S, 0.2, 1.0])


@given(rate_bps=rates, depth_s=depths, came=arrivals)
def test_bytes_leave_when_a_bucket_of_counted_tokens_lets_them_go(
    rate_bps: float, depth_s: float, came: list[Arrival]
) -> None:
    direction = Direction(rate_bps, burst_s=depth_s)
    bucket = slow.Bucket(Fraction(rate_bps), Fraction(depth_s))

    now = 1000.0
    for pause_s, size in came:
        now += pause_s
        left = direction.accept(size, now)
        assert left == pytest.approx(float(bucket.accept(size, Fraction(now))), abs=1e-6, rel=1e-12)


@given(rate_bps=rates, depth_s=depths, came=arrivals)
def test_no_stretch_of_time_lets_more_through_than_the_rate_and_one_burst(
    rate_bps: float, depth_s: float, came: list[Arrival]
) -> None:
    direction = Direction(rate_bps, burst_s=depth_s)
    now, left, sizes = 1000.0, [], []
    for pause_s, size in came:
        now += pause_s
        left.append(max(now, direction.accept(size, now)))
        sizes.append(size)

    most = burst_bytes(rate_bps, depth_s) * (1 + 1e-6) + 1
    for first, last in itertools.combinations_with_replacement(range(len(came)), 2):
        after_the_first = sum(sizes[first + 1 : last + 1])
        assert after_the_first <= (left[last] - left[first]) * rate_bps / 8 + most


@given(rate_bps=rates, sizes=st.lists(st.integers(1, 100_000), min_size=2))
def test_a_link_that_is_never_idle_sends_at_its_rate(rate_bps: float, sizes: list[int]) -> None:
    direction = Direction(rate_bps)
    first = left = direction.accept(sizes[0], 1000.0)

    for size in sizes[1:]:
        left = direction.accept(size, left)

    assert left - first == pytest.approx(sum(sizes[1:]) * 8 / rate_bps, abs=1e-6)


def test_the_bucket_is_half_a_millisecond_deep_and_the_study_s_one_second() -> None:
    assert burst_bytes(1e6) == 62.5
    assert burst_bytes(2e8) == 12_500
    assert burst_bytes(1e6, 1.0) == 125_000


@pytest.mark.parametrize(("rate_bps", "size"), [(1e3, PACKET_BYTES), (1e6, PACKET_BYTES), (2e8, 25_000), (1e9, 65_536)])
def test_a_piece_is_a_millisecond_of_the_rate_but_no_less_than_a_packet(rate_bps: float, size: int) -> None:
    assert Direction(rate_bps).piece_bytes == size


def test_connections_in_many_threads_share_the_bucket() -> None:
    direction = Direction(1e6)
    left: list[float] = []

    def cross() -> None:
        left.extend(direction.accept(125, 1000.0) for _ in range(200))

    threads = [threading.Thread(target=cross) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(left) == pytest.approx([1000.0 - BURST_S + 0.001 * (n + 1) for n in range(1600)])
