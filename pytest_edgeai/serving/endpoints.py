"""What a tier answers at which path: the Open Inference Protocol v2 with Triton's extensions, and what measuring needs.

From a whole request to a whole reply; how either crosses a socket is the business of `server`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from pytest_edgeai import __version__
from pytest_edgeai.serving import extensions
from pytest_edgeai.serving.compression import decompress
from pytest_edgeai.serving.instructions import why_not_counted
from pytest_edgeai.serving.limits import read_limits, whereabouts
from pytest_edgeai.serving.pipeline import SampleError
from pytest_edgeai.serving.processor import description, instructions
from pytest_edgeai.serving.reference import Reference
from pytest_edgeai.serving.repository import Model, ModelError
from pytest_edgeai.serving.settings import ServerSettings
from pytest_edgeai.wire import protocol, timing
from pytest_edgeai.wire.heads import MessageError, whole_number

PROBE_PATH = "/edgeai/probe"
LIMITS_PATH = "/edgeai/limits"
REFERENCE_PATH = "/edgeai/reference"
MAX_PROBE_BYTES = 64 * 2**20

_JSON_LENGTH = protocol.JSON_LENGTH_HEADER.lower()
_ZLIB_LEVEL = 1  # activations gain little from more, and every link but the slowest would wait for it
_READING = ("GET", "HEAD")
_MODEL_METHODS: Mapping[tuple[str, ...], Sequence[str]] = {
    (): _READING,
    ("ready",): _READING,
    ("config",): _READING,
    ("stats",): _READING,
    ("infer",): ("POST",),
}
"""What follows the name of a model or its version in a path, and what may be done there."""
_ZEROS = memoryview(bytes(2**20))


class Request(NamedTuple):
    """A whole request.

    Parameters
    ----------
    method, target
        As the first line has them.
    query
        What follows the target's question mark, as it is.
    headers
        By names in lower case.
    body
        Valid until the request is answered, and no longer.
    late_s
        By how many seconds it came later than the link would have delivered it.
    """

    method: str
    target: str
    query: str
    headers: Mapping[str, str]
    body: memoryview
    late_s: float = 0.0


class Reply(NamedTuple):
    """A whole reply but for the headers that every reply has.

    Parameters
    ----------
    status, buffers, headers, content_type
        What is sent.
    late_s
        Of an answer that comes from the next tier, by how many seconds it is later than the links would have delivered
        it; None where it is as late as the request.
    """

    status: int
    buffers: Sequence[protocol.Buffer]
    headers: Mapping[str, str] = MappingProxyType({})
    content_type: str = "application/json"
    late_s: float | None = None


Endpoint: TypeAlias = Callable[[Request], Reply]


class Refusal(MessageError):  # noqa: N818  # an answer, not an error of ours
    """Ends a request with a status, one sentence and the headers that the status wants."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, sentence)
        self.headers = headers or {}


def json_reply(document: Mapping[str, Any] | Sequence[Any], status: int = HTTPStatus.OK) -> Reply:
    """Reply with a JSON document."""
    return Reply(status, [json.dumps(document).encode("ascii")])


