"""Where bytes may leave a container to: commands as values. Running them is the backend's business.

A container whose server is not root cannot change its routes, so what these leave it is all that it can reach.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping


def confining_script(ways: Mapping[str, str], *, answers_anybody: bool) -> str:
    """A shell script that leaves a container its own networks and a few addresses beyond them.

    Parameters
    ----------
    ways
        Addresses that it has to reach, and the gateway to each.
    answers_anybody
        Whether the default route stays, without which no answer gets to another machine. The network must not
        masquerade then: what the container sends of its own accord carries an address that nobody answers.

    Examples
    --------
    >>> print(confining_script({"192.0.2.7": "172.18.0.1"}, answers_anybody=False))
    ip route replace 192.0.2.7 via 172.18.0.1
    while ip route delete default 2>/dev/null; do :; done
    """
    lines = [f"ip route replace {address} via {gateway}" for address, gateway in ways.items()]
    if not answers_anybody:
        lines.append("while ip route delete default 2>/dev/null; do :; done")
    return "\n".join(lines)


def is_own_address(address: str) -> bool:
    """Whether an address is one of this host."""
    with contextlib.suppress(OSError), socket.socket() as tried:
        tried.bind((address, 0))
        return True
    return False
