"""The pipeline of an artifact at the client, for servers that have the graph alone: it is part of each request."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.pipeline import Pipeline, SampleError
from pytest_edgeai.wire.client import Answer, RequestError, Requests
from pytest_edgeai.wire.timing import Span


class ClientPipeline(AbstractContextManager["ClientPipeline"]):
    """Requests to a graph, with the steps around it before they are sent and after they are answered.

    Parameters
    ----------
    requests
        To the graph; closed with this.
    pipeline
        The steps; they have been prepared.
    folder
        The artifact, with the files that the steps need.
    place
        The tier that the client sits with, where the steps run.
    inputs
        The tensors that the server's model takes, or None where it does not say.
    """

    def __init__(
        self, requests: Requests, pipeline: Pipeline, folder: Path, place: str, inputs: Collection[str] | None = None
    ) -> None:
        self._requests = requests
        self._pipeline = pipeline
        self._folder = folder
        self._place = place
        self._inputs = inputs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.__exit__(kind, error, trace)

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Process the inputs, send one request, and process its answer; the latency is of all three.

        Raises
        ------
        RequestError
            There is no answer, it is an error, or it lacks what post-processing takes; or a step cannot process what
            it gets.
        """
        started, started_cpu_s = time.perf_counter(), time.thread_time()
        before: tuple[Span, ...] = ()
        tensors = self._graph_inputs(inputs)
        if self._pipeline.preprocess is not None:
            duration_s, cpu_s = time.perf_counter() - started, time.thread_time() - started_cpu_s
            before = (Span("preprocess", self._place, duration_s, cpu_s, max(0.0, duration_s - cpu_s)),)
        answer = self._requests.infer(model, tensors)
        outputs = self._client_outputs(answer.outputs)
        latency_s = time.perf_counter() - started
        rest_s = latency_s - answer.latency_s - sum(span.duration_s for span in before)
        after = () if self._pipeline.postprocess is None else (Span("postprocess", self._place, rest_s),)
        # What the exchange took stays the last: what another clock saw of the request beyond this belongs to it.
        *told, exchange = answer.spans
        if not after:
            exchange = replace(exchange, duration_s=exchange.duration_s + rest_s)
        return replace(answer, outputs=outputs, latency_s=latency_s, spans=(*before, *told, *after, exchange))

    def _graph_inputs(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The tensors that the server's model takes."""
        tensors = inputs
        if self._pipeline.preprocess is not None:
            try:
                tensors = self._pipeline.preprocess(inputs, self._folder)
            except SampleError as error:
                raise RequestError(f"pre-processing at the client: {error}") from None
        if self._inputs is None:
            return tensors
        lacking = [name for name in self._inputs if name not in tensors]
        if lacking:
            raise RequestError(f"the server's model takes {', '.join(lacking)}, and there are {', '.join(tensors)}")
        return {name: tensors[name] for name in self._inputs}

    def _client_outputs(self, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a client would get of a server that runs the pipeline."""
        after = self._pipeline.postprocess
        if after is None:
            return outputs
        if after.input not in outputs:
            raise RequestError(
                f"the answer has no {after.input!r}, which post-processing takes; it has {', '.join(outputs) or 'none'}"
            )
        try:
            return after(outputs)
        except SampleError as error:
            raise RequestError(f"post-processing at the client: {error}") from None
