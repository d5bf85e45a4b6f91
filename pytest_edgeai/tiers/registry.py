"""Which backend runs the tiers."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_edgeai.settings import SettingsError, unknown
from pytest_edgeai.tiers import engine
from pytest_edgeai.tiers.backend import Backend, BackendFactory, Site, TierError

AUTO = "auto"


def known_backends(registered: Mapping[str, BackendFactory]) -> dict[str, BackendFactory]:
    """The backends of this package and those of the hook `pytest_edgeai_backends`."""
    from pytest_edgeai.tiers.containers import DockerBackend
    from pytest_edgeai.tiers.process import ProcessBackend
    from pytest_edgeai.tiers.remote import RemoteBackend

    own: list[type[Backend]] = [ProcessBackend, DockerBackend, RemoteBackend]
    return {**{backend.name: backend for backend in own}, **registered}


def open_backend(name: str, site: Site, registered: Mapping[str, BackendFactory]) -> Backend:
    """The backend of a name; `auto` takes containers where an engine answers, else processes.

    Raises
    ------
    SettingsError
        There is no such backend, or it cannot run these tiers.
    """
    backends = known_backends(registered)
    if name not in (AUTO, *backends):
        raise SettingsError(f"backend: {unknown('backend', name, (AUTO, *backends))}")
    if name == AUTO:
        name = "process"
        if engine.socket_is_there():
            try:
                return backends["docker"](site)
            except TierError as error:
                site.note(f"tiers are processes, not containers: {error}")
    try:
        return backends[name](site)
    except TierError as error:
        raise SettingsError(f"backend {name}: {error}") from None
