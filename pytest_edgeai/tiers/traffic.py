"""What the kernel has to be told to shape a link: commands as values. Running them is the backend's business.

A link is shaped where bytes leave, at both of its ends. The rate of a link is that of payload; packets also carry
headers, so the kernel's rate is higher by their share. A token bucket lets one packet through at once after a rest; on
a slow link that is a whole message, so packets are small there.
"""

from __future__ import annotations

from pytest_edgeai.tiers.specs import LinkSpec

_SMALL_MTU_BYTES, _MTU_BYTES = 300, 1500
_FASTEST_SMALL_BPS = 20e6
"""Up to this rate packets are small; beyond, their number would cost more than they gain."""
_ETHERNET_BYTES = 14
_HEADER_BYTES = 52  # of IP and TCP, with time stamps
_LEAST_SLACK_BYTES = 8
_SLACK_S = 500e-6
"""What a bucket holds where that is more than a packet, in seconds of the rate: on a busy host timers are as late."""

_QUEUE = "60s"  # a shorter queue drops packets of a large body, and TCP slows down


def is_impaired(link: LinkSpec) -> bool:
    """Whether a link has more than a rate, which takes the kernel's netem."""
    return bool(link.delay_s or link.jitter_s or link.loss)


def shaping_commands(interface: str, link: LinkSpec) -> list[list[str]]:
    """The commands that shape what leaves an interface.

    Parameters
    ----------
    interface
        The link's end.
    link
        Its properties.

    Returns
    -------
    list of list of str
        Each a command with its arguments. The size of packets, a token bucket, and behind it netem where there is
        delay, jitter or loss.
    """
    mtu = _SMALL_MTU_BYTES if link.rate_bps <= _FASTEST_SMALL_BPS else _MTU_BYTES
    packet = mtu + _ETHERNET_BYTES
    rate_bps = round(link.rate_bps * packet / (mtu - _HEADER_BYTES))
    burst = max(packet + _LEAST_SLACK_BYTES, round(rate_bps / 8 * _SLACK_S))
    base = ["tc", "qdisc", "add", "dev", interface]
    commands = [
        ["ip", "link", "set", "dev", interface, "mtu", str(mtu)],
        [*base, "root", "handle", "1:", "tbf", "rate", f"{rate_bps}bit", "burst", f"{burst}b", "latency", _QUEUE],
    ]
    impairments = []
    if link.delay_s or link.jitter_s:
        impairments += ["delay", f"{round(link.delay_s * 1e6)}us"]
        if link.jitter_s:
            impairments += [f"{round(link.jitter_s * 1e6)}us"]
    if link.loss:
        impairments += ["loss", f"{link.loss:.6%}"]
    if impairments:
        commands.append([*base, "parent", "1:1", "handle", "10:", "netem", *impairments, "limit", "100000"])
    return commands
