"""Models on disk made ready to answer: `DIR/<name>/model.onnx` with an optional `pipeline.json` beside it.

An artifact in parts has a folder for each (`part_folders`); a tier serves one of them under the artifact's name. A
model without a pipeline takes and gives the graph's own tensors. HTTP is not known here.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.serving.core_lock import CoreLock
from pytest_edgeai.serving.cpu_time import ComputeMeter, CpuUse, thread_numbers
from pytest_edgeai.serving.pipeline import Pipeline, PipelineError, SampleError, TensorSpec
from pytest_edgeai.serving.statistics import ModelStatistics
from pytest_edgeai.wire.protocol import DATATYPES, datatype_of
from pytest_edgeai.wire.timing import Span

GRAPH_NAME = "model.onnx"
_PART = "part"
SessionMode: TypeAlias = Literal["per_deployment", "per_request"]

_ORT_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class ModelError(EdgeAIError, RuntimeError):
    """A model that cannot be loaded; names the file."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How graphs are run.

    Parameters
    ----------
    threads
        Intra-op threads of ONNX Runtime, set explicitly: neither os.cpu_count() nor the affinity knows a quota.
    spinning
        Whether idle threads spin between operators; off where threads share cores.
    compute_scale
        Compute is stretched to this many times its measured duration; 1 leaves it as it is.
    session
        `per_deployment` creates the session once; `per_request` for every request, as the paper's servers did.
    providers
        Execution providers in order of preference.
    falls_back
        Whether those that are not to be had are left out; else that is an error.
    tier
        The place named in spans.
    turns
        Where several nodes share a core, the folder on which they take turns (`CoreLock`); waiting for the turn is part
        of the stretch, and what does not fit into it is the span `wait`.
    """

    threads: int = 1
    spinning: bool = False
    compute_scale: float = 1.0
    session: SessionMode = "per_deployment"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    falls_back: bool = False
    tier: str = ""
    turns: Path | None = None


class Model:
    """One model of the repository, loaded.

    Raises
    ------
    ModelError
        The graph or the pipeline cannot be read, or they do not fit each other.
    """

    def __init__(self, folder: Path, execution: Execution) -> None:
        self.name = folder.name
        self.statistics = ModelStatistics()
        """What became of its requests; counted by whoever answers them."""
        self._folder = folder
        self._execution = execution
        self.pipeline = _read_pipeline(folder)
        threads = thread_numbers()
        self._graph_files = sorted(folder.glob(f"{GRAPH_NAME}*"))  # the graph, and its weights where they are apart
        self._stamps = self._stamp()
        started = time.perf_counter()
        session = self._open()
        self.load_s = time.perf_counter() - started
        self.digests = self._hashed()
        """SHA-256 of the files that were loaded, by name."""
        if self._stamp() != self._stamps:  # else what was hashed is what was loaded
            raise ModelError(f"{folder / GRAPH_NAME} was changed while it was loaded")
        self.providers = tuple(session.get_providers())
        stays = execution.session == "per_deployment"
        alone = self.providers == ("CPUExecutionProvider",)
        self._meter = ComputeMeter(execution.threads, thread_numbers() - threads if stays else (), alone=alone)
        self._graph_inputs = tuple(_spec(argument) for argument in session.get_inputs())
        self._graph_outputs = tuple(_spec(argument) for argument in session.get_outputs())
        self._output_names = [spec.name for spec in self._graph_outputs]
        self._turns = None if execution.turns is None else CoreLock(execution.turns)
        self._session = session if stays else None
        self._check_wiring()
        before, after = self.pipeline.preprocess, self.pipeline.postprocess
        self.inputs = self._graph_inputs if before is None else before.inputs()
        """What a client sends."""
        self.outputs = self._graph_outputs if after is None else after.outputs(self._classes(after.input))
        """What a client gets."""

    def infer(self, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], list[Span]]:
        """Answer one request.

        Returns
        -------
        outputs, spans
            The tensors of `outputs` and what took how long.

        Raises
        ------
        SampleError
            The tensors are not what the model takes.
        ModelError
            The session is created for every request, and could not be.
        """
        _check(tensors, self.inputs)
        with contextlib.nullcontext(0.0) if self._turns is None else self._turns.take() as waited_s:
            clock = _Clock(self._execution.tier)
            session = self._session
            if session is None:
                session = self._open()
                self._check_unchanged()
                clock.lap("load")
            if self.pipeline.preprocess is not None:
                tensors = self.pipeline.preprocess(tensors, self._folder)
                clock.lap("preprocess", clock.own_use())
            begun = self._meter.begin()
            outputs = self._run(session, tensors)
            compute_s = clock.lap("compute", self._meter.end(begun))
        self._stretch(clock, compute_s, waited_s)
        if self.pipeline.postprocess is not None:
            outputs = self.pipeline.postprocess(outputs)
            clock.lap("postprocess")
        return outputs, clock.spans

    def _stretch(self, clock: _Clock, compute_s: float, waited_s: float) -> None:
        """Let pass what is left of the stretch after the wait for the turn; what was waited beyond it is told."""
        stretch_s = (self._execution.compute_scale - 1) * compute_s
        if stretch_s > waited_s:
            time.sleep(stretch_s - waited_s)
        if self._execution.compute_scale > 1 or waited_s:
            clock.lap("stretch", earlier_s=min(waited_s, stretch_s))
        if waited_s > stretch_s:
            clock.spans.append(Span("wait", self._execution.tier, waited_s - stretch_s))

    def _open(self) -> Any:
        options = session_options(self._execution)
        import onnxruntime

        path = self._folder / GRAPH_NAME
        wanted = self._execution.providers
        # ONNX Runtime falls back to the CPU with no more than a warning; a tier measured on the wrong device is
        # worse than one that does not start.
        available = onnxruntime.get_available_providers()
        if self._execution.falls_back:
            wanted = tuple(name for name in wanted if name in available)
        if not set(wanted) <= set(available):
            raise ModelError(f"of the execution providers {', '.join(wanted)} only {', '.join(available)} are here")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=list(wanted))
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's own classes derive from RuntimeError and Exception
            raise ModelError(f"{path} cannot be loaded: {_first_line(error)}") from None
        if not self._execution.falls_back and not set(wanted) <= set(session.get_providers()):
            got = ", ".join(session.get_providers())
            raise ModelError(f"{path} cannot be loaded on {', '.join(wanted)}, only on {got}")
        return session

    def _stamp(self) -> list[tuple[int, ...]]:
        """What changes whenever the graph's files do."""
        stats = [path.stat() for path in self._graph_files]
        return [(one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in stats]

    def _hashed(self) -> dict[str, str]:
        return {path.name: _sha256(path) for path in self._graph_files}

    def _check_unchanged(self) -> None:
        """Refuse files with other content than those that were loaded first."""
        stamps = self._stamp()
        if stamps != self._stamps and self._hashed() != self.digests:
            raise ModelError(f"{self._folder / GRAPH_NAME} was changed after it was loaded")
        self._stamps = stamps

    def _run(self, session: Any, tensors: Mapping[str, Array]) -> dict[str, Array]:
        feeds = {
            spec.name: _text(tensors[spec.name], spec.name) if spec.datatype == "BYTES" else tensors[spec.name]
            for spec in self._graph_inputs
        }
        try:
            values = session.run(self._output_names, feeds)
        except Exception as error:  # noqa: BLE001  # see _open
            # The types were checked, so what is left to be wrong is a shape that the graph cannot work with.
            raise SampleError(f"model {self.name!r} cannot run on these tensors: {_first_line(error)}") from None
        return dict(zip(self._output_names, values, strict=True))

    def _classes(self, logits: str) -> int | None:
        """Return the number of classes, where the graph says it."""
        shape = next(spec.shape for spec in self._graph_outputs if spec.name == logits)
        return shape[-1] if shape and shape[-1] > 0 else None

    def _check_wiring(self) -> None:
        """Find at the start what would fail at every request."""
        for spec in (*self._graph_inputs, *self._graph_outputs):
            if spec.datatype not in DATATYPES:
                raise ModelError(
                    f"{self._folder / GRAPH_NAME}: {spec.name!r} is a {spec.datatype}, which cannot be sent"
                )
        before, after = self.pipeline.preprocess, self.pipeline.postprocess
        names = [spec.name for spec in self._graph_inputs]
        if before is not None and not set(names) <= set(before.produced()):
            made = ", ".join(before.produced())
            raise ModelError(f"{self._folder}: the graph takes {', '.join(names)}, but the pipeline makes {made}")
        if after is not None and after.input not in self._output_names:
            made = ", ".join(self._output_names)
            raise ModelError(f"{self._folder}: the pipeline takes {after.input!r}, but the graph makes {made}")
        if before is not None:
            try:
                before.prepare(self._folder)
            except PipelineError as error:
                raise ModelError(str(error)) from None


def session_options(execution: Execution) -> Any:
    """How ONNX Runtime is to run a graph: on the tier's threads, without telemetry."""
    # What it would report about this machine is nobody's business, and its threads would be in the measurement.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it has to say comes as an exception
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(execution.spinning)))
    return options


