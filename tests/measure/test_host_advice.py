"""What `edgeai doctor` says of a host that was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_edgeai.measure.contention import ForeignUse
from pytest_edgeai.measure.findings import Finding
from pytest_edgeai.measure.host_advice import advise
from pytest_edgeai.measure.host_checks import LINKS, HeldLink, HostChecks

QUIET = HostChecks(
    rested_s=0.1e-3,
    awake_s=0.02e-3,
    loopback_s={1_000: 0.02e-3, 2_500_000: 1.2e-3},
    links=tuple(HeldLink(size, rate_bps, 0.0001) for size, rate_bps in LINKS),
    overslept_s=(0.06e-3,) * 100,
    computed_s=(1.0e-3, 1.01e-3, 1.02e-3) * 100,
    side_by_side_s=(1.05e-3, 1.1e-3),
    foreign=ForeignUse(0.02, 2),
    load_average=0.1,
    stolen_share=0.0,
    governor="",
    idle_driver="haltpoll",
)


def finding(checks: HostChecks, what: str) -> Finding:
    return next(one for one in advise(checks) if one.what == what)


def test_a_quiet_host_is_fine() -> None:
    assert {one.level for one in advise(QUIET)} == {"fine"}


@pytest.mark.parametrize(
    ("governor", "driver", "advice"),
    [("powersave", "intel_idle", "cpupower frequency-set"), ("", "haltpoll", "guest_halt_poll_ns"), ("", "", "-D 10")],
)
def test_a_host_that_is_slow_to_wake_up_is_told_what_to_change(governor: str, driver: str, advice: str) -> None:
    slow = finding(replace(QUIET, rested_s=1.5e-3, governor=governor, idle_driver=driver), "waking up")
    assert slow.level == "limited"
    assert "take 1.5 ms after a rest of 50 ms" in slow.sentence
    assert advice in slow.sentence


def test_links_that_are_late_are_named_with_their_rate() -> None:
    links = (*QUIET.links[:-1], HeldLink(600_000, 200e6, 0.0005))
    late = finding(replace(QUIET, links=links), "links")
    assert late.level == "limited"
    assert late.sentence.startswith("1 of 6 are late by more, at 200 Mbit/s")
    assert "600 kB at 200 Mbit/s +0.50 ms of 24" in late.sentence


def test_a_long_message_may_be_late_by_one_percent() -> None:
    links = (HeldLink(1_000_000, 1e6, 0.079),)
    assert finding(replace(QUIET, links=links), "links").level == "fine"


def test_a_host_that_computes_unevenly_or_gets_slower_is_noisy() -> None:
    uneven = replace(QUIET, computed_s=(1.0e-3,) * 80 + (1.5e-3,) * 40)
    drifting = replace(QUIET, computed_s=(1.0e-3,) * 50 + (1.15e-3,) * 50)
    assert "the host is noisy" in finding(uneven, "computing").sentence
    assert "+15 %" in finding(drifting, "computing").sentence
    assert {finding(one, "computing").level for one in (uneven, drifting)} == {"limited"}


def test_cores_that_slow_each_other_down_are_not_all_to_be_used() -> None:
    shared = finding(replace(QUIET, side_by_side_s=(1.6e-3, 1.7e-3)), "side by side")
    assert shared.level == "limited"
    assert "fewer cores" in shared.sentence


def test_others_on_the_host_are_named() -> None:
    busy = finding(replace(QUIET, foreign=ForeignUse(1.9, 2, 4711, "stress-ng", 1.8), stolen_share=0.05), "others")
    assert busy.level == "limited"
    assert "process group 4711 (stress-ng) 1.8 of them" in busy.sentence
    assert "the hypervisor gives 5 % to others" in busy.sentence
