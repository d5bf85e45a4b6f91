"""What the kernel has to be told to shape a link: `tc` commands as values. Running them is the backend's business.

A link is shaped where bytes leave, at both of its ends. The rate of a link is that of payload; packets also carry
headers, so the kernel's rate is higher by their share.
"""

from __future__ import annotations

from pytest_edgeai.tiers.specs import LinkSpec

PACKET_BYTES = 1514
PAYLOAD_BYTES = 1448
_LEAST_SLACK_BYTES = 86
SLACK_S = 60e-6
"""What a bucket holds beyond a packet, in seconds of the rate: the kernel's timers are late by about as much."""

_QUEUE = "60s"  # a shorter queue drops packets of a large body, and TCP slows down


def is_impaired(link: LinkSpec) -> bool:
    """Whether a link has more than a rate, which takes the kernel's netem."""
    return bool(link.delay_s or link.jitter_s or link.loss)


def shaping_commands(interface: str, link: LinkSpec, burst_bytes: int | None = None) -> list[list[str]]:
    """The commands that shape what leaves an interface.

    Parameters
    ----------
    interface
        The link's end.
    link
        Its properties.
    burst_bytes
        The bucket's depth, or None for a packet and a little, without which the link would be too slow.

    Returns
    -------
    list of list of str
        Each a command with its arguments. A token bucket, and behind it netem where there is delay, jitter or loss.
    """
    rate_bps = round(link.rate_bps * PACKET_BYTES / PAYLOAD_BYTES)
    burst = burst_bytes or PACKET_BYTES + _LEAST_SLACK_BYTES + round(rate_bps / 8 * SLACK_S)
    base = ["tc", "qdisc", "add", "dev", interface]
    commands = [
        [*base, "root", "handle", "1:", "tbf", "rate", f"{rate_bps}bit", "burst", f"{burst}b", "latency", _QUEUE]
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