def load_repository(repository: Path, execution: Execution) -> dict[str, Model]:
    """Load every model of a repository, by name.

    Raises
    ------
    ModelError
        A model cannot be loaded.
    """
    graphs = sorted(repository.glob(f"*/{GRAPH_NAME}"))
    return {path.parent.name: Model(path.parent, execution) for path in graphs}


def part_folder(artifact: Path, number: int) -> Path:
    """The folder of an artifact's part, from 0, whether it is there or not."""
    return artifact / f"{_PART}{number}"


def part_folders(artifact: Path) -> tuple[Path, ...]:
    """The folders of an artifact's graphs in the order in which they run; the artifact itself where it is whole."""
    numbers = itertools.takewhile(lambda number: part_folder(artifact, number).is_dir(), itertools.count())
    return tuple(part_folder(artifact, number) for number in numbers) or (artifact,)


def infer_chain(parts: Sequence[Model], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Answer one request by the parts of an artifact, one after the other in this process."""
    outputs = dict(tensors)
    for part in parts:
        outputs, _ = part.infer(outputs)
    return outputs


class _Clock:
    """Consecutive spans: each lap begins where the last ended."""

    def __init__(self, place: str) -> None:
        self.spans: list[Span] = []
        self._place = place
        self._last = time.perf_counter()
        self._last_cpu_s = time.thread_time()

    def lap(self, name: Any, use: CpuUse | None = None, earlier_s: float = 0.0) -> float:
        now, now_cpu_s = time.perf_counter(), time.thread_time()
        duration_s, self._last, self._last_cpu_s = now - self._last + earlier_s, now, now_cpu_s
        cpu_s, waited_s, instructions = (None, None, None) if use is None else use
        self.spans.append(Span(name, self._place, duration_s, cpu_s, waited_s, instructions=instructions))
        return duration_s

    def own_use(self) -> CpuUse:
        """What this thread alone has taken of the processor since the last lap."""
        cpu_s = time.thread_time() - self._last_cpu_s
        return CpuUse(cpu_s, max(0.0, time.perf_counter() - self._last - cpu_s))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_pipeline(folder: Path) -> Pipeline:
    try:
        return Pipeline.read(folder) or Pipeline()
    except PipelineError as error:
        raise ModelError(str(error)) from None


def _spec(argument: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    return TensorSpec(argument.name, _ORT_DATATYPES.get(argument.type, argument.type), shape)


def _check(tensors: Mapping[str, Array], specs: tuple[TensorSpec, ...]) -> None:
    """Refuse what the model does not take, in words, before anything runs."""
    for spec in specs:
        tensor = tensors.get(spec.name)
        if tensor is None:
            raise SampleError(f"input {spec.name!r} is missing")
        if tensor.dtype != DATATYPES[spec.datatype]:
            raise SampleError(f"input {spec.name!r} has datatype {datatype_of(tensor)}, not {spec.datatype}")
        if not _fits(tensor.shape, spec.shape):
            raise SampleError(f"input {spec.name!r} has shape {list(tensor.shape)}, not {list(spec.shape)}")
    if len(tensors) > len(specs):
        names = [spec.name for spec in specs]
        unknown = next(name for name in tensors if name not in names)
        raise SampleError(f"the model has no input {unknown!r}; its inputs are {', '.join(names)}")


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    # ONNX Runtime says [] for a scalar and for a graph that leaves the rank open: what to refuse is up to it.
    if not wanted:
        return True
    return len(shape) == len(wanted) and all(map(_is_size, shape, wanted))


def _is_size(size: int, wanted: int) -> bool:
    return wanted in (-1, size)


def _text(tensor: Array, name: str) -> Array:
    """Turn bytes into text for a graph that takes strings: of bytes, ONNX Runtime would take what `repr` says."""
    try:
        texts = [element.decode() for element in tensor.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise SampleError(f"an element of {name!r} is not UTF-8: {error}") from None
    return np.array(texts, dtype=object).reshape(tensor.shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
