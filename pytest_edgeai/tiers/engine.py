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

from pytest_edgeai.tiers import contexts
from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.children import is_alive
from pytest_edgeai.tiers.contexts import Context, ContextError
from pytest_edgeai.tiers.specs import USUAL_ENGINE, EngineAddress
from pytest_edgeai.tiers.tunnel import SCHEME, Tunnel, host_name, tunnel

if TYPE_CHECKING:
    from docker.models.networks import Network
    from docker.models.volumes import Volume

    import docker

SESSION_LABEL: Final = "edgeai.session"
OWNER_LABEL: Final = "edgeai.owner"
_SOCKET = Path("/var/run/docker.sock")
_CONNECT_TIMEOUT_S = 3
_TIMEOUT_S = 60


class EngineError(TierError):
    """There is no container engine, or it does not do what it is asked."""


def socket_is_there() -> bool:
    """Whether it is worth asking for an engine: somebody named one, or the usual socket exists. Imports nothing."""
    named = "DOCKER_HOST" in os.environ or "DOCKER_CONTEXT" in os.environ
    return named or _SOCKET.exists() or (contexts.config_folder() / "contexts").exists()


@contextlib.contextmanager
def reached(address: EngineAddress) -> Iterator[EngineAddress]:
    """An engine's address as clients need it: one behind SSH is a socket here for as long as the context lasts.

    Raises
    ------
    EngineError
        The context is not known, or there is no way to the engine.
    """
    with way_to(address) as way:
        yield address if way is None else EngineAddress(f"unix://{way.socket}")


@contextlib.contextmanager
def way_to(address: EngineAddress) -> Iterator[Tunnel | None]:
    """The tunnel to an engine behind SSH, open for as long as the context lasts; None for one that needs none.

    Raises
    ------
    EngineError
        The context is not known, or there is no way to the engine.
    """
    if not is_behind_ssh(address):
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            way = stack.enter_context(tunnel(_url(address)))
        except TierError as error:
            raise EngineError(str(error)) from None
        yield way


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
    context = _context_of(address)
    if context is None:  # then certificates are those that the environment names, as for the `docker` program
        environment = {**os.environ} if address == USUAL_ENGINE else {}
        return {"environment": {**environment, "DOCKER_HOST": _url(address)}}
    # Without an address, docker-py would go by contexts that it finds in the working directory.
    environment = {"DOCKER_HOST": context.url or f"unix://{_SOCKET}"}
    if context.certificates is not None:
        environment["DOCKER_CERT_PATH"] = str(context.certificates)
        environment["DOCKER_TLS_VERIFY"] = "1" if context.verify else ""
    return {"environment": environment}


def is_here(address: EngineAddress) -> bool:
    """Whether an engine is on this machine, as far as its address says."""
    return _url(address).partition("://")[0] in ("", "unix", "npipe")


def is_behind_ssh(address: EngineAddress) -> bool:
    """Whether the way to an engine is a tunnel."""
    return _url(address).startswith(f"{SCHEME}://")


def reach_of(address: EngineAddress) -> str | None:
    """The host of an engine's address, where its ports are; None where there is none in it."""
    url = _url(address)
    return host_name(url) if is_behind_ssh(address) else urlsplit(url).hostname


def _url(address: EngineAddress) -> str:
    """Where an engine is; empty for the local socket."""
    context = _context_of(address)
    return (address.host or _named_host() or "") if context is None else context.url


def _context_of(address: EngineAddress) -> Context | None:
    """The context that leads to an engine, or None where an address does."""
    if address.host is not None or (address == USUAL_ENGINE and _named_host()):
        return None
    try:
        return contexts.read_context(address.context or contexts.current_name())
    except ContextError as error:
        raise EngineError(str(error)) from None


def _named_host() -> str | None:
    """The usual engine's address, where testcontainers' own settings or DOCKER_HOST give one."""
    try:
        from testcontainers.core.config import testcontainers_config
    except ImportError as error:
        raise _not_installed(error) from None
    return testcontainers_config.tc_properties_get_tc_host() or os.environ.get("DOCKER_HOST")


def _not_installed(error: ImportError) -> EngineError:
    return EngineError(f"{error.name} is not installed: pip install 'pytest-edgeai[docker]'")


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