class Endpoints:
    """The endpoints of a tier over its loaded models.

    Parameters
    ----------
    models
        By name.
    settings
        What of it the limits endpoint reports.
    """

    def __init__(self, models: Mapping[str, Model], settings: ServerSettings) -> None:
        self._models = models
        self._execution = settings.execution
        self._reference = Reference(settings.execution)
        self._max_body_bytes = settings.max_body_bytes
        self._onward: dict[tuple[str, ...], Model] = {}
        self._table: dict[tuple[str, ...], Mapping[str, Endpoint]] = {
            ("v2",): _readable(_server_metadata),
            ("v2", "health", "live"): _readable(lambda _: json_reply({"live": True})),
            ("v2", "health", "ready"): _readable(lambda _: json_reply({"ready": True})),
            ("v2", "models", "stats"): _readable(functools.partial(_statistics, tuple(models.values()))),
            ("v2", "repository", "index"): {"POST": self._index},
            ("edgeai", "probe"): {**_readable(_download), "POST": _upload},
            ("edgeai", "limits"): _readable(self._limits),
            ("edgeai", "reference"): _readable(lambda _: json_reply(self._reference().as_json())),
        }
        for name, model in models.items():
            for prefix in (("v2", "models", name), ("v2", "models", name, "versions", "1")):
                self._table[prefix] = _readable(functools.partial(_metadata, model))
                self._table[*prefix, "config"] = _readable(functools.partial(_configuration, model))
                self._table[*prefix, "stats"] = _readable(functools.partial(_statistics, (model,)))
                self._table[*prefix, "ready"] = _readable(functools.partial(_ready, model))
                self._table[*prefix, "infer"] = {"POST": functools.partial(self._infer, model)}
                if model.pipeline.onward is not None:
                    self._onward[*prefix, "infer"] = model

    def resolve(self, method: str, path: tuple[str, ...], forward: Endpoint | None) -> Endpoint:
        """Find what answers a method at a path; `forward` answers for models that are not here, and for later parts.

        Raises
        ------
        Refusal
            There is nothing at the path, or not for the method.
        """
        endpoints = self._table.get(path) or self._absent_model(path, forward)
        if method not in endpoints:
            allowed = ", ".join(endpoints)
            sentence = f"{method[:20]} is not possible at /{'/'.join(path)[:200]}, only {allowed}"
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, sentence, {"Allow": allowed})
        if path in self._onward:
            return functools.partial(self._infer_part, self._onward[path], forward)
        return endpoints[method]

    def _absent_model(self, path: tuple[str, ...], forward: Endpoint | None) -> Mapping[str, Endpoint]:
        """The endpoints of a model that is not served here; refuses every other path."""
        match path:
            case ("v2", "models", name, "versions", version, *rest) if tuple(rest) in _MODEL_METHODS:
                pass
            case ("v2", "models", name, *rest) if tuple(rest) in _MODEL_METHODS:
                version = "1"
            case ("v2", "repository", "models", _, "load" | "unload"):
                sentence = "models are loaded when the server starts, and stay until it ends"
                raise Refusal(HTTPStatus.BAD_REQUEST, sentence)
            case _:
                raise Refusal(HTTPStatus.NOT_FOUND, f"there is nothing at /{'/'.join(path)[:200]}")
        if forward is None or name in self._models:
            forward = functools.partial(self._miss, name, version)
        return dict.fromkeys(_MODEL_METHODS[tuple(rest)], forward)

    def _miss(self, name: str, version: str, request: Request) -> Reply:  # noqa: ARG002  # the signature of an endpoint
        if name in self._models:
            raise Refusal(HTTPStatus.NOT_FOUND, f"model {name!r} has only version 1, not {version[:200]!r}")
        near = difflib.get_close_matches(name[:200], self._models, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self._models) or 'none'}"
        raise Refusal(HTTPStatus.NOT_FOUND, f"there is no model {name[:200]!r}: {hint}")

    def _infer_part(self, model: Model, forward: Endpoint | None, request: Request) -> Reply:
        """Run a part and have the next tier answer with the rest; its spans are added to this tier's."""
        onward = model.pipeline.onward
        assert onward is not None
        if forward is None:
            raise Refusal(HTTPStatus.BAD_GATEWAY, f"model {model.name!r} is a part, and there is no tier for the next")
        with _counted(model) as started:
            asked = self._decode(request)
            decode_s = time.perf_counter() - started
            outputs, spans = model.infer(asked.inputs)
            encoding = time.perf_counter()
            body = protocol.encode_request(dataclasses.replace(asked, inputs=outputs))
        headers = {**request.headers, "content-type": body.content_type}
        headers.pop("content-encoding", None)
        headers[_JSON_LENGTH] = str(body.length if body.json_length is None else body.json_length)
        content = body.join()
        if onward.compression == "zlib":
            content = zlib.compress(content, _ZLIB_LEVEL)
            headers["content-encoding"] = "deflate"
        encode_s = time.perf_counter() - encoding
        own = (*spans, timing.Span("serialize", self._execution.tier, decode_s + encode_s))
        with _counted(model, started):
            reply = forward(request._replace(headers=headers, body=memoryview(content)))
        duration_s = time.perf_counter() - started
        if reply.status == HTTPStatus.OK:
            model.statistics.succeed(duration_s, spans, decode_s, encode_s)
        else:
            model.statistics.fail(duration_s)
        spans = [*own, *timing.parse_spans(reply.headers.get(timing.HEADER))]
        return reply._replace(headers={**reply.headers, timing.HEADER: timing.format_spans(spans)})

    def _decode(self, request: Request) -> protocol.InferRequest:
        json_length = whole_number(request.headers, protocol.JSON_LENGTH_HEADER)
        body = decompress(request.body, request.headers, self._max_body_bytes)
        return protocol.decode_request(body, json_length)

    def _infer(self, model: Model, request: Request) -> Reply:
        with _counted(model) as started:
            asked = self._decode(request)
            for name in asked.outputs:
                _check_output(model, name)
            decode_s = time.perf_counter() - started
            outputs, spans = model.infer(asked.inputs)
            encoding = time.perf_counter()
            body = protocol.encode_response(model.name, outputs, asked)
        ended = time.perf_counter()
        encode_s = ended - encoding
        model.statistics.succeed(ended - started, spans, decode_s, encode_s)
        spans.append(timing.Span("serialize", self._execution.tier, decode_s + encode_s))
        headers = {timing.HEADER: timing.format_spans(spans)}
        if body.json_length is not None:
            headers[protocol.JSON_LENGTH_HEADER] = str(body.json_length)
        return Reply(HTTPStatus.OK, body.buffers, headers, body.content_type)

    def _index(self, request: Request) -> Reply:
        try:
            body = decompress(request.body, request.headers, self._max_body_bytes)
            return json_reply(extensions.repository_index(self._models.values(), body))
        except protocol.ProtocolError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None

    def _limits(self, request: Request) -> Reply:  # noqa: ARG002  # the signature of an endpoint
        execution = self._execution
        return json_reply(
            {
                **read_limits().as_json(),
                **whereabouts(),
                "cpu_s": time.process_time(),
                "threads": execution.threads,
                "spinning": execution.spinning,
                "compute_scale": execution.compute_scale,
                "session": execution.session,
                "takes_turns": execution.turns is not None,
                "instructions": instructions(description()),
                "no_counters": why_not_counted(),
                "load_s": {model.name: model.load_s for model in self._models.values()},
                "providers": {model.name: model.providers for model in self._models.values()},
                "digests": {model.name: model.digests for model in self._models.values()},
            }
        )


