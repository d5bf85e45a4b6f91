"""A headless Chromium, where there is one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

REQUIRED = "EDGEAI_REQUIRE_BROWSER"
"""Where this variable is set, a test that finds no browser fails instead of being skipped."""
ALL_DRAWN = "return document.querySelectorAll('.plot:not([data-drawn])').length === 0"
_WAIT_S = 120


def executables() -> tuple[str, str]:
    """Chromium and its driver; the test is skipped where one is not there."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "there is no chromium or no chromedriver: install the packages chromium and chromium-driver"
        if os.environ.get(REQUIRED):
            pytest.fail(missing)
        pytest.skip(missing)
    return chromium, driver


@contextlib.contextmanager
def started() -> Iterator[Chrome]:
    """A browser that has just started."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    chromium, path = executables()
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(path))
    try:
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def opened(
    page: Path, driver: Chrome, *, width: int = 1400, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Chrome]:
    """A page in a tab of its own, with every plot drawn or given up.

    Parameters
    ----------
    page
        The file.
    driver
        The browser.
    width
        Of the window, in pixels.
    scheme
        The colours that the reader prefers.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    errors(driver)  # those of earlier pages are not this page's
    driver.switch_to.new_window("tab")
    try:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page.as_uri())
        done = f"{ALL_DRAWN} || document.body.innerText.includes('could not be drawn')"
        WebDriverWait(driver, _WAIT_S).until(lambda shown: shown.execute_script(done))
        yield driver
    finally:
        driver.close()
        driver.switch_to.window(driver.window_handles[0])


def errors(driver: Chrome) -> list[str]:
    """What the console calls errors."""
    log = driver.get_log("browser")  # type: ignore[no-untyped-call]  # Selenium has no types here
    return [entry["message"] for entry in log if entry["level"] == "SEVERE"]
