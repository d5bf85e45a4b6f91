"""The open backends of a session: one for this version's trials, and one for the other version's own servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from pytest_edgeai import scratch
from pytest_edgeai.settings import Settings
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.backend import Backend, BackendContext, BackendFactory
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.specs import Topology


class Backends:
    """What runs the tiers of a session.

    Parameters
    ----------
    settings
        The session's.
    registered
        The backends of hooks by name.
    stack
        Ends what a backend holds when the session is closed.
    """

    def __init__(self, settings: Settings, registered: Mapping[str, BackendFactory], stack: ExitStack) -> None:
        self._settings, self._registered, self._stack = settings, registered, stack
        self.own: Backend | None = None
        """What runs the tiers for this version's trials, once it is open."""
        self.other: Backend | None = None
        """What runs the tiers for the other version's trials, where its own servers do."""

    def of(self, version: str) -> Backend:
        """What runs the tiers for trials of this version, which is empty, or of the other one."""
        found = self.other if version and self.other is not None else self.own
        assert found is not None, "the plugin opens it when collection is finished"
        return found

    def open(
        self, placements: Sequence[Placement], allotments: Mapping[str, Allotment], note: Callable[[str], None]
    ) -> None:
        """Make the backend.

        Parameters
        ----------
        placements
            Where something is to be deployed.
        allotments
            What each tier gets of this host.
        note
            Is told about what takes long.

        Raises
        ------
        SettingsError
            It is unknown or cannot run these tiers.
        """
        scratch.sweep()
        site = replace(self._site(placements, self._settings.topology, allotments), note=note)
        self.own = self._opened(self._settings.backend, site, self._registered)

    def open_other(
        self,
        name: str,
        placements: Sequence[Placement],
        topology: Topology,
        allotments: Mapping[str, Allotment],
        search_path: tuple[str, ...],
    ) -> None:
        """Make the backend for the trials of the other version.

        Parameters
        ----------
        name
            Of one of this package's backends.
        placements
            Where something is to be deployed.
        topology, allotments
            The other version's.
        search_path
            Where its servers look for modules first.

        Raises
        ------
        SettingsError
            It cannot run these tiers.
        """
        site = replace(self._site(placements, topology, allotments), search_path=search_path)
        self.other = self._opened(name, site, {})

    def _site(
        self, placements: Sequence[Placement], topology: Topology, allotments: Mapping[str, Allotment]
    ) -> BackendContext:
        folder = self._stack.enter_context(scratch.folder("edgeai-session-"))
        wire, image = self._settings.measurement.chosen_wire, self._settings.image
        return BackendContext(topology, allotments, tuple(placements), secrets.token_hex(4), folder, image, wire=wire)

    def _opened(self, name: str, site: BackendContext, registered: Mapping[str, BackendFactory]) -> Backend:
        from pytest_edgeai.tiers.registry import open_backend

        backend = open_backend(name, site, registered)
        if isinstance(backend, AbstractContextManager):
            self._stack.enter_context(backend)
        return backend
