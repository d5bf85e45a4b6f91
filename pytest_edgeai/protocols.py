"""What measuring needs to know of the settings, so that it does not depend on how settings are read."""

from __future__ import annotations

from typing import Protocol


class Profile(Protocol):
    """How much is measured in a trial."""

    @property
    def inputs(self) -> int:
        """Examples that are sent, the largest ones."""
        ...

    @property
    def warmup(self) -> int:
        """Requests before those that count."""
        ...

    @property
    def requests(self) -> int:
        """Requests that count."""
        ...

    @property
    def probe_s(self) -> float:
        """How long each link is probed before and after the requests, in seconds."""
        ...


class Tolerances(Protocol):
    """How far what was measured may be from what was declared."""

    @property
    def link_share(self) -> float:
        """Largest error of links, as a share of the latency."""
        ...

    @property
    def link_floor_s(self) -> float:
        """Error of links that is tolerated whatever its share."""
        ...

    @property
    def score(self) -> float:
        """Largest difference of a score between a tier and the local evaluation."""
        ...

    @property
    def output(self) -> float:
        """Largest difference of a graph's output between the two, as a share of its largest value."""
        ...

    @property
    def cpu_wait(self) -> float:
        """Share of its computation that a request may wait for a core."""
        ...

    @property
    def waiting_requests(self) -> float:
        """Share of a trial's requests that may wait longer than that."""
        ...

    @property
    def foreign_cores(self) -> float:
        """Cores that other processes may use."""
        ...

    @property
    def slow_host(self) -> float:
        """By how much slower than usual a host may compute, as a share."""
        ...
