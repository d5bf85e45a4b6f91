"""Docker contexts: container engines by name, as the `docker` program keeps them in its configuration folder.

docker-py looks for that folder beside the first configuration file that exists, and in the working directory where
there is none; the `docker` program takes `DOCKER_CONFIG` or `~/.docker` and nothing else. So does this module.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.errors import EdgeAIError

DEFAULT: Final = "default"
"""The name of the context that needs no file: the local socket."""
_FOLDER_VARIABLE = "DOCKER_CONFIG"
_NAME_VARIABLE = "DOCKER_CONTEXT"


class ContextError(EdgeAIError, ValueError):
    """A context that does not exist or cannot be read; one sentence."""


@dataclass(frozen=True, slots=True)
class Context:
    """An engine with a name.

    Parameters
    ----------
    name
        As `docker context ls` lists it.
    url
        Address of the engine; empty for the local socket.
    certificates
        Folder with `ca.pem`, `cert.pem` and `key.pem`, or None for an engine without TLS.
    verify
        Whether the engine's own certificate is checked.
    """

    name: str
    url: str
    certificates: Path | None = None
    verify: bool = True


def config_folder() -> Path:
    """The folder in which the `docker` program keeps its configuration."""
    return Path(os.environ.get(_FOLDER_VARIABLE) or "~/.docker").expanduser()


def current_name() -> str:
    """The name of the context in use: that of `DOCKER_CONTEXT`, or of `docker context use`.

    Raises
    ------
    ContextError
        The configuration file cannot be read.
    """
    named = os.environ.get(_NAME_VARIABLE)
    if named:
        return named
    path = config_folder() / "config.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8")).get("currentContext")
    except FileNotFoundError:
        return DEFAULT
    except (OSError, ValueError, AttributeError) as error:
        raise ContextError(f"the configuration of docker cannot be read: {path}: {_reason(error)}") from None
    return str(name or DEFAULT)


def read_context(name: str) -> Context:
    """A context by its name.

    Raises
    ------
    ContextError
        It does not exist, or its file is damaged.
    """
    if name == DEFAULT:
        return Context(name, "")
    contexts = config_folder() / "contexts"
    identity = hashlib.sha256(name.encode()).hexdigest()
    path = contexts / "meta" / identity / "meta.json"
    try:
        endpoint: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        url, skip_verify = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify"))
    except FileNotFoundError:
        raise ContextError(
            f"there is no Docker context {name!r} in {contexts}; `docker context ls` lists them"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ContextError(f"the Docker context {name} cannot be read: {path}: {_reason(error)}") from None
    certificates = contexts / "tls" / identity / "docker"
    return Context(name, url, certificates if (certificates / "cert.pem").is_file() else None, not skip_verify)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"
