"""The servers and tiers of the other version, which run its trials beside those of this one (`--edgeai-whole`).

The other version's servers are started from its checkout, with the tiers and links of its settings. This version starts
them and sends the requests, so both have to mean the same by that: the number of the contract says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pytest_edgeai.errors import EdgeAIError, SettingsError, VersionError
from pytest_edgeai.matrix.names import parse_placements
from pytest_edgeai.measured import OtherVersion, OwnServers
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.sharing import share_among_nodes
from pytest_edgeai.tiers.specs import Topology
from pytest_edgeai.versions.conditions import code_digest, tier_conditions

if TYPE_CHECKING:
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.tiers.placements import Placement
    from pytest_edgeai.versions.checkouts import Checkout

CONTRACT: Final = 1
"""Counted up when servers are started or asked in a way that those of before do not know."""
SERVERS: Final = ("serving", "wire")
"""Folders of this package whose code runs in a server."""
CLIENT: Final = ("measure", "parallel", "partition", "tiers", "wire")
"""Folders of this package whose code starts servers and sends requests."""
BACKEND: Final = "process"
"""What runs servers of another version; `auto` stands for it then."""


def refuse_backend(session: MeasuringSession) -> None:
    """Refuse a backend that cannot run servers of another version.

    Raises
    ------
    SettingsError
        Names the backend that can.
    """
    name = session.settings.backend
    if name != BACKEND or name in session.registered.backends:
        raise SettingsError(
            f"--edgeai-whole: the backend {name} cannot run servers of another version: give --edgeai-backend {BACKEND}"
        )
    _refuse_remote("--edgeai-whole", session.settings.topology, session.selection.placements)


def describe(topology: Topology) -> dict[str, Any]:
    """What a version tells of itself that none of its artifacts contains; JSON values only.

    Parameters
    ----------
    topology
        By its settings.
    """
    return {
        "contract": CONTRACT,
        "servers": code_digest(SERVERS),
        "client": code_digest(CLIENT),
        "topology": topology.as_settings(),
    }


def open_servers(session: MeasuringSession, other: OtherVersion, checkout: Checkout) -> OtherVersion:
    """Open what runs the trials of the other version until the session is closed.

    Parameters
    ----------
    session
        Of this version.
    other
        As it told of itself.
    checkout
        Its code, which stays there as long as the session.

    Raises
    ------
    VersionError
        Its servers or its tiers cannot be used by this version.
    """
    label, told = other.commit.label, other.outside
    if told.get("contract") != CONTRACT:
        has = f"contract {told['contract']}" if "contract" in told else "a plugin without --edgeai-whole"
        raise VersionError(
            f"the servers of {label} cannot be started by this version, which has contract {CONTRACT}: {label} has "
            f"{has}; leave out --edgeai-whole to compare the artifacts alone"
        )
    topology = _topology(label, told)
    names = [str(placement) for placement in session.selection.placements]
    try:
        parse_placements("tiers", names, topology)
        _refuse_remote(label, topology, session.selection.placements)
        alone = allot(topology.tiers, session.host.cores, session.host.memory_bytes)
        allotments = share_among_nodes(alone, session.selection.placements, topology, session.host.cores)
        path = tuple(map(str, checkout.search_path))
        session.backends.open_other(BACKEND, session.placements, topology, allotments, path)
    except EdgeAIError as error:
        raise VersionError(f"the tiers of {label} cannot be used here: {error}") from None
    ours = tier_conditions(session.settings.topology, session.allotments, code_digest(SERVERS))
    code = str(told["servers"])
    servers = OwnServers(topology, allotments, code, path, ours != tier_conditions(topology, allotments, code))
    return replace(other, servers=servers, code=str(told["client"]))


def _topology(label: str, told: Any) -> Topology:
    try:
        return Topology.model_validate(told["topology"])
    except ValidationError as error:
        raise VersionError(f"{label} has settings of tiers that this version does not know: {error}") from None


def _refuse_remote(whose: str, topology: Topology, placements: Iterable[Placement]) -> None:
    """Refuse placements on a remote server, which is one and the same for both versions.

    Raises
    ------
    SettingsError
        Names the tier.
    """
    for name in dict.fromkeys(tier for placement in placements for tier in placement.tiers):
        if topology.tiers[name].is_remote:
            raise SettingsError(f"{whose}: tier {name} is on another machine, where no server is started for a version")
