"""The `remote` backend: tiers that run elsewhere and speak the Open Inference Protocol v2 (Triton, KServe, a phone).

Such a tier serves the models already, by the names `model-operator`. Its limits and the way to it are what they are:
nothing is set there, and what cannot be read back is reported as unproven.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import urlsplit

from pytest_edgeai.measure.client import Client, RequestError
from pytest_edgeai.serving.server import LIMITS_PATH
from pytest_edgeai.tiers.backend import Order, Site, TierError, TierState
from pytest_edgeai.tiers.specs import Hop, TierSpec


class RemoteBackend:
    """Tiers at addresses that the settings name.

    Parameters
    ----------
    site
        What it is made for.

    Raises
    ------
    TierError
        A tier has no address, or its token cannot be read.
    """

    name: ClassVar[str] = "remote"

    def __init__(self, site: Site) -> None:
        self._site = site
        for placement in site.placements:
            if len(placement.tiers) != 1:
                raise TierError(f"placement {placement}: the remote backend runs an artifact on one tier")
            self._open(placement.tiers[0], site.topology.tiers[placement.tiers[0]]).close()

    def describe(self) -> str:
        """How tiers are run and limited."""
        return "servers elsewhere; their limits and links are unproven"

    @contextlib.contextmanager
    def deploy(self, order: Order) -> Iterator[_RemoteDeployment]:
        """Make sure that the tier serves the model; nothing is started."""
        tier = order.placement.tiers[0]
        deployment = _RemoteDeployment(self, order, tier)
        try:
            with deployment.client() as client:
                client.get(f"/v2/models/{order.name}")
        except RequestError as error:
            raise TierError(f"tier {tier} does not serve {order.name}: {error}") from None
        yield deployment

    def _open(self, tier: str, spec: TierSpec, order: Order | None = None) -> Client:
        if spec.url is None:
            raise TierError(f"tier {tier} has no address: set topology.tiers.{tier}.url for the remote backend")
        token = None
        if spec.token_file is not None:
            try:
                token = spec.token_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise TierError(
                    f"topology.tiers.{tier}.token_file: {spec.token_file} cannot be read: {error.strerror}"
                ) from None
        url = urlsplit(spec.url)
        route = self._site.topology.route(tier)
        return Client(
            url.hostname or "",
            url.port or 80,
            place=self._site.topology.origin,
            link=route[0].name if route else "",
            token=token,
            wire="binary" if order is None else order.wire,
        )


class _RemoteDeployment:
    """A model on a server elsewhere."""

    hops: tuple[Hop, ...] = ()

    def __init__(self, backend: RemoteBackend, order: Order, tier: str) -> None:
        self._backend = backend
        self._order = order
        self._tier = tier

    def client(self) -> Client:
        """A new connection to the server."""
        spec = self._backend._site.topology.tiers[self._tier]  # noqa: SLF001  # of this module
        return self._backend._open(self._tier, spec, self._order)  # noqa: SLF001

    def probe(self, hop: Hop) -> Client | None:  # noqa: ARG002
        """There is no way to have one link alone."""
        return None

    def states(self) -> tuple[TierState, ...]:
        """The limits, where the server is one of ours and tells them."""
        unproven = ("cores", "memory", "links", "load")
        with self.client() as client, contextlib.suppress(RequestError):
            return (TierState(self._tier, client.get(LIMITS_PATH), ("links",)),)
        return (TierState(self._tier, {}, unproven),)

    def diagnose(self) -> str | None:
        """Nothing is known about a server elsewhere."""
        return None
