"""Which backend runs the tiers."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_edgeai.settings import SettingsError, unknown
from pytest_edgeai.tiers.backend import Backend, BackendFactory, Site, TierError

AUTO = "auto"


def known_backends(registered: Mapping[str, BackendFactory]) -> dict[str, BackendFactory]:
    """The backends of this package and those of the hook `pytest_edgeai_backends`."""
    from pytest_edgeai.tiers.process import ProcessBackend
    from pytest_edgeai.tiers.remote import RemoteBackend

    return {ProcessBackend.name: ProcessBackend, RemoteBackend.name: RemoteBackend, **registered}


def open_backend(name: str, site: Site, registered: Mapping[str, BackendFactory]) -> Backend:
    """The backend of a name; `auto` takes the embedded default.

    Raises
    ------
    SettingsError
        There is no such backend, or it cannot run these tiers.
    """
    backends = known_backends(registered)
    chosen = "process" if name == AUTO else name
    if chosen not in backends:
        raise SettingsError(f"backend: {unknown('backend', chosen, (AUTO, *backends))}")
    try:
        return backends[chosen](site)
    except TierError as error:
        raise SettingsError(f"backend {chosen}: {error}") from None
