"""A subject model, operators and a backend that take no time: for tests of the plugin in projects of their own.

This file is copied into the temporary projects of tests; faults are asked for by the environment variable TOY_FAULT.
Where TOY_BUILDS names a file, it gets a line for each build. TOY_SPOILS says how many of the first trials of a strategy
the host spoils: {"toy-worse-edge": 1}.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.operators import BuildError, Job, NoParameters, Operator
from pytest_edgeai.serving.limits import whereabouts
from pytest_edgeai.serving.pipeline import Classification, Pipeline
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectModel
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec, TierError, TierState
from pytest_edgeai.wire.client import Answer, RequestError
from pytest_edgeai.wire.timing import Span

HERE = Path(__file__)
CLASSES, WIDTH = 4, 16


def generate(split: Split) -> Sequence[Example]:
    """Vectors whose label is the largest of the first four numbers."""
    generator = np.random.default_rng({"train": 0, "calibration": 1, "validation": 2}[split])
    rows = generator.normal(size=(40, 1, WIDTH)).astype(np.float32)
    return [Example({"x": row}, int(row[0, :CLASSES].argmax())) for row in rows]


def network() -> Any:
    """Nothing here needs torch."""
    raise AssertionError("the network is never asked for")


def subject(name: str) -> SubjectModel:
    """A subject model."""
    return SubjectModel(
        name=name,
        task="the largest of four numbers",
        network=network,
        graph_inputs=("x",),
        examples=ExampleSource("numbers", generate, ()),
        pipeline=Pipeline(None, Classification(k=2)),
        metrics=("top1",),
        libraries=(),
    )


def write_graph(path: Path, *matrices: Array) -> None:
    """A graph that multiplies by matrices, in which one that comes several times is kept once."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    names = ["x", *(f"y{number}" for number in range(1, len(matrices))), "logits"]
    first = {id(matrix): n for n, matrix in reversed([*enumerate(matrices)])}
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[n], f"w{first[id(m)]}"], [names[n + 1]]) for n, m in enumerate(matrices)],
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(matrices[n].astype(np.float32), f"w{n}") for n in sorted(first.values())],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def note_build(job: Job, operator: str) -> None:
    """Leave a line, and take a while where that is asked for."""
    if "TOY_BUILDS" in os.environ:
        with Path(os.environ["TOY_BUILDS"]).open("a", encoding="utf-8") as file:
            file.write(f"{job.subject.name}-{operator}\n")
    if os.environ.get("TOY_FAULT") == "slow":
        time.sleep(1)


