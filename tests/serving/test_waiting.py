from __future__ import annotations

import time

import pytest

from pytest_edgeai.wire.waiting import wait_until


@pytest.mark.parametrize("polled_s", [0.0, 1.5e-3])
def test_a_wait_never_ends_before_its_moment(polled_s: float) -> None:
    for _ in range(20):
        moment = time.perf_counter() + 2e-3
        late_s = wait_until(moment, polled_s)
        assert time.perf_counter() >= moment
        assert late_s >= 0


def test_a_moment_that_has_passed_is_not_waited_for_and_its_lateness_is_told() -> None:
    assert wait_until(time.perf_counter() - 5.0) >= 5.0
