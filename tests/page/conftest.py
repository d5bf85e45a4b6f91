"""The browser that tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.page.browser import executables, started

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """A headless Chromium; tests that ask for it are skipped where there is none."""
    executables()
    with started() as driver:
        yield driver
