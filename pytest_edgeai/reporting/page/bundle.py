"""The JavaScript that draws the plots: Vega, Vega-Lite and vega-embed in one text, made once for each version of it."""

from __future__ import annotations

import contextlib
import functools
import os
from importlib import metadata
from pathlib import Path

_KEPT = "window.vegaEmbed = vegaEmbed;"
"""What of the libraries the page's own script sees."""


@functools.cache
def javascript() -> str:
    """The text, which goes into a script element.

    vl-convert needs seconds to put it together, so that it is kept in the user's cache folder, where there is one.
    """
    path = _path()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    import vl_convert

    text = vl_convert.javascript_bundle(_KEPT)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
    return text


def _path() -> Path:
    import platformdirs

    version = metadata.version("vl-convert-python")
    return platformdirs.user_cache_path("pytest-edgeai") / f"vega-of-vl-convert-{version}.js"