def write_deep_graph(path: Path) -> None:
    """A graph of two products, with a rectifier in between, that is always right."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first, second = np.eye(WIDTH), np.eye(WIDTH)[:, :CLASSES]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w0"], ["hidden"]),
            helper.make_node("Softplus", ["hidden"], ["raised"]),
            helper.make_node("MatMul", ["raised", "w1"], ["logits"]),
        ],
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(one.astype(np.float32), f"w{n}") for n, one in enumerate((first, second))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class Plain(Operator[NoParameters]):
    """Exact."""

    name = "identity"

    def build(self, job: Job) -> Mapping[str, Any]:
        """Write a graph that is always right."""
        note_build(job, self.name)
        weights = np.zeros((WIDTH, CLASSES))
        weights[:CLASSES] = np.eye(CLASSES)
        write_graph(job.folder / "model.onnx", weights)
        return {"engine": "onnx"}


class Worse(Operator[NoParameters]):
    """Cannot tell two of the classes apart."""

    name = "worse"
    takes = "graph"

    def build(self, job: Job) -> Mapping[str, Any]:
        """Write a graph that never says 3."""
        note_build(job, self.name)
        if os.environ.get("TOY_FAULT") == "build":
            raise BuildError("the toy is broken: mend it")
        if os.environ.get("TOY_FAULT") == "crash":
            os._exit(9)
        weights = np.zeros((WIDTH, CLASSES))
        weights[: CLASSES - 1, : CLASSES - 1] = np.eye(CLASSES - 1)
        weights[:, CLASSES - 1] = -100 if os.environ.get("TOY_FAULT") != "nan" else np.nan
        write_graph(job.folder / "model.onnx", weights)
        return {"engine": "onnx"}


class Slow(Operator[NoParameters]):
    """As right as the baseline, and a hundred times the work."""

    name = "slow"
    promises_speed = True

    def build(self, job: Job) -> Mapping[str, Any]:
        """Write a graph that goes through wide detours."""
        width = 1024
        detours = [np.eye(WIDTH, width), *(np.eye(width) for _ in range(8)), np.eye(width, CLASSES)]
        write_graph(job.folder / "model.onnx", *detours)
        return {"engine": "onnx"}


class _Client:
    def __init__(self, model: Model) -> None:
        self._model = model

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def infer(self, model: str, inputs: Mapping[str, Array]) -> Answer:
        """Answer from this process."""
        fault = os.environ.get("TOY_FAULT")
        if fault == "request":
            raise RequestError("the toy does not answer")
        if fault == "interrupt":
            raise KeyboardInterrupt
        started = time.perf_counter()
        outputs, spans = self._model.infer(inputs)
        # Milliseconds that requests take, by the name of the model: {"toy-worse": 20}.
        time.sleep(json.loads(os.environ.get("TOY_SLEEP_MS", "{}")).get(model, 0) / 1e3)
        if "TOY_ENERGY" in os.environ:  # the file of a counter, and by how much a request lets it grow
            counter, grows = json.loads(os.environ["TOY_ENERGY"])
            Path(counter).write_text(f"{int(Path(counter).read_text(encoding='utf-8')) + grows}\n", encoding="utf-8")
        if fault == "parity":
            outputs["labels"] = outputs["labels"][:, ::-1]
        latency_s = time.perf_counter() - started
        if fault == "silent":
            return Answer(outputs, latency_s, (Span("exchange", "", latency_s),))
        rest_s = latency_s - sum(span.duration_s for span in spans)
        return Answer(outputs, latency_s, (*spans, Span("transmit", "", rest_s)))


class _Deployment:
    hops = ()
    cores: frozenset[int] = frozenset()

    def __init__(self, order: DeploymentSpec, spoils: bool) -> None:
        self._order = order
        self._spoils = spoils

    @functools.cached_property
    def _model(self) -> Model:
        return Model(self._order.folder, Execution(tier=str(self._order.placement)))

    def client(self) -> Any:
        """A connection."""
        return _Client(self._model)

    def probe(self, hop: object) -> None:
        """There are no links."""

    def states(self) -> tuple[TierState, ...]:
        """Limits that are as they should be."""
        if self._spoils:
            raise TierError(f"the host was busy for {time.perf_counter():.3f} s", cause="host")
        if os.environ.get("TOY_FAULT") == "limits":
            raise TierError("tier edge was given 1 core and has 2")
        unproven = tuple(filter(None, os.environ.get("TOY_UNPROVEN", "").split(",")))
        told = {} if os.environ.get("TOY_FAULT") == "silent" else {"load_s": {"toy": 0.001}}
        here: dict[str, Any] = {}
        if "TOY_ENERGY" in os.environ:
            here = {**whereabouts(), "cpus": [], "threads": 1, "cpu_s": 0.0}
        said = {**told, **here, "digests": {self._order.name: self._model.digests}}
        return (TierState(str(self._order.placement), said, unproven),)

    def reference(self) -> dict[str, dict[str, Any]]:
        """What the fixed computation is said to take: the milliseconds of TOY_REFERENCE_MS, in turn."""
        if "TOY_REFERENCE_MS" not in os.environ:
            return {}
        now_ms, *later = os.environ["TOY_REFERENCE_MS"].split(",")
        os.environ["TOY_REFERENCE_MS"] = ",".join([*later, now_ms])
        run = {"wall_s": float(now_ms) / 1e3, "cpu_s": float(now_ms) / 1e3}
        return {str(self._order.placement): {"runs": 1, "fastest": run, "median": run}}

    def diagnose(self) -> str | None:
        """Why requests fail."""
        return "tier edge was killed by signal 9" if os.environ.get("TOY_FAULT") == "request" else None


class InstantBackend:
    """Runs graphs in this process."""

    name = "instant"

    def __init__(self, site: BackendContext) -> None:
        if os.environ.get("TOY_FAULT") == "backend":
            raise TierError("the toy backend has no tiers")
        self._spoils: dict[str, int] = json.loads(os.environ.get("TOY_SPOILS", "{}"))

    def describe(self) -> str:
        """How it runs tiers."""
        return "in this process"

    @contextlib.contextmanager
    def deploy(self, order: DeploymentSpec) -> Iterator[_Deployment]:
        """Start nothing."""
        if os.environ.get("TOY_FAULT") == f"deploy {order.placement}":
            raise TierError(f"tier {order.placement} was not ready after 60 s")
        strategy = f"{order.name}-{order.placement}"
        left = self._spoils.get(strategy, 0)
        self._spoils[strategy] = left - 1
        if left > 0 and os.environ.get("TOY_FAULT") == "slow to start":
            raise TierError(f"tier {order.placement} was not ready after 60 s", cause="host")
        yield _Deployment(order, left > 0)
