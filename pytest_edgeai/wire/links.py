"""A link as its receiving end keeps it: until when a message has to be held so that it has the link's rate and delay.

The sender says when it sent a message, the receiver takes it as fast as the system gives it and holds it until the link
would have delivered its last bit. Both read the clock of one machine. What a slow host adds on the way (waking up,
copying) disappears in the time of the link where there is enough of it; what is left is known exactly, as the
lateness of the message, and the next message of the same request makes up for it where its own link has time to spare.

Stamps cross the connection before each message and belong to no link: they are not counted as bytes of it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self, overload

if TYPE_CHECKING:
    from pytest_edgeai.arrays import Array

STAMP_BYTES = 8
"""Of a stamp: when the message was sent, in nanoseconds of `time.perf_counter_ns`, least byte first."""

LATE_HEADER = "Edgeai-Late"
"""On answers that cross no link themselves: by how many seconds the links behind them made the answer late."""

PACKET_BYTES = 1448
_RETRANSMISSION_TIMEOUT_S = 0.2  # Linux waits at least this long where no later packet tells of the loss
_PACKETS_THAT_TELL = 3  # duplicate acknowledgements until a packet is sent again at once (RFC 5681)
_LONGEST_ON_THE_WAY_S = 600.0


@dataclass(frozen=True, slots=True)
class LinkShape:
    """What a link does to messages, alike in both directions.

    Parameters
    ----------
    rate_bps
        Bits of payload a second.
    delay_s
        One-way delay in seconds.
    jitter_s
        Standard deviation of the delay in seconds; a message is never early by more than the delay.
    loss
        Share of packets that are lost and sent again, 0 to below 1.
    """

    rate_bps: float
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.rate_bps < math.inf:
            raise ValueError(f"rate_bps is a number above 0, not {self.rate_bps}")
        for name in ("delay_s", "jitter_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is a number from 0, not {getattr(self, name)}")
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss is a number from 0 to below 1, not {self.loss}")

    @overload
    def ideal_s(self, size_bytes: float) -> float: ...

    @overload
    def ideal_s(self, size_bytes: float | Array) -> float | Array: ...

    def ideal_s(self, size_bytes: float | Array) -> float | Array:
        """Seconds from the first bit sent to the last bit received, without jitter and loss.

        Examples
        --------
        >>> LinkShape(rate_bps=1e6, delay_s=0.5).ideal_s(62_500)
        1.0
        """
        return size_bytes * 8 / self.rate_bps + self.delay_s

    def as_argument(self) -> str:
        """As a command line has it.

        Examples
        --------
        >>> LinkShape(rate_bps=1e6).as_argument()
        'rate_bps=1000000.0,delay_s=0.0,jitter_s=0.0,loss=0.0'
        """
        return ",".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `as_argument` wrote.

        Raises
        ------
        ValueError
            A name is unknown or missing, or a value is not a number in its range.
        """
        values: dict[str, float] = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            if name not in {field.name for field in fields(cls)} or name in values:
                raise ValueError(f"{part!r} is not one of {', '.join(field.name for field in fields(cls))}")
            values[name] = float(value)
        if "rate_bps" not in values:
            raise ValueError("rate_bps is missing")
        return cls(**values)


class LinkDirection:
    """One direction of a link, shared by all connections that cross it.

    Messages leave one after the other: one that is sent while another is leaving waits for it.

    Parameters
    ----------
    shape
        The link.
    seed
        Of jitter and loss; None draws one.
    """

    def __init__(self, shape: LinkShape, seed: int | None = None) -> None:
        self.shape = shape
        self._free_at = -math.inf
        self._lock = threading.Lock()
        self._random = random.Random(seed)

    def arrives_at(self, sent_at: float, size_bytes: int) -> float:
        """When the last bit of a message arrives.

        Parameters
        ----------
        sent_at
            When its first bit could leave: a time of `time.perf_counter`.
        size_bytes
            Its length.
        """
        shape = self.shape
        with self._lock:
            self._free_at = max(sent_at, self._free_at) + size_bytes * 8 / shape.rate_bps
            return self._free_at + shape.delay_s + self._impairment_s(size_bytes)

    def _impairment_s(self, size_bytes: int) -> float:
        """What jitter and lost packets add to the delay of a message.

        A lost packet is sent again after a round trip where later packets of the message tell of the loss, else after
        a timeout; it may be lost again.
        """
        shape, added_s = self.shape, 0.0
        if shape.jitter_s:
            added_s += max(-shape.delay_s, self._random.gauss(0.0, shape.jitter_s))
        if shape.loss:
            packets = max(1, math.ceil(size_bytes / PACKET_BYTES))
            for number in range(packets):
                told = packets - number > _PACKETS_THAT_TELL
                while self._random.random() < shape.loss:
                    added_s += 2 * shape.delay_s if told else max(2 * shape.delay_s, _RETRANSMISSION_TIMEOUT_S)
                    told = False  # of what is sent a second time, only the timeout tells
        return added_s


def stamp(late_s: float) -> bytes:
    """The stamp of a message that is sent now, by a sender that is already late by so many seconds."""
    return (time.perf_counter_ns() - round(late_s * 1e9)).to_bytes(STAMP_BYTES, "little", signed=True)


def read_stamp(raw: bytes | memoryview, now: float) -> float:
    """When a message was sent, as `time.perf_counter` has it.

    Raises
    ------
    ValueError
        The sender's clock is another one: the message comes from the future or took minutes.
    """
    sent_at = int.from_bytes(raw, "little", signed=True) / 1e9
    on_the_way_s = now - sent_at
    if not 0 <= on_the_way_s <= _LONGEST_ON_THE_WAY_S:
        raise ValueError(
            f"the stamp of a message says that it was on the way for {on_the_way_s:.3g} s: the two ends of a link that "
            "is held have to be on one machine, and the sender has to know of the link"
        )
    return sent_at
