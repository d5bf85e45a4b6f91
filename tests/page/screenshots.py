"""Pictures of a report's page for the documentation: python -m tests.page.screenshots results.json docs/images."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from pathlib import Path

from pytest_edgeai.reporting.page.rendering import render
from tests.page.browser import opened, started

PICTURES = (
    ("report", 1400, "light", "body", 900),
    ("report-narrow", 400, "dark", "body", 900),
    ("report-choice", 1400, "light", "#choice", 620),
    ("report-spans", 1400, "light", "#spans", 620),
)
"""Name, width of the window, colours, what stands at the top, and height; all in pixels."""


def main(results: Path, folder: Path) -> None:
    """Write one PNG for each of `PICTURES`.

    Parameters
    ----------
    results
        The `results.json` of a session.
    folder
        Where to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, started() as browser:
        page = Path(scratch) / "report.html"
        page.write_text(render(json.loads(results.read_text(encoding="utf-8"))), encoding="utf-8")
        for name, width, scheme, selector, height in PICTURES:
            with opened(page, browser, width=width, scheme="dark" if scheme == "dark" else "light") as driver:
                top = driver.execute_script(
                    "return document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY", selector
                )
                clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
                shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
                (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
