"""Operators beside each other: accuracy, size, cost and speed of every operator's artifact of every model.

Artifacts come from the store, or are built now. Speed is that of ONNX Runtime with one thread, a request at a time:
the artifacts of a model take turns, request by request, so that what else the machine does hits all alike, and time
is that of the computing thread, without waiting for a core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import onnxruntime

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.chains import with_chains
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.stats import AccuracyDrop, ratio_drop
from pytest_edgeai.store import default_root
from pytest_edgeai.subjects import SubjectModel

MODELS: Final = ("resnet", "resnext", "bert", "roberta")
OPERATORS: Final = ("identity", "sptq", "qat", "pruned", "distilled", "dsptq", "pruned_structured")
BASELINE: Final = "identity"
STUDYS_ORDER: Final = ("identity", "sptq", "distilled", "dsptq")
"""In which the study's accuracies fall, of all its models."""
CLOSE: Final = 0.15
MOST_LOST_PP: Final = 4
CORES: Final = 2
BUILT_WITHIN_S: Final = 15 * 60


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Parameters
    ----------
    accuracy_percent, drop_pp, drop_low_pp, drop_high_pp
        By the model's first metric; below `identity`, with the 95 % bootstrap interval over validation samples.
    size_bytes
        Of the graph's file.
    sparsity
        Share of zeros among the weights of convolutions and matrix products.
    macs
        Multiply-accumulates of a request.
    training_samples, build_s, cpu_s
        Of all steps of its chain; by the wall's clock, and processor time of the building process, in which one thread
        works.
    latency_s, ratio
        Median of a request's computing by the thread's clock, and its ratio to `identity`'s.
    """

    model: str
    operator: str
    engine: str
    accuracy_percent: float
    drop_pp: float
    drop_low_pp: float
    drop_high_pp: float
    size_bytes: int
    sparsity: float
    macs: int
    training_samples: int
    build_s: float
    cpu_s: float
    latency_s: float
    ratio: float


def rows(subject: SubjectModel, prepared: Mapping[str, Prepared], rounds: int) -> list[Row]:
    """The rows of a model."""
    latencies_s = measure(subject, prepared, rounds)
    made = []
    for operator, ready in prepared.items():
        entry = ready.artifact.entry
        told, lost = entry.provenance, drop(prepared[BASELINE], ready)
        made.append(
            Row(
                subject.name,
                operator,
                told["engine"],
                ready.evaluation.first.value,
                lost.drop,
                lost.low,
                lost.high,
                entry.files[GRAPH_NAME],
                told["sparsity"],
                told["macs"],
                told["training_samples"],
                told["build_s"],
                told["cpu_s"],
                latencies_s[operator],
                latencies_s[operator] / latencies_s[BASELINE],
            )
        )
    return made


def drop(before: Prepared, after: Prepared) -> AccuracyDrop:
    """By how much one artifact is less accurate than another, on the same samples."""
    was, now = before.evaluation.first.parts, after.evaluation.first.parts
    assert was is not None
    assert now is not None
    return ratio_drop(was, now)


def measure(subject: SubjectModel, prepared: Mapping[str, Prepared], rounds: int) -> dict[str, float]:
    """Median seconds of a request by operator, in turns.

    By the clock of the thread that computes, and there is no other: what a request takes on a core that it has for
    itself. Waiting for a core that others use would lengthen long requests more than short ones.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    sessions = {}
    for operator, ready in prepared.items():
        path = ready.artifact.entry.folder / GRAPH_NAME
        sessions[operator] = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    validation = next(iter(prepared.values())).validation
    folder = prepared[BASELINE].artifact.entry.folder
    step = subject.pipeline.preprocess
    feeds = []
    for number in validation.largest(10):
        inputs = validation.batch([number])
        feeds.append(inputs if step is None else step(inputs, folder))
    seconds: dict[str, list[float]] = {operator: [] for operator in sessions}
    for turn in range(rounds):
        for operator, session in sessions.items():
            started = time.thread_time()
            session.run(None, feeds[turn % len(feeds)])
            seconds[operator].append(time.thread_time() - started)
    return {operator: statistics.median(taken[rounds // 10 :]) for operator, taken in seconds.items()}


def table(found: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| model | operator | accuracy | drop [95 %] | size | sparsity | MACs | trained on "
        "| build | CPU | latency ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.model} | {row.operator} | {row.accuracy_percent:.1f} % "
        f"| {row.drop_pp:+.1f} [{row.drop_low_pp:+.1f}, {row.drop_high_pp:+.1f}] pp "
        f"| {row.size_bytes / 1e6:.2f} MB | {row.sparsity:.1%} | {row.macs / 1e6:.0f} M | {row.training_samples:,} "
        f"| {row.build_s:.0f} s | {row.cpu_s:.0f} s | {row.ratio:.2f} |"
        for row in found
    ]
    return "\n".join(lines)


def in_order(subject: SubjectModel, prepared: Mapping[str, Prepared]) -> str:
    """Where an artifact is more accurate, beyond doubt, than one that is more accurate in the study; or nothing.

    Beyond doubt is where the whole bootstrap interval of the drop from one to the other is below zero: two artifacts of
    a small model may well be as accurate.
    """
    there = [operator for operator in STUDYS_ORDER if operator in prepared]
    for first, second in pairwise(there):
        found = drop(prepared[first], prepared[second])
        if found.high < 0:
            return f"{subject.name}: {second} gains {-found.drop:.1f} points over {first}"
    return ""


def aims(found: Sequence[Row], disorder: Sequence[str], cpu_s: float, chosen: Sequence[str]) -> list[tuple[str, bool]]:
    """What is claimed, and whether it holds."""
    ratios = {(row.model, row.operator): row.ratio for row in found}
    models = list(dict.fromkeys(row.model for row in found))
    said = []
    if {"sptq", "qat"} <= set(chosen):
        closest = [ratios[model, "qat"] / ratios[model, "sptq"] for model in models]
        worst = max(closest, key=lambda value: abs(value - 1))
        close = abs(worst - 1) <= CLOSE
        said.append((f"qat computes within {CLOSE:.0%} of sptq's time (furthest off: {worst - 1:+.0%})", close))
    for operator in ("sptq", "qat", "distilled", "dsptq", "pruned_structured"):
        if operator in chosen:
            slowest = max(ratios[model, operator] for model in models)
            said.append((f"{operator} computes faster than identity (slowest: {slowest:.2f})", slowest < 1))
    if {"distilled", "dsptq"} <= set(chosen):
        before = [one for one in ("distilled", "sptq") if one in chosen]
        slower = [
            f"{model}: dsptq takes {ratios[model, 'dsptq'] / ratios[model, one]:.2f} of {one}'s time"
            for model in models
            for one in before
            if ratios[model, "dsptq"] >= ratios[model, one]
        ]
        said.append((_but("dsptq computes faster than distilled and than sptq", slower), not slower))
        order = ", ".join(one for one in STUDYS_ORDER if one in chosen)
        said.append((_but(f"the study's order of accuracies is not reversed: {order}", disorder), not disorder))
    largest = max(row.drop_pp for row in found)
    said.append((f"none loses more than {MOST_LOST_PP} points (most: {largest:.1f})", largest <= MOST_LOST_PP))
    # One thread a process: it is what the cores share among as many workers.
    within = cpu_s < CORES * BUILT_WITHIN_S
    said.append(
        (f"all is built in less than {BUILT_WITHIN_S / 60:.0f} minutes of {CORES} cores ({cpu_s:.0f} s of one)", within)
    )
    return said


def _but(claim: str, exceptions: Sequence[str]) -> str:
    return f"{claim} (but {'; '.join(exceptions)})" if exceptions else claim


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing, measure, print the table and whether the aims are met."""
    parser = argparse.ArgumentParser(prog="benchmarks/operators.py", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), metavar="A,B")
    parser.add_argument(
        "--operators", default=",".join(OPERATORS), metavar="A,B", help="chains such as 'distilled>qat', too"
    )
    parser.add_argument("--store", type=Path, default=default_root(), help="default: the plugin's")
    parser.add_argument("--rounds", type=int, default=300, help="requests an artifact")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    models, chosen = options.models.split(","), tuple(dict.fromkeys([BASELINE, *options.operators.split(",")]))
    subjects: dict[str, SubjectModel] = {name: import_module(f"models.{name}").SUBJECT for name in models}
    operators = with_chains(registry.instantiate(registry.merged([]), {}), chosen)
    plan = Plan(options.store, subjects, operators, this_host())
    wanted = [(model, operator) for model in models for operator in chosen]
    started = time.perf_counter()
    made = prepare_all(plan, wanted, _say)
    prepared_s = time.perf_counter() - started
    found: list[Row] = []
    disorder: list[str] = []
    for model in models:
        ready: dict[str, Any] = {operator: made[model, operator] for operator in chosen}
        failures = {operator: one for operator, one in ready.items() if isinstance(one, Failure)}
        for operator, failure in failures.items():
            print(f"{model}-{operator} could not be made: {failure.sentence}", file=sys.stderr)
        if BASELINE not in failures:
            kept = {operator: one for operator, one in ready.items() if operator not in failures}
            found += rows(subjects[model], kept, options.rounds)
            disorder += filter(None, [in_order(subjects[model], kept)])
    print(table(found))
    steps = {
        json.dumps(step, sort_keys=True): step["cpu_s"]
        for one in made.values()
        if not isinstance(one, Failure)
        for step in one.artifact.entry.provenance["steps"]
    }
    complete = len(found) == len(wanted)
    said = aims(found, disorder, sum(steps.values()), chosen) if complete else []
    print(f"\nmade ready in {prepared_s:.0f} s")
    for sentence, met in said:
        print(f"{'met' if met else 'NOT MET'}: {sentence}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n", encoding="utf-8")
    return 0 if complete and all(met for _, met in said) else 1


def _say(progress: Progress) -> None:
    if progress.done or progress.note:
        name = "-".join(progress.wanted)
        print(
            f"{progress.number} of {progress.total}, {name}: {progress.note or progress.failure or progress.stage} "
            f"after {progress.elapsed_s:.0f} s",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
