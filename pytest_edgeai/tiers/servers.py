"""Connections to servers that run already, over HTTP or gRPC: where they are, with what token, and whom to trust."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

from pytest_edgeai.arrays import Array
from pytest_edgeai.tiers.addresses import is_encrypted, is_grpc
from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.specs import TierSpec, Topology
from pytest_edgeai.wire.client import Answer, CertificateError, Client, RequestError, Wire, model_path

_LIVE_PATH = "/v2/health/live"
_SERVER_PATH = "/v2"


class Server(AbstractContextManager["Server"], Protocol):
    """A connection to a server; every method raises RequestError where there is no answer, or an error."""

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send one request and wait for its answer."""

    def check_live(self) -> None:
        """Ask whether the server is alive."""

    def server_metadata(self) -> Any:
        """What the server says of itself, as `GET /v2` has it."""

    def model_metadata(self, model: str) -> Any:
        """What the server says of a model, as `GET /v2/models/NAME` has it."""


class HttpServer(AbstractContextManager["HttpServer"]):
    """A server that is reached over HTTP.

    Parameters
    ----------
    client
        The connection; closed with this.
    version
        The version of models that is asked for; None leaves it to the server.
    """

    def __init__(self, client: Client, version: str | None) -> None:
        self._client = client
        self._version = version

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send one request and wait for its answer."""
        return self._client.infer(model, inputs)

    def check_live(self) -> None:
        """Ask whether the server is alive; what it answers does not matter."""
        self._client.download(_LIVE_PATH)

    def server_metadata(self) -> Any:
        """What the server says of itself."""
        return self._client.get(_SERVER_PATH)

    def model_metadata(self, model: str) -> Any:
        """What the server says of a model."""
        return self._client.get(model_path(model, self._version))

    def document(self, path: str) -> Any:
        """What is at a path that only servers of this package have."""
        return self._client.get(path)


class Servers:
    """What opens connections to the servers of a topology.

    Parameters
    ----------
    topology
        With the tiers that have an address.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._certificates: dict[str, bytes | None] = {}

    def open(self, tier: str, timeout_s: float, wire: Wire = "binary") -> Server:
        """A new connection to the server of a tier, by the protocol of its address.

        Raises
        ------
        TierError
            The tier has no address, its token or its certificates cannot be read, or gRPC is not installed.
        """
        return self._open_grpc(tier, timeout_s) if is_grpc(self._url(tier)) else self.open_http(tier, timeout_s, wire)

    def open_http(self, tier: str, timeout_s: float, wire: Wire = "binary") -> HttpServer:
        """A new connection to a server with an address for HTTP.

        Raises
        ------
        TierError
            The tier has no address, or its token or its certificates cannot be read.
        """
        url, spec = urlsplit(self._url(tier)), self._topology.tiers[tier]
        tls = self._context(tier, spec) if url.scheme == "https" else None
        client = Client(
            url.hostname or "",
            url.port or (80 if tls is None else 443),
            place=self._topology.origin,
            link=self._link(tier),
            token=_token(tier, spec),
            timeout_s=timeout_s,
            wire=wire,
            tls=tls,
            version=spec.version,
        )
        return HttpServer(client, spec.version)

    def _open_grpc(self, tier: str, timeout_s: float) -> Server:
        url, spec = self._url(tier), self._topology.tiers[tier]
        try:
            from pytest_edgeai.wire.grpc_client import GrpcClient
        except ModuleNotFoundError as error:
            raise TierError(
                f"tier {tier} at {url}: gRPC needs the extra grpc, which is not installed ({error}): "
                "pip install 'pytest-edgeai[grpc]'"
            ) from None
        tls = is_encrypted(url)
        return GrpcClient(
            urlsplit(url).netloc,
            place=self._topology.origin,
            link=self._link(tier),
            token=_token(tier, spec),
            timeout_s=timeout_s,
            tls=tls,
            certificates=self._trusted(tier, spec) if tls else None,
            version=spec.version,
        )

    def failure(self, tier: str, what: str, error: RequestError) -> TierError:
        """The error for a request that failed; `what` the tier does, or does not."""
        spec = self._topology.tiers[tier]
        if isinstance(error, CertificateError):
            setting = f"topology.tiers.{tier}.ca_file"
            advice = "" if spec.ca_file else f" ({setting} names the certificates to trust instead of the system's)"
            return TierError(f"tier {tier} at {spec.url}: {error}{advice}")
        if error.status not in (401, 403):
            return TierError(f"tier {tier} at {spec.url} {what}: {error}")
        if spec.token_file is None:
            return TierError(f"tier {tier} at {spec.url} wants a token: set topology.tiers.{tier}.token_file ({error})")
        return TierError(f"tier {tier} at {spec.url} refuses the token in {spec.token_file} ({error})")

    def _url(self, tier: str) -> str:
        url = self._topology.tiers[tier].url
        if url is None:
            raise TierError(f"tier {tier} has no address: set topology.tiers.{tier}.url for the remote backend")
        return url

    def _link(self, tier: str) -> str:
        route = self._topology.route(tier)
        return route[0].name if route else ""

    def _context(self, tier: str, spec: TierSpec) -> ssl.SSLContext:
        """Whom to trust; read once, because that takes longer than many a request."""
        from pytest_edgeai.wire.tls import client_context

        if tier not in self._contexts:
            setting = f"topology.tiers.{tier}.ca_file"
            try:
                self._contexts[tier] = client_context(spec.ca_file)
            except ssl.SSLError:
                raise TierError(f"{setting}: {spec.ca_file} holds no certificates in PEM format") from None
            except OSError as error:
                raise TierError(f"{setting}: {spec.ca_file} cannot be read: {error.strerror}") from None
        return self._contexts[tier]

    def _trusted(self, tier: str, spec: TierSpec) -> bytes | None:
        """The certificates to trust, in PEM format; None where the system has them not in one file."""
        if tier not in self._certificates:
            of_system = self._context(tier, spec).get_ca_certs(binary_form=True)
            self._certificates[tier] = (
                spec.ca_file.read_bytes()
                if spec.ca_file is not None
                else "".join(map(ssl.DER_cert_to_PEM_cert, of_system)).encode() or None
            )
        return self._certificates[tier]


def _token(tier: str, spec: TierSpec) -> str | None:
    if spec.token_file is None:
        return None
    setting = f"topology.tiers.{tier}.token_file"
    try:
        token = spec.token_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise TierError(f"{setting}: {spec.token_file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TierError(f"{setting}: {spec.token_file} is not text") from None
    if not (token and token.isascii() and token.isprintable()):
        raise TierError(f"{setting}: {spec.token_file} has to hold one line of printable ASCII")
    return token
