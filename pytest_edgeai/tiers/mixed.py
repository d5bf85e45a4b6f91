"""Sessions in which some tiers are started and others are remote servers: each placement goes to who can run it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import ClassVar, Self

from pytest_edgeai.tiers.backend import Backend, Deployment, DeploymentSpec, TierError
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.specs import Topology


def split_placements(
    topology: Topology, placements: Sequence[Placement]
) -> tuple[tuple[Placement, ...], tuple[Placement, ...]]:
    """The placements whose tiers are to be started, and those on a remote server.

    Raises
    ------
    TierError
        A placement needs both: a chain with such a server in it, or a way that leads through one.
    """
    started, remote = [], []
    for placement in placements:
        away = [tier for tier in placement.tiers if topology.tiers[tier].url is not None]
        if not away:
            through = [hop.near for hop in topology.way(placement.tiers) if topology.tiers[hop.near].url is not None]
            if through:
                raise TierError(
                    f"placement {placement} is reached through tier {through[0]}, which is a remote server "
                    f"(topology.tiers.{through[0]}.url) and hands nothing on"
                )
            started.append(placement)
        elif len(placement.tiers) == 1:
            remote.append(placement)
        else:
            raise TierError(
                f"placement {placement}: tier {away[0]} is a remote server (topology.tiers.{away[0]}.url), which "
                "can run a whole artifact and no part of one"
            )
    return tuple(started), tuple(remote)


class MixedBackend:
    """Two backends in one session. A context manager, as they may be.

    Parameters
    ----------
    started
        Starts tiers.
    remote
        Reaches servers.
    away
        The placements for the second.
    """

    name: ClassVar[str] = "mixed"

    def __init__(self, started: Backend, remote: Backend, away: Sequence[Placement]) -> None:
        self._started = started
        self._remote = remote
        self._away = frozenset(away)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for backend in (self._started, self._remote):
            if isinstance(backend, AbstractContextManager):
                self._stack.enter_context(backend)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def describe(self) -> str:
        """How tiers are run and limited."""
        names = ", ".join(sorted(str(placement) for placement in self._away))
        return f"{self._started.describe()}; for {names} {self._remote.describe()}"

    def deploy(self, order: DeploymentSpec) -> AbstractContextManager[Deployment]:
        """Start the tiers of a placement, or reach the server."""
        return (self._remote if order.placement in self._away else self._started).deploy(order)
