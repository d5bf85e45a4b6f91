"""The commands that shape a link: values only, no engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.tiers.specs import LinkSpec
from pytest_edgeai.tiers.traffic import shaping_commands


def _link(rate_bps: float, **properties: object) -> LinkSpec:
    return LinkSpec.model_validate({"rate": f"{rate_bps} bit/s", **properties})


@given(st.floats(1e3, 1e12))
def test_a_bucket_holds_a_packet_and_a_little_and_its_rate_has_room_for_headers(rate_bps: float) -> None:
    size, command = shaping_commands("eth1", _link(rate_bps))
    assert size[:-1] == ["ip", "link", "set", "dev", "eth1", "mtu"]
    mtu = int(size[-1])
    assert mtu == (300 if rate_bps <= 20e6 else 1500)
    assert command[:8] == ["tc", "qdisc", "add", "dev", "eth1", "root", "handle", "1:"]
    shape = dict(zip(command[9::2], command[10::2], strict=True))
    assert command[8] == "tbf"
    kernel_bps = rate_bps * (mtu + 14) / (mtu - 52)
    assert float(shape["rate"].removesuffix("bit")) == pytest.approx(kernel_bps, abs=1)
    burst_bytes = int(shape["burst"].removesuffix("b"))
    assert burst_bytes > mtu + 14  # a smaller bucket than a packet would let none through
    assert burst_bytes <= max(mtu + 22, kernel_bps / 8 * 500e-6 + 1)
    assert shape["latency"] == "60s"


def test_delay_jitter_and_loss_are_a_command_behind_the_others() -> None:
    *_, command = shaping_commands("eth1", _link(1e6, delay="20 ms", jitter="2 ms", loss=0.01))
    assert " ".join(command) == (
        "tc qdisc add dev eth1 parent 1:1 handle 10: netem delay 20000us 2000us loss 1.000000% limit 100000"
    )
