"""What settings say of tiers that are elsewhere: addresses of servers and engines, and names of models, checked."""

from __future__ import annotations

import re
import string

_URL = re.compile(r"(https?|grpcs?)://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")
_ENGINE = re.compile(r"ssh://[^/\s]+(/\S+)?|tcp://[^/\s]+|unix:///\S+")
_NAME_FIELDS = ("model", "operator")


def check_url(url: str) -> str:
    """The address of a server.

    Raises
    ------
    ValueError
        It is something else.
    """
    match = _URL.fullmatch(url)
    if match is None or not 0 < int(match[3] or 80) < 2**16:
        raise ValueError(
            f"expected http://HOST, https://HOST or either with :PORT, or grpc://HOST:PORT or grpcs://HOST:PORT, "
            f"got {url!r}"
        )
    if is_grpc(url) and match[3] is None:
        raise ValueError(f"expected {match[1]}://HOST:PORT, because gRPC has no usual port, got {url!r}")
    return url


def is_grpc(url: str) -> bool:
    """Whether an address is for gRPC."""
    return url.startswith(("grpc://", "grpcs://"))


def is_encrypted(url: str) -> bool:
    """Whether an address is for TLS."""
    return url.startswith(("https://", "grpcs://"))


def check_engine(host: str) -> str:
    """The address of a container engine.

    Raises
    ------
    ValueError
        It is something else.
    """
    if _ENGINE.fullmatch(host) is None:
        raise ValueError(f"expected ssh://USER@HOST, tcp://HOST:PORT or unix:///SOCKET, got {host!r}")
    return host


def check_model_name(template: str) -> str:
    """A server's name of models, in which `{model}` and `{operator}` stand for those of an artifact.

    Raises
    ------
    ValueError
        It is empty, or has other fields.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        parts = []
    named = [part[1:] for part in parts if part[1] is not None]
    if not parts or any(name not in _NAME_FIELDS or spec or conversion for name, spec, conversion in named):
        raise ValueError(f"expected a name, with {{model}} and {{operator}} in it where they belong, got {template!r}")
    return template
