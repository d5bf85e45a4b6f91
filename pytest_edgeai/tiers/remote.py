"""The `remote` backend: tiers on other machines that speak the Open Inference Protocol v2 (Triton, KServe, a phone).

Such a tier serves the models already, by the names `model-operator` or those that the settings make of them, with their
pipeline or as graphs alone. Its limits and the way to it are what they are: nothing is set there, and what cannot be
read back is reported as unproven.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.endpoints import LIMITS_PATH, REFERENCE_PATH
from pytest_edgeai.serving.pipeline import ImagePreprocess, Pipeline, PipelineError
from pytest_edgeai.tiers.addresses import is_grpc
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError, TierState
from pytest_edgeai.tiers.client_pipeline import ClientPipeline
from pytest_edgeai.tiers.metadata import ModelMetadata, ServerMetadata
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.servers import Server, Servers
from pytest_edgeai.tiers.specs import Hop, TierSpec
from pytest_edgeai.wire.client import Answer, RequestError, Requests, Wire

_NOT_FOUND = 404
_CHECK_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 60.0


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
        A tier has no address, its token cannot be read or is refused, its certificate is not trusted, it does not
        answer, it cannot take what the profile wants to be sent, or what speaks its protocol is not installed.
    """

    name: ClassVar[str] = "remote"

    def __init__(self, site: BackendContext, check_timeout_s: float = _CHECK_TIMEOUT_S) -> None:
        self._site = site
        self._check_timeout_s = check_timeout_s
        self._servers = Servers(site.topology)
        self._metadata: dict[str, ServerMetadata] = {}
        for placement in site.placements:
            _check_single(placement)
        for tier in dict.fromkeys(placement.tiers[0] for placement in site.placements):
            self._check_answers(tier)
            self._check_wire(tier)

    def describe(self) -> str:
        """How tiers are run and limited."""
        tiers = self._site.topology.tiers
        clients = [name for name in self._metadata if tiers[name].pipeline == "client"]
        pipelines = f"; the pipeline of {', '.join(clients)} runs at the client" if clients else ""
        wanted = self._site.wire or "binary"
        spoken = [name for name in self._metadata if self._wire(name, wanted) == "json"]
        json = f"; {', '.join(spoken)} {'gets' if len(spoken) == 1 else 'get'} JSON" if spoken else ""
        return f"remote servers; their limits and links are unproven{pipelines}{json}"

    @contextlib.contextmanager
    def deploy(self, order: DeploymentSpec) -> Iterator[RemoteDeployment]:
        """Make sure that the tier serves the model; nothing is started."""
        _check_single(order.placement)
        tier = order.placement.tiers[0]
        name, version = self.served_name(tier, order), self._spec(tier).version
        what = name if version is None else f"version {version} of {name}"
        with self._connect(tier) as server:
            try:
                model = ModelMetadata.read(server.model_metadata(name))
            except RequestError as error:
                raise self._servers.failure(tier, f"does not serve {what}", error) from None
        yield RemoteDeployment(self, order, tier, model, self._pipeline(tier, order, model))

    def served_name(self, tier: str, order: DeploymentSpec) -> str:
        """The name that the model of an order has on a tier."""
        template = self._spec(tier).model
        return order.name if template is None else template.format(model=order.model, operator=order.operator)

    def connect(self, tier: str, order: DeploymentSpec, model: ModelMetadata, pipeline: Pipeline | None) -> Requests:
        """A new connection to a tier, for the requests of an order.

        Parameters
        ----------
        tier, order
            Which.
        model
            What the tier says of the model.
        pipeline
            What runs here, around the requests; None where the tier does it.
        """
        requests: Requests = _Renamed(
            self._servers.open(tier, _ANSWER_TIMEOUT_S, self._wire(tier, order.wire)),
            self.served_name(tier, order),
        )
        if pipeline is None:
            return requests
        return ClientPipeline(requests, pipeline, order.folder_of(tier), self._site.topology.origin, model.inputs)

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
        if self._is_grpc(tier):
            self._check_answers(tier)
            return None
        with self._servers.open_http(tier, self._check_timeout_s) as server:
            try:
                said = server.document(path)
            except RequestError as error:
                if error.status is None:
                    self._check_answers(tier)
                return None
        return said if isinstance(said, dict) and key in said else None

    def diagnose(self, tier: str) -> str | None:
        """A sentence if the tier does not answer."""
        try:
            self._check_answers(tier)
        except TierError as error:
            return str(error)
        return None

    def _check_answers(self, tier: str) -> None:
        self._ask(tier, lambda server: server.check_live())

    def _ask(self, tier: str, question: Callable[[Server], Any]) -> Any:
        """What the tier says; None where it knows no such question, because some gateways show no more than models."""
        with self._connect(tier) as server:
            try:
                return question(server)
            except RequestError as error:
                if error.status != _NOT_FOUND:
                    raise self._servers.failure(tier, "does not answer", error) from None
        return None

    def _server(self, tier: str) -> ServerMetadata:
        """What the tier says of itself; asked once."""
        if tier not in self._metadata:
            said = ServerMetadata.read(self._ask(tier, lambda server: server.server_metadata()))
            # Over gRPC, raw bytes are no extension, and none of this package's servers answers.
            self._metadata[tier] = replace(said, is_ours=False, takes_binary=True) if self._is_grpc(tier) else said
        return self._metadata[tier]

    def _check_wire(self, tier: str) -> None:
        """Refuse what the profile wants to be sent, where the tier cannot take it."""
        wire, server, spec = self._site.wire, self._server(tier), self._spec(tier)
        if wire in ("json", "base64") and self._is_grpc(tier):
            raise TierError(
                f"tier {tier} at {spec.url} is reached over gRPC, whose messages have no form for the profile's "
                f'wire = "{wire}": leave it out, or give an address that begins with http:// or https://'
            )
        if wire == "binary" and server.is_known and not server.takes_binary:
            raise TierError(
                f"tier {tier} at {spec.url} does not announce the extension binary_tensor_data, which the profile's "
                'wire = "binary" needs: leave it out, or set wire = "json"'
            )
        if wire == "base64" and spec.pipeline == "server" and not server.is_ours:
            raise TierError(
                f'tier {tier} at {spec.url} is no server of pytest-edgeai, which the profile\'s wire = "base64" needs: '
                f'set wire = "json", or topology.tiers.{tier}.pipeline = "client"'
            )

    def _wire(self, tier: str, wanted: Wire) -> Wire:
        """What is sent where this is wanted."""
        server = self._server(tier)
        if wanted == "binary" and not server.takes_binary:
            insisted = self._site.wire == "binary"  # and not refused, because the server does not show what it takes
            return "binary" if insisted else "json"
        # Around a graph there is nothing to put into Base64 but texts, which JSON has as they are.
        return "json" if wanted == "base64" and not server.is_ours else wanted

    def _pipeline(self, tier: str, order: DeploymentSpec, model: ModelMetadata) -> Pipeline | None:
        """The pipeline that runs here, ready; None where the tier runs it. Refuses a model that does not fit it."""
        spec, name = self._spec(tier), self.served_name(tier, order)
        setting = f"topology.tiers.{tier}.pipeline"
        try:
            if spec.pipeline == "server":
                pipeline = Pipeline.read(order.folder) or Pipeline()
                misfit = model.misfit_of_server(pipeline)
                if misfit is not None:
                    advice = f'if it is the graph alone, set {setting} = "client"'
                    raise TierError(f"tier {tier} at {spec.url}: its model {name} {misfit}: {advice}")
                if isinstance(pipeline.preprocess, ImagePreprocess) and self._wire(tier, order.wire) == "json":
                    raise TierError(
                        f"tier {tier} at {spec.url} takes JSON and no binary tensors, and JSON cannot carry image "
                        f'files: set {setting} = "client" and serve the graph alone'
                    )
                return None
            folder = order.folder_of(tier)
            pipeline = Pipeline.read(folder) or Pipeline()
            if pipeline.preprocess is not None:
                pipeline.preprocess.prepare(folder)
        except PipelineError as error:
            raise TierError(str(error)) from None
        misfit = model.misfit_of_graph(pipeline)
        if misfit is not None:
            advice = f'if it runs the pipeline itself, set {setting} = "server"'
            raise TierError(f"tier {tier} at {spec.url}: its model {name} {misfit}: {advice}")
        return pipeline

    def _spec(self, tier: str) -> TierSpec:
        return self._site.topology.tiers[tier]

    def _is_grpc(self, tier: str) -> bool:
        return is_grpc(self._spec(tier).url or "")

    def _connect(self, tier: str) -> Server:
        return self._servers.open(tier, self._check_timeout_s)


class _Renamed(AbstractContextManager["_Renamed"]):
    """Requests to a model that the server has under another name."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:  # noqa: ARG002  # the server has its own name
        return self._server.infer(self._name, inputs)


class RemoteDeployment:
    """A model on a remote server."""

    hops: tuple[Hop, ...] = ()
    cores: frozenset[int] = frozenset()

    def __init__(
        self, backend: RemoteBackend, order: DeploymentSpec, tier: str, model: ModelMetadata, pipeline: Pipeline | None
    ) -> None:
        self._backend = backend
        self._order = order
        self._tier = tier
        self._model = model
        self._pipeline = pipeline

    def client(self) -> Requests:
        """A new connection to the server."""
        return self._backend.connect(self._tier, self._order, self._model, self._pipeline)

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
        served = self._backend.served_name(self._tier, self._order)
        told, digests = limits.pop("load_s", None), limits.get("digests")
        if isinstance(digests, dict):
            limits["digests"] = {self._order.name: digests[served]} if served in digests else {}
        load_s = told.get(served) if isinstance(told, dict) else None
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
