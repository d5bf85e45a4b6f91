"""The container networks of a session: one for each link, and one by which the client comes in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.backend import Site, TierError
from pytest_edgeai.tiers.engine import first_line
from pytest_edgeai.tiers.engines import Engine, Engines
from pytest_edgeai.tiers.specs import EngineAddress

if TYPE_CHECKING:
    from testcontainers.core.network import Network

ENTRY: Final = "entry"
"""The name of the network by which the client's requests come in; links have the names of their tiers."""


class Networks:
    """Networks on the engines of a session, each made when it is first needed.

    Parameters
    ----------
    site
        The session.
    engines
        Its engines.
    """

    def __init__(self, site: Site, engines: Engines) -> None:
        self._site = site
        self._engines = engines
        self._made: dict[tuple[EngineAddress, str], Network] = {}
        self._making = threading.Lock()

    def forget(self) -> None:
        """Take none of them to be there any more."""
        self._made.clear()

    def of(self, found: Engine, name: str) -> Network:
        """A network of the session on an engine, made when it is first needed."""
        from docker.errors import DockerException
        from requests import RequestException
        from testcontainers.core.network import Network

        with self._making:
            if (found.address, name) not in self._made:
                options = {"labels": engine.labels(self._site.session_id), **self._openness(found, name)}
                network = Network(dict(found.options), docker_network_kw=options)
                network.name = f"edgeai-{self._site.session_id}-{name}"
                try:
                    self._made[found.address, name] = network.create()
                except (DockerException, RequestException) as error:
                    raise TierError(f"network {name} cannot be made: {first_line(error)}") from None
            return self._made[found.address, name]

    def _openness(self, found: Engine, name: str) -> dict[str, Any]:
        """How a network is made, so that it leads nowhere but to where its link does."""
        masquerades = False
        if name != ENTRY:
            near, far = (self._engines.of(tier) for tier in name.split("-"))
            if near.address == far.address:
                return {"internal": True}
            masquerades = found is near
        # An internal network publishes no ports. Without masquerading, answers find their way and questions do not.
        return {"options": {"com.docker.network.bridge.enable_ip_masquerade": str(masquerades).lower()}}

    def gateway(self, found: Engine, name: str) -> str:
        """The address of an engine's machine on a network."""
        from docker.errors import DockerException
        from requests import RequestException

        network = self.of(found, name)
        try:
            configured = found.client.networks.get(network.id or "").attrs["IPAM"]["Config"]
        except (DockerException, RequestException) as error:
            raise TierError(f"network {name} cannot be asked for: {first_line(error)}") from None
        return next(str(one["Gateway"]) for one in configured if "." in one["Gateway"])
