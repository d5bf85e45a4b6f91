"""A container engine: whether one answers, what a session leaves behind on it, and how that is removed.

Everything that a session makes carries two labels: the session, and the process that owns it. What belongs to a process
of this host that is gone is left over, and any later session may remove it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.children import is_alive
from pytest_edgeai.tiers.specs import USUAL_ENGINE, EngineAddress
from pytest_edgeai.tiers.tunnel import SCHEME, host_name, tunnel

if TYPE_CHECKING:
    from docker.context import Context
    from docker.models.networks import Network
    from docker.models.volumes import Volume

    import docker

SESSION_LABEL: Final = "edgeai.session"
OWNER_LABEL: Final = "edgeai.owner"
_SOCKET = Path("/var/run/docker.sock")
_CONTEXTS = Path("~/.docker/contexts").expanduser()
_CONNECT_TIMEOUT_S = 3
_TIMEOUT_S = 60


class EngineError(TierError):
    """There is no container engine, or it does not do what it is asked."""


def socket_is_there() -> bool:
    """Whether it is worth asking for an engine: somebody named one, or the usual socket exists. Imports nothing."""
    return "DOCKER_HOST" in os.environ or "DOCKER_CONTEXT" in os.environ or _SOCKET.exists() or _CONTEXTS.exists()


@contextlib.contextmanager
def reached(address: EngineAddress) -> Iterator[EngineAddress]:
    """An engine's address as clients need it: one behind SSH is a socket here for as long as the context lasts.

    Raises
    ------
    EngineError
        The context is not known, or there is no way to the engine.
    """
    url = _url(address)
    if not url.startswith(f"{SCHEME}://"):
        yield address
        return
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(tunnel(url))
        except TierError as error:
            raise EngineError(str(error)) from None
        yield EngineAddress(f"unix://{path}")


def connect(address: EngineAddress = USUAL_ENGINE, timeout_s: int = _TIMEOUT_S) -> docker.DockerClient:
    """A client of an engine.

    Parameters
    ----------
    address
        Which one, not behind SSH (see `reached`); the usual one is that which DOCKER_HOST or the current Docker
        context names.
    timeout_s
        How long it may take for an answer.

    Raises
    ------
    EngineError
        The extra `docker` is not installed, the context is not known, or no engine answers.
    """
    try:
        import requests

        import docker
    except ImportError as error:
        raise _not_installed(error) from None
    try:
        client = docker.from_env(timeout=_CONNECT_TIMEOUT_S, **client_options(address))
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        where = _url(address) or "the local socket"
        raise EngineError(f"no container engine answers at {where}: {first_line(error)}") from None
    client.api.timeout = timeout_s
    return client


def client_options(address: EngineAddress) -> dict[str, Any]:
    """What `docker.from_env`, which testcontainers calls as well, needs to find an engine.

    Raises
    ------
    EngineError
        The context is not known.
    """
    url = _url(address)
    if address == USUAL_ENGINE:
        return {"environment": {**os.environ, "DOCKER_HOST": url}} if url else {}
    environment = {"DOCKER_HOST": url}
    if address.context is not None:
        context = _context(address.context)
        certificates = Path(context.tls_path) / "docker"
        if (certificates / "cert.pem").is_file():
            environment["DOCKER_CERT_PATH"] = str(certificates)
            environment["DOCKER_TLS_VERIFY"] = "" if context.endpoints["docker"].get("SkipTLSVerify") else "1"
    return {"environment": environment}


def is_here(address: EngineAddress) -> bool:
    """Whether an engine is on this machine, as far as its address says."""
    return _url(address).partition("://")[0] in ("", "unix", "npipe")


def reach_of(address: EngineAddress) -> str | None:
    """The host of an engine's address, where its ports are; None where there is none in it."""
    url = _url(address)
    return host_name(url) if url.startswith(f"{SCHEME}://") else urlsplit(url).hostname


def _url(address: EngineAddress) -> str:
    """Where an engine is; empty for the local socket."""
    if address.host is not None:
        return address.host
    if address.context is not None:
        return str(_context(address.context).Host)
    try:
        from testcontainers.core.docker_client import get_docker_host
    except ImportError as error:
        raise _not_installed(error) from None
    return get_docker_host() or ""


def _not_installed(error: ImportError) -> EngineError:
    return EngineError(f"{error.name} is not installed: pip install 'pytest-edgeai[docker]'")


def _context(name: str) -> Context:
    from docker.context import ContextAPI

    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # noqa: BLE001  # for a file that is not as it should be, it raises no narrower one
        raise EngineError(f"the Docker context {name} cannot be read: {first_line(error)}") from None
    if context is None or not context.Host:
        raise EngineError(f"there is no Docker context {name!r}; `docker context ls` lists them")
    return context


def labels(session_id: str) -> dict[str, str]:
    """What everything that this process makes for a session is labelled with."""
    return {SESSION_LABEL: session_id, OWNER_LABEL: f"{socket.gethostname()}/{os.getpid()}"}


def remove(client: docker.DockerClient, session_id: str) -> list[str]:
    """Remove what a session has made; the names of it.

    Raises
    ------
    EngineError
        The engine does not answer.
    """
    return _remove(client, f"{SESSION_LABEL}={session_id}", only_left_over=False)


def sweep(client: docker.DockerClient, *, dry_run: bool = False) -> list[str]:
    """Remove what sessions of this host that were killed have left behind; the names of it.

    Parameters
    ----------
    client
        Of the engine.
    dry_run
        Only find it.

    Raises
    ------
    EngineError
        The engine does not answer.
    """
    return _remove(client, OWNER_LABEL, only_left_over=True, dry_run=dry_run)


def leave_cleaning_to_ryuk_if_there(client: docker.DockerClient) -> None:
    """Let testcontainers start its reaper where its image is there; else it would stop at trying to fetch it."""
    from docker.errors import ImageNotFound
    from testcontainers.core.config import testcontainers_config

    try:
        client.images.get(testcontainers_config.ryuk_image)
    except ImageNotFound:
        testcontainers_config.ryuk_disabled = True


def first_line(error: BaseException) -> str:
    """What an error of the engine says, in one line."""
    explanation = getattr(error, "explanation", None) or str(error)
    return " ".join(str(explanation).split())[:300] or type(error).__name__


def _remove(client: docker.DockerClient, label: str, *, only_left_over: bool, dry_run: bool = False) -> list[str]:
    from docker.errors import APIError, DockerException
    from requests import RequestException

    names = []
    try:
        # Containers first: a network or a volume with one in it cannot be removed.
        for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
            if not only_left_over or _is_left_over(container.labels.get(OWNER_LABEL, "")):
                names.append(str(container.name))
                with contextlib.suppress(APIError):  # somebody else was faster
                    if not dry_run:
                        container.remove(force=True, v=True)
        others: list[Network | Volume] = [*client.networks.list(filters={"label": label})]
        others += client.volumes.list(filters={"label": label})
        for one in others:
            if not only_left_over or _is_left_over((one.attrs.get("Labels") or {}).get(OWNER_LABEL, "")):
                names.append(str(one.name))
                with contextlib.suppress(APIError):
                    if not dry_run:
                        one.remove()
    except (DockerException, RequestException) as error:
        raise EngineError(f"the container engine does not answer: {first_line(error)}") from None
    return names


def _is_left_over(owner: str) -> bool:
    """Whether the owner was a process of this host and is gone."""
    host, _, pid = owner.rpartition("/")
    return host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid))
