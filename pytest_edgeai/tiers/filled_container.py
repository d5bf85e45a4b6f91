"""A container that cannot write to its root, and whose volume is filled before it starts."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final

from testcontainers.core.container import DockerContainer
from testcontainers.core.transferable import Transferable, build_transfer_tar

VOLUME: Final = PurePosixPath("/deployed")
"""Where the files of a deployment are; the volume goes with the container."""


class FilledContainer(DockerContainer):
    """Files can be copied below `VOLUME`. The engine refuses archives for a root that is read-only."""

    def with_limits(self, **options: Any) -> FilledContainer:
        """Options of the engine's interface, beside which the root is read-only."""
        from docker.types import Mount

        volume = Mount(target=str(VOLUME), source=None, type="volume")
        self.with_kwargs(**options, read_only=True, mounts=[volume])
        return self

    def _transfer_into_container(self, transferable: Transferable, destination_in_container: str, mode: int) -> None:
        # testcontainers' own sends all archives to the root.
        assert self._container is not None
        inside = PurePosixPath(destination_in_container).relative_to(VOLUME)
        self._container.put_archive(str(VOLUME), build_transfer_tar(transferable, str(inside), mode))
