"""The `remote` backend: tiers on other machines that speak the Open Inference Protocol v2 (Triton, KServe, a phone).

Such a tier serves the models already, by the names `model-operator`. Its limits and the way to it are what they are:
nothing is set there, and what cannot be read back is reported as unproven.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError, TierState
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.specs import Hop, TierSpec
from pytest_edgeai.wire.client import Client, RequestError

_LIVE_PATH = "/v2/health/live"
_SERVER_PATH = "/v2"
_NOT_FOUND = 404
_CHECK_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 60.0
_STATUS = re.compile(r" answered ([0-9]{3}): ")


class RemoteBackend:
    """Tiers at addresses that the settings name.

    Parameters
    ----------
    site
        What it is made for.
    check_timeout_s
        How long a tier may take to say that it is alive, or what it serves.

    Raises
    ------
    TierError
        A tier has no address, its token cannot be read or is refused, or it does not answer.
    """

    name: ClassVar[str] = "remote"

    def __init__(self, site: BackendContext, check_timeout_s: float = _CHECK_TIMEOUT_S) -> None:
        self._site = site
        self._check_timeout_s = check_timeout_s
        for placement in site.placements:
            _check_single(placement)
        for tier in dict.fromkeys(placement.tiers[0] for placement in site.placements):
            self._check_answers(tier, _LIVE_PATH, _SERVER_PATH)

    def describe(self) -> str:
        """How tiers are run and limited."""
        return "remote servers; their limits and links are unproven"

    @contextlib.contextmanager
    def deploy(self, order: DeploymentSpec) -> Iterator[RemoteDeployment]:
        """Make sure that the tier serves the model; nothing is started."""
        _check_single(order.placement)
        tier = order.placement.tiers[0]
        with self._connect(tier) as client:
            try:
                client.get(f"/v2/models/{quote(order.name, safe='')}")
            except RequestError as error:
                raise TierError(self._sentence(tier, f"does not serve {order.name}", error)) from None
        yield RemoteDeployment(self, order, tier)

    def connect(self, tier: str, order: DeploymentSpec) -> Client:
        """A new connection to a tier, for the requests of an order."""
        return self._connect(tier, wire=order.wire, timeout_s=_ANSWER_TIMEOUT_S)

    def limits(self, tier: str) -> dict[str, Any] | None:
        """What the tier says of its limits; None where it has nothing to say, not being one of ours.

        Raises
        ------
        TierError
            The tier does not answer.
        """
        return self._own_endpoint(tier, LIMITS_PATH, "threads")

    def reference(self, tier: str) -> dict[str, Any] | None:
        """What a fixed computation takes now on the tier; None where the server is not one of ours.

        Raises
        ------
        TierError
            The tier does not answer.
        """
        return self._own_endpoint(tier, REFERENCE_PATH, "fastest")

    def _own_endpoint(self, tier: str, path: str, key: str) -> dict[str, Any] | None:
        """What is at a path that our own servers have; None where there is no document with that key."""
        with self._connect(tier) as client:
            try:
                said = client.get(path)
            except RequestError as error:
                if _status(error) is None:
                    self._check_answers(tier, _LIVE_PATH)
                return None
        return said if isinstance(said, dict) and key in said else None

    def diagnose(self, tier: str) -> str | None:
        """A sentence if the tier does not answer."""
        try:
            self._check_answers(tier, _LIVE_PATH)
        except TierError as error:
            return str(error)
        return None

    def _check_answers(self, tier: str, *paths: str) -> None:
        with self._connect(tier) as client:
            for path in paths:
                try:
                    client.download(path)
                except RequestError as error:
                    if _status(error) != _NOT_FOUND:  # some gateways show no more than the models
                        raise TierError(self._sentence(tier, "does not answer", error)) from None

    def _connect(self, tier: str, *, wire: Any = "binary", timeout_s: float | None = None) -> Client:
        spec = self._site.topology.tiers[tier]
        if spec.url is None:
            raise TierError(f"tier {tier} has no address: set topology.tiers.{tier}.url for the remote backend")
        url = urlsplit(spec.url)
        route = self._site.topology.route(tier)
        return Client(
            url.hostname or "",
            url.port or 80,
            place=self._site.topology.origin,
            link=route[0].name if route else "",
            token=_token(tier, spec),
            timeout_s=self._check_timeout_s if timeout_s is None else timeout_s,
            wire=wire,
        )

    def _sentence(self, tier: str, what: str, error: RequestError) -> str:
        spec = self._site.topology.tiers[tier]
        if _status(error) not in (401, 403):
            return f"tier {tier} at {spec.url} {what}: {error}"
        if spec.token_file is None:
            return f"tier {tier} at {spec.url} wants a token: set topology.tiers.{tier}.token_file ({error})"
        return f"tier {tier} at {spec.url} refuses the token in {spec.token_file} ({error})"


class RemoteDeployment:
    """A model on a remote server."""

    hops: tuple[Hop, ...] = ()
    cores: frozenset[int] = frozenset()

    def __init__(self, backend: RemoteBackend, order: DeploymentSpec, tier: str) -> None:
        self._backend = backend
        self._order = order
        self._tier = tier

    def client(self) -> Client:
        """A new connection to the server."""
        return self._backend.connect(self._tier, self._order)

    def probe(self, hop: Hop) -> ProbeConnections | None:  # noqa: ARG002  # for others
        """There is no way to have one link alone."""
        return None

    def states(self) -> tuple[TierState, ...]:
        """The limits, where the server is one of ours and tells them."""
        limits = self._backend.limits(self._tier)
        if limits is None:
            return (TierState(self._tier, {}, ("cores", "memory", "links", "load", "session")),)
        if limits.get("session") != self._order.session:
            raise TierError(
                f"tier {self._tier} creates its session {limits.get('session')}, where {self._order.session} is asked "
                f"for: start its server with --session {self._order.session}"
            )
        # The server may have loaded other models as well.
        told = limits.pop("load_s", None)
        load_s = told.get(self._order.name) if isinstance(told, dict) else None
        if load_s is None:
            return (TierState(self._tier, limits, ("links", "load")),)
        if not isinstance(load_s, int | float) or not 0 <= load_s < math.inf:
            raise TierError(
                f"tier {self._tier} tells a duration that cannot be: load of {self._order.name} is {load_s!r} s"
            )
        return (TierState(self._tier, {**limits, "load_s": {self._order.name: load_s}}, ("links",)),)

    def reference(self) -> dict[str, dict[str, Any]]:
        """What a fixed computation takes now, where the server is one of ours."""
        said = self._backend.reference(self._tier)
        return {} if said is None else {self._tier: said}

    def diagnose(self) -> str | None:
        """A sentence if the server does not answer any more."""
        return self._backend.diagnose(self._tier)


def _check_single(placement: Placement) -> None:
    if len(placement.tiers) != 1 or placement.nodes != 1:
        raise TierError(f"placement {placement}: the remote backend runs an artifact on one tier, on one node of it")


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


def _status(error: RequestError) -> int | None:
    """The HTTP status that a request was refused with; None where there was no answer."""
    match = _STATUS.search(str(error))
    return None if match is None else int(match[1])
