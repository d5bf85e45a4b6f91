"""Which backend runs the tiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.backend import Backend, BackendContext, BackendFactory, TierError
from pytest_edgeai.tiers.mixed import MixedBackend, split_placements
from pytest_edgeai.tiers.remote import RemoteBackend
from pytest_edgeai.tiers.specs import USUAL_ENGINE, Topology

AUTO = "auto"


def known_backends(registered: Mapping[str, BackendFactory]) -> dict[str, BackendFactory]:
    """The backends of this package and those of the hook `pytest_edgeai_backends`."""
    from pytest_edgeai.tiers.containers import DockerBackend
    from pytest_edgeai.tiers.process import ProcessBackend

    own: list[type[Backend]] = [ProcessBackend, DockerBackend, RemoteBackend]
    return {**{backend.name: backend for backend in own}, **registered}


def check_backend(name: str, setting: str, registered: Mapping[str, BackendFactory]) -> None:
    """Refuse the name of a backend that there is not.

    Parameters
    ----------
    name
        What the settings ask for.
    setting
        Where that is said, for the message.
    registered
        The backends of hooks.

    Raises
    ------
    SettingsError
        Lists those that there are.
    """
    names = (AUTO, *known_backends(registered)) if name != AUTO else (AUTO,)
    if name not in names:
        raise SettingsError(f"{setting}: {unknown('backend', name, names)}")


def open_backend(name: str, site: BackendContext, registered: Mapping[str, BackendFactory]) -> Backend:
    """The backend of a name; `auto` takes containers where an engine answers, else processes.

    Tiers that are remote servers are reached by the `remote` backend, whatever runs the others.

    Raises
    ------
    SettingsError
        It cannot run these tiers.
    """
    backends = known_backends(registered)
    try:
        started, placed_remotely = split_placements(site.topology, site.placements)
        if name in registered or not placed_remotely:
            return _open(name, site, backends)
        remote = RemoteBackend(replace(site, placements=placed_remotely))
        if not started:
            return remote
        return MixedBackend(_open(name, replace(site, placements=started), backends), remote, placed_remotely)
    except TierError as error:
        raise SettingsError(f"backend {name}: {error}") from None


def usual_backend(topology: Topology) -> str:
    """What `auto` stands for, as far as that is known before an engine is asked."""
    remote = any(tier.engine != USUAL_ENGINE for tier in topology.tiers.values())
    return "docker" if engine.socket_is_there() or remote else "process"


def _open(name: str, site: BackendContext, backends: Mapping[str, BackendFactory]) -> Backend:
    if name == AUTO:
        name = "process"
        if usual_backend(site.topology) == "docker":
            try:
                return backends["docker"](site)
            except TierError as error:
                site.note(f"tiers are processes, not containers: {error}")
    return backends[name](site)
