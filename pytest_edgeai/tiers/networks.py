"""The container networks of a session: one for each link, and one by which the client comes in."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.backend import BackendContext, TierError
from pytest_edgeai.tiers.engine import first_line
from pytest_edgeai.tiers.engines import Engine, Engines
from pytest_edgeai.tiers.specs import EngineAddress

if TYPE_CHECKING:
    from testcontainers.core.network import Network

ENTRY: Final = "entry"
"""The name of the network by which the client's requests come in; links have the names of their tiers."""
_INTERFACES: Final = Path("/sys/class/net")
_ID_IN_BRIDGE = 12


def entry_of(node: int | None) -> str:
    """The name of the network by which requests come in to a node, or to tiers without nodes.

    Each node has one of its own, on which no other is.
    """
    return ENTRY if node is None else f"{ENTRY}.{node}"


class Networks:
    """Networks on the engines of a session, each made when it is first needed.

    Parameters
    ----------
    site
        The session.
    engines
        Its engines.
    """

    def __init__(self, site: BackendContext, engines: Engines) -> None:
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
        if name.partition(".")[0] != ENTRY:
            near, far = (self._engines.of(tier) for tier in name.split("-"))
            if near.address == far.address:
                return {"internal": True}
            masquerades = found is near
        # An internal network publishes no ports. Without masquerading, answers find their way and questions do not.
        return {"options": {"com.docker.network.bridge.enable_ip_masquerade": str(masquerades).lower()}}

    def is_in_reach(self, found: Engine, name: str) -> bool:
        """Whether this process reaches the containers on a network by their own addresses.

        Its bridge is an interface of this host then, which is not so for an engine in a virtual machine or without
        root. The two ends have the same kernel, so the same clock.
        """
        network = self.of(found, name)
        return found.is_here and (_INTERFACES / f"br-{(network.id or '')[:_ID_IN_BRIDGE]}").exists()

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
