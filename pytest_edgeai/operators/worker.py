"""Artifacts built in a process of their own, so that torch and what it does to a process stay out of the measuring one.

The process is started for the first artifact that the store lacks and used for all of them.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from pytest_edgeai.operators import BuildError
from pytest_edgeai.subjects import SubjectError

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

    def find(self, model: str, operator: str) -> T_co | None:
        """What is ready; nothing is built and no heavy library imported."""

    def prepare(self, model: str, operator: str, stage: Callable[[str], None], note: Callable[[str], None]) -> object:
        """Make it ready, so that `find` has it."""


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


def prepare_all(
    plan: Preparing[T], wanted: Sequence[Wanted], report: Callable[[Progress], None]
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
    others = set(active_children())
    pool: ProcessPoolExecutor | None = None
    messages: _Messages = get_context("spawn").SimpleQueue()
    try:
        for number, one in enumerate(missing, start=1):
            if pool is None:
                pool = _start(messages)

            tell = _Teller(report, one, number, len(missing), time.perf_counter())
            result = _run(pool, messages, plan, one, tell)
            if isinstance(result, Failure):
                tell("failed", done=True, failure=result.sentence)
            else:
                tell("ready", done=True)
            if isinstance(result, _Crash):
                pool.shutdown(wait=False)
                pool = None
            results[one] = result
    except BaseException:
        for process in set(active_children()) - others:  # the executor would wait for the build to end
            process.terminate()
        raise
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
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


@dataclass(frozen=True, slots=True)
class _Crash(Failure):
    """The worker itself is gone."""


def _run(pool: ProcessPoolExecutor, messages: _Messages, plan: Preparing[T], one: Wanted, tell: _Teller) -> T | Failure:
    stage = "starting"
    tell(stage)
    try:
        future: Future[str | None] = pool.submit(_work, plan, one)
        while not wait([future], timeout=_TICK_S).done:
            for kind, text in _drain(messages):
                if kind == "stage":
                    stage = text
                else:
                    tell(stage, note=text)
            tell(stage)
        for kind, text in _drain(messages):
            if kind == "note":
                tell(stage, note=text)
        sentence = future.result()
    except BrokenProcessPool:
        return _Crash(f"the process that built it ended while {stage} (out of memory?)")
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


def _start(messages: _Messages) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_initialize, initargs=(messages,))


def _drain(messages: _Messages) -> Iterator[tuple[str, str]]:
    while not messages.empty():
        yield messages.get()


# In the worker

_to_parent: Any = None


def _initialize(messages: _Messages) -> None:
    global _to_parent  # the executor offers no other way to hand it to _work
    _to_parent = messages
    # Waiting OpenMP threads that spin make training up to ten times slower when anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _work(plan: Preparing[Any], one: Wanted) -> str | None:
    """Prepare one artifact with everything its libraries print in a log; what went wrong in a sentence, or None."""
    log = plan.store_root / "logs" / f"{'-'.join(one)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with _logged(log):
        try:
            plan.prepare(
                *one, lambda text: _to_parent.put(("stage", text)), lambda text: _to_parent.put(("note", text))
            )
        except (BuildError, SubjectError) as error:
            traceback.print_exc()
            return str(error)
        except ModuleNotFoundError as error:
            traceback.print_exc()
            return f"it needs {error.name}, which is not installed: pip install 'pytest-edgeai[operators]'"
        except Exception as error:  # noqa: BLE001  # libraries raise what they like; the log has the whole story
            traceback.print_exc()
            return f"{type(error).__name__}: {error} (log: {log})"
    return None


class _logged:  # noqa: N801  # a context manager in the manner of contextlib's
    """Send file descriptors 1 and 2 to a file, which catches native libraries, too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._saved = [os.dup(1), os.dup(2)]
        with self._path.open("wb") as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)

    def __exit__(self, *exception: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
