"""For all tests: the sessions that they run take a lock of their own, so that test runs side by side are no matter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_edgeai.measure.session_lock import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def lock_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Name a new folder for the lock to all processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("lock")))
        yield
