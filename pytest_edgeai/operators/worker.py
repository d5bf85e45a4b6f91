"""Artifacts built in a process of their own, so that torch and what it does to a process stay out of the measuring one.

The process is started for the first artifact that the store lacks and used for all of them. It ends with the process
that started it, also when that one is killed, and is ended when it gives no sign of progress for too long.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from pytest_edgeai import scratch
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.operators.extras import installing
from pytest_edgeai.operators.idleness import Watch, cpu_time_s, kill

Wanted: TypeAlias = tuple[str, str]
"""Model and operator."""

_Messages: TypeAlias = "SimpleQueue[tuple[str, str]]"
_TICK_S = 0.5

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Preparing(Protocol[T_co]):
    """How something is made ready for a model and an operator: `pytest_edgeai.operators.preparation.Plan` does."""

    @property
    def store_root(self) -> Path:
        """The store's folder."""

    @property
    def build_idle_s(self) -> float:
        """How long the process that builds may give no sign of progress."""

    def find(self, model: str, operator: str) -> T_co | None:
        """What is ready; nothing is built and no heavy library imported."""

    def prepare(self, model: str, operator: str, stage: Callable[[str], None], note: Callable[[str], None]) -> object:
        """Make it ready, so that `find` has it."""

    def starts_from(self, wanted: Wanted, other: Wanted) -> bool:
        """Whether it cannot be made ready where another one cannot be."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is going on.

    Parameters
    ----------
    wanted
        The artifact at work.
    number, total
        Its place among those that the store lacks.
    stage
        What is being done, in a word or two.
    elapsed_s
        Since the artifact was begun.
    note
        A sentence for the user, or empty.
    done
        Whether the artifact is ready or has failed.
    failure
        Why it has failed, or empty.
    """

    wanted: Wanted
    number: int
    total: int
    stage: str
    elapsed_s: float
    note: str = ""
    done: bool = False
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an artifact could not be made, in a sentence."""

    sentence: str


def unmade(artifact: Wanted) -> str:
    """How an artifact that could not be made is referred to; the reason is told in one place."""
    return f"artifact {'-'.join(artifact)} could not be made"


def prepare_all(
    plan: Preparing[T],
    wanted: Sequence[Wanted],
    report: Callable[[Progress], None],
    failed: Iterable[Wanted] = (),
) -> dict[Wanted, T | Failure]:
    """Make artifacts ready.

    Parameters
    ----------
    plan
        What there can be.
    wanted
        Models and operators, without repeats.
    report
        Is told about progress, a few times a second while something is built and never otherwise.
    failed
        What could not be made before: what starts from it is not tried.

    Returns
    -------
    dict
        What the plan finds then (an artifact with its evaluation), or the failure, for each that is wanted.
    """
    results: dict[Wanted, T | Failure] = {}
    missing = []
    for one in wanted:
        prepared = plan.find(*one)
        if prepared is None:
            missing.append(one)
        else:
            results[one] = prepared
    broken = list(failed)
    builder = _Builder(plan.build_idle_s)
    try:
        for number, one in enumerate(missing, start=1):
            tell = _Teller(report, one, number, len(missing), time.perf_counter())
            base = next((other for other in broken if plan.starts_from(one, other)), None)
            result = builder.prepare(plan, one, tell) if base is None else Failure(unmade(base))
            if isinstance(result, Failure):
                broken.append(one)
                tell("failed", done=True, failure=result.sentence)
            else:
                tell("ready", done=True)
            results[one] = result
    except BaseException:
        builder.kill()  # the executor would wait for the build to end
        raise
    finally:
        builder.close()
    return results


@dataclass(frozen=True, slots=True)
class _Teller:
    """Reports progress of one artifact."""

    report: Callable[[Progress], None]
    wanted: Wanted
    number: int
    total: int
    begun: float

    def __call__(self, stage: str, *, note: str = "", done: bool = False, failure: str = "") -> None:
        elapsed_s = time.perf_counter() - self.begun
        self.report(Progress(self.wanted, self.number, self.total, stage, elapsed_s, note, done, failure))


class _Builder:
    """The process that builds: started when there is something to build, and again after it has ended."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._others = set(active_children())
        self._pool: ProcessPoolExecutor | None = None
        self._messages: _Messages = get_context("spawn").SimpleQueue()

    def prepare(self, plan: Preparing[T], one: Wanted, tell: _Teller) -> T | Failure:
        """Make an artifact ready."""
        stage = "starting"
        tell(stage)
        try:
            future: Future[str | None] = self._started().submit(_work, plan, one)
            watch = Watch(self._idle_s, time.monotonic())
            while not wait([future], timeout=_TICK_S).done:
                spoke = False
                for kind, text in _drain(self._messages):
                    spoke = True
                    if kind == "stage":
                        stage = text
                    else:
                        tell(stage, note=text)
                tell(stage)
                if watch.is_idle(time.monotonic(), spoke=spoke, cpu_s=cpu_time_s(self._pids())):
                    self.kill()
                    return Failure(
                        f"the process that built it gave no sign of progress for {self._idle_s:g} s (last stage: "
                        f"{stage}) and was ended: build_idle_s in the settings says how long it may be silent and use "
                        "no processor"
                    )
            for kind, text in _drain(self._messages):
                if kind == "note":
                    tell(stage, note=text)
            sentence = future.result()
        except BrokenProcessPool:
            self.kill()
            return Failure(f"the process that built it ended while {stage} (out of memory?)")
        except Exception as error:  # noqa: BLE001  # an object that cannot be sent to the worker, whatever it is
            return Failure(
                f"it cannot be sent to the process that builds: {error}; subject models and operators must be made of "
                "functions and classes at the top of an importable module"
            )
        if sentence is not None:
            return Failure(sentence)
        prepared = plan.find(*one)
        if prepared is None:
            return Failure("it was built but is not found again: a source file changed meanwhile, or the store")
        return prepared

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        kill(self._pids())
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        # One that was killed while it wrote may have left half a message, or the lock of the queue.
        self._messages = get_context("spawn").SimpleQueue()

    def close(self) -> None:
        """Let the process end."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_initialize, initargs=(self._messages,))
        return self._pool

    def _pids(self) -> list[int]:
        return [process.pid for process in set(active_children()) - self._others if process.pid is not None]


def _drain(messages: _Messages) -> Iterator[tuple[str, str]]:
    while not messages.empty():
        yield messages.get()


# In the worker

_to_parent: Any = None


def _initialize(messages: _Messages) -> None:
    global _to_parent  # the executor offers no other way to hand it to _work
    _to_parent = messages
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Imports and traced graphs are millions of objects that stay: the usual thresholds cost a tenth of a build.
    gc.set_threshold(50_000, 20, 20)
    scratch.sweep()
    # Waiting OpenMP threads that spin make training up to ten times slower when anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _end_with_parent() -> None:
    """End this process when the one that started it does, also when that one is killed: it would hold locks."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(plan: Preparing[Any], one: Wanted) -> str | None:
    """Prepare one artifact with everything its libraries print in a log; what went wrong in a sentence, or None."""
    log = plan.store_root / "logs" / f"{'-'.join(one)}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        logged = _logged(log)
    except OSError as error:
        return f"the log {log} cannot be written: {error.strerror}"
    with logged:
        try:
            plan.prepare(
                *one, lambda text: _to_parent.put(("stage", text)), lambda text: _to_parent.put(("note", text))
            )
        except EdgeAIError as error:
            traceback.print_exc()
            return str(error)
        except ModuleNotFoundError as error:
            traceback.print_exc()
            return f"it needs {error.name}, which is not installed: {installing(error.name or '')}"
        except Exception as error:  # noqa: BLE001  # libraries raise what they like; the log has the whole story
            traceback.print_exc()
            return f"{type(error).__name__}: {error} (log: {log})"
    return None


class _logged:  # noqa: N801  # a context manager in the manner of contextlib's
    """Send file descriptors 1 and 2 to a file, which catches native libraries, too."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def __enter__(self) -> None:
        self._saved = [os.dup(1), os.dup(2)]
        with self._file as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)

    def __exit__(self, *exception: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