def _readable(endpoint: Endpoint) -> Mapping[str, Endpoint]:
    return dict.fromkeys(_READING, endpoint)


@contextlib.contextmanager
def _counted(model: Model, started: float | None = None) -> Iterator[float]:
    """Refuse in words what a model cannot answer, and count it; gives the time at which the request began."""
    began = time.perf_counter() if started is None else started
    try:
        yield began
    except (protocol.ProtocolError, SampleError) as error:
        model.statistics.fail(time.perf_counter() - began)
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
    except ModelError as error:  # only where the session is created for every request
        model.statistics.fail(time.perf_counter() - began)
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    except MessageError:
        model.statistics.fail(time.perf_counter() - began)
        raise


def _ready(model: Model, request: Request) -> Reply:  # noqa: ARG001  # the signature of an endpoint
    return json_reply({"name": model.name, "ready": True})


def _metadata(model: Model, request: Request) -> Reply:  # noqa: ARG001  # the signature of an endpoint
    return json_reply(
        {
            "name": model.name,
            "versions": ["1"],
            "platform": extensions.PLATFORM,
            "inputs": [spec.as_json() for spec in model.inputs],
            "outputs": [spec.as_json() for spec in model.outputs],
        }
    )


def _configuration(model: Model, request: Request) -> Reply:  # noqa: ARG001  # the signature of an endpoint
    return json_reply(extensions.configuration(model))


def _statistics(models: Sequence[Model], request: Request) -> Reply:  # noqa: ARG001  # the signature of an endpoint
    return json_reply(extensions.statistics(models))


def _check_output(model: Model, name: str) -> None:
    known = [spec.name for spec in model.outputs]
    if name not in known:
        raise SampleError(f"the model has no output {name!r}; its outputs are {', '.join(known)}")


def _server_metadata(request: Request) -> Reply:  # noqa: ARG001  # the signature of an endpoint
    return json_reply({"name": "pytest-edgeai", "version": __version__, "extensions": extensions.EXTENSIONS})


def _upload(request: Request) -> Reply:
    return json_reply({"received_bytes": len(request.body)})


def _download(request: Request) -> Reply:
    fields = dict(one.partition("=")[::2] for one in request.query.split("&"))
    text = fields.get("bytes", "")
    size = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else MAX_PROBE_BYTES + 1
    if size > MAX_PROBE_BYTES:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"say ?bytes=N with N up to {MAX_PROBE_BYTES}")
    whole, rest = divmod(size, len(_ZEROS))
    return Reply(HTTPStatus.OK, [*[_ZEROS] * whole, _ZEROS[:rest]], content_type="application/octet-stream")
