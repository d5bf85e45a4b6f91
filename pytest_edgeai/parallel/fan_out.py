"""A client of several nodes of a tier: one request goes to all of them at the same time, and their answers become one.

Each node has a connection and a thread of its own, kept from request to request, so that nobody's sending waits for
anybody else's. What is made of the answers is said by the artifact (`pytest_edgeai.parallel.aggregation`).
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from pytest_edgeai.arrays import Array
from pytest_edgeai.parallel.aggregation import Aggregation, AggregationError
from pytest_edgeai.wire.client import Answer, Client, Received, RequestError
from pytest_edgeai.wire.closing import Closing
from pytest_edgeai.wire.protocol import Body
from pytest_edgeai.wire.timing import Span

_END_S = 5.0


class FanOutClient(Closing):
    """Connections to all nodes.

    Of `variants`, whoever has not answered when the deadline is over is left out: its connection is broken off, so that
    a late answer meets nobody, and opened again for the next request. Of `classes`, every answer is needed, and of
    `copies` there is one node a request, in turn.

    Parameters
    ----------
    clients
        To each node, by its name; the order is that of the artifact's nodes. They are closed with this one.
    aggregation
        What is made of the answers.
    """

    def __init__(self, clients: Mapping[str, Client], aggregation: Aggregation) -> None:
        if len(clients) != aggregation.nodes:
            raise ValueError(f"there are {len(clients)} nodes for an artifact of {aggregation.nodes}")
        self._nodes = [_Node(name, client) for name, client in clients.items()]
        self._aggregation = aggregation
        self._turn = itertools.cycle(self._nodes)

    def close(self) -> None:
        """Close the connections, and break off what is still going on over them."""
        for node in self._nodes:
            node.close()

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send one request and wait for the answers that it needs.

        Returns
        -------
        Answer
            Its spans are those of the slowest node that was needed. Encoding, handing the request to the threads and
            decoding are `serialize`; what follows the slowest answer is `aggregate`, with the wait for the deadline
            where a node is missing.

        Raises
        ------
        RequestError
            No node has answered, or not one that is needed; names it.
        """
        if self._aggregation.kind == "copies":
            return next(self._turn).infer(model, inputs)
        started = time.perf_counter()
        asked = _Round(model, self._nodes[0].client.encode(inputs))
        try:
            for number, node in enumerate(self._nodes):
                node.ask(asked, number)
            received, missing = self._collect(asked, started)
        finally:
            asked.over = True
            for node in self._nodes:
                node.abandon(asked)
        try:
            outputs = self._aggregation([None if one is None else one.outputs for one in received])
        except AggregationError as error:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise RequestError(f"{error} ({reasons})" if reasons else str(error)) from None
        ended = time.perf_counter()
        slowest, last = max(
            ((node.name, one) for node, one in zip(self._nodes, received, strict=True) if one is not None),
            key=lambda one: one[1].ended_at,
        )
        own = (
            Span("serialize", self._nodes[0].client.place, last.ended_at - started - last.exchange_s),
            Span("aggregate", self._nodes[0].client.place, ended - last.ended_at),
        )
        spans = (*last.spans[:-1], *own, last.spans[-1])
        return Answer(outputs, ended - started, spans, slowest, missing, last.late_s)

    def _collect(self, asked: _Round, started: float) -> tuple[list[Received | None], dict[str, str]]:
        """Wait for answers: all that are needed, or what comes before the deadline."""
        received: list[Received | None] = [None] * len(self._nodes)
        failed: dict[int, str] = {}
        deadline = None if self._aggregation.all_needed else started + self._aggregation.deadline_s
        for _ in self._nodes:
            try:
                left_s = None if deadline is None else max(0.0, deadline - time.perf_counter())
                number, result = asked.results.get(timeout=left_s)
            except queue.Empty:
                break
            if isinstance(result, Received):
                received[number] = result
            elif isinstance(result, RequestError):
                failed[number] = str(result)
                if self._aggregation.all_needed:
                    raise RequestError(f"node {self._nodes[number].name} is needed and has not answered: {result}")
            else:
                raise result
        late = f"no answer within the deadline of {self._aggregation.deadline_s:g} s"
        return received, {
            node.name: failed.get(number, late) for number, node in enumerate(self._nodes) if received[number] is None
        }

    def infer_all(self, model: str, requests: Sequence[Mapping[str, Array]]) -> tuple[list[Answer], float]:
        """Send many requests, one in flight to each node: whoever is free takes the next. Of copies only.

        Returns
        -------
        answers, elapsed_s
            In the order of the requests, and how long all of them took.

        Raises
        ------
        RequestError
            A request has no answer.
        """
        if self._aggregation.kind != "copies":
            raise ValueError(f"nodes that are {self._aggregation.kind} all work on the same request")
        waiting = iter(enumerate(requests))
        taking = threading.Lock()
        answers: dict[int, Answer] = {}

        def work(node: _Node) -> None:
            while True:
                with taking:
                    taken = next(waiting, None)
                if taken is None:
                    return
                answers[taken[0]] = node.infer(model, taken[1])

        started = time.perf_counter()
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            for done in [pool.submit(work, node) for node in self._nodes]:
                done.result()
        return [answers[number] for number in range(len(requests))], time.perf_counter() - started


@dataclass(eq=False, slots=True)
class _Round:
    """A request to all nodes, and what has come of it."""

    model: str
    body: Body
    results: queue.SimpleQueue[tuple[int, Received | BaseException]] = field(default_factory=queue.SimpleQueue)
    over: bool = False


class _Node:
    """A connection with a thread that sends what it is given."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self._given: queue.SimpleQueue[tuple[_Round, int] | None] = queue.SimpleQueue()
        self._busy_with: _Round | None = None
        self._thread: threading.Thread | None = None

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Send a request for this node alone."""
        try:
            return replace(self.client.infer(model, inputs), slowest=self.name)
        except RequestError as error:
            raise RequestError(f"node {self.name} has not answered: {error}") from None

    def ask(self, asked: _Round, number: int) -> None:
        """Have the thread send a request; what comes of it is among its results, with this number."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        if self._busy_with is not None:  # with a request that was over before it was sent
            self.client.abandon()
        self._given.put((asked, number))

    def abandon(self, asked: _Round) -> None:
        """Break off the exchange if it is that of a request that is over."""
        if self._busy_with is asked:
            self.client.abandon()

    def close(self) -> None:
        """Close the connection and end the thread."""
        if self._thread is not None:
            if self._busy_with is not None:
                self.client.abandon()
            self._given.put(None)
            self._thread.join(_END_S)
        self.client.close()

    def _work(self) -> None:
        while (given := self._given.get()) is not None:
            asked, number = given
            if asked.over:  # it waited behind one that could not be broken off
                continue
            self._busy_with = asked
            result: Received | BaseException
            try:
                result = self.client.send(asked.model, asked.body)
            except BaseException as error:  # noqa: BLE001  # it is raised in the thread that waits
                result = error
            self._busy_with = None
            asked.results.put((number, result))
