"""Operators beside each other: accuracy, size, cost and speed of every operator's artifact of every model.

Artifacts come from the store, or are built now. Speed is that of ONNX Runtime with one thread, a request at a time:
the artifacts of a model take turns, request by request, so that what else the machine does hits all alike.
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
from pathlib import Path
from typing import Any, Final

import onnxruntime

from pytest_edgeai import artifacts
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.chains import with_chains
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.subjects import SubjectModel

MODELS: Final = ("resnet", "resnext", "bert", "roberta")
OPERATORS: Final = ("identity", "sptq", "qat", "pruned", "distilled", "dsptq", "pruned_structured")
BASELINE: Final = "identity"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Parameters
    ----------
    accuracy_percent, drop_pp
        By the model's first metric; below `identity`.
    size_bytes
        Of the graph's file.
    sparsity
        Share of zeros among the weights of convolutions and matrix products.
    macs
        Multiply-accumulates of a request.
    training_samples, cpu_s
        Of all steps of its chain; processor time of the building process, in which one thread works.
    latency_s, ratio
        Median of a request's computing, and its ratio to `identity`'s.
    """

    model: str
    operator: str
    engine: str
    accuracy_percent: float
    drop_pp: float
    size_bytes: int
    sparsity: float
    macs: int
    training_samples: int
    cpu_s: float
    latency_s: float
    ratio: float


def rows(subject: SubjectModel, prepared: Mapping[str, Prepared], rounds: int) -> list[Row]:
    """The rows of a model."""
    latencies_s = measure(subject, prepared, rounds)
    metric = subject.metrics[0]
    baseline = prepared[BASELINE].evaluation.metrics[metric]
    made = []
    for operator, ready in prepared.items():
        entry = ready.artifact.entry
        told, percent = entry.provenance, ready.evaluation.metrics[metric]
        made.append(
            Row(
                subject.name,
                operator,
                told["engine"],
                percent,
                baseline - percent,
                entry.files[GRAPH_NAME],
                told["sparsity"],
                told["macs"],
                told["training_samples"],
                told["cpu_s"],
                latencies_s[operator],
                latencies_s[operator] / latencies_s[BASELINE],
            )
        )
    return made


def measure(subject: SubjectModel, prepared: Mapping[str, Prepared], rounds: int) -> dict[str, float]:
    """Median seconds of a request by operator, in turns."""
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
            started = time.perf_counter()
            session.run(None, feeds[turn % len(feeds)])
            seconds[operator].append(time.perf_counter() - started)
    return {operator: statistics.median(taken[rounds // 10 :]) for operator, taken in seconds.items()}


def table(found: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| model | operator | accuracy | drop | size | sparsity | MACs | trained on | CPU time | latency ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.model} | {row.operator} | {row.accuracy_percent:.1f} % | {row.drop_pp:+.1f} pp "
        f"| {row.size_bytes / 1e6:.2f} MB | {row.sparsity:.1%} | {row.macs / 1e6:.0f} M | {row.training_samples:,} "
        f"| {row.cpu_s:.0f} s | {row.ratio:.2f} |"
        for row in found
    ]
    return "\n".join(lines)


def aims(found: Sequence[Row], cpu_s: float, chosen: Sequence[str]) -> list[tuple[str, bool]]:
    """What is claimed, and whether it holds."""
    ratios = {(row.model, row.operator): row.ratio for row in found}
    drops = {(row.model, row.operator): row.drop_pp for row in found}
    models = list(dict.fromkeys(row.model for row in found))
    said = []
    if {"sptq", "qat"} <= set(chosen):
        closest = [ratios[model, "qat"] / ratios[model, "sptq"] for model in models]
        worst = max(closest, key=lambda value: abs(value - 1))
        said.append((f"qat computes within 15 % of sptq (furthest off: {worst - 1:+.0%})", abs(worst - 1) <= 0.15))
    for operator in ("sptq", "qat", "distilled", "dsptq", "pruned_structured"):
        if operator in chosen:
            slowest = max(ratios[model, operator] for model in models)
            said.append((f"{operator} computes faster than identity (slowest: {slowest:.2f})", slowest < 1))
    if {"distilled", "dsptq"} <= set(chosen):
        faster = all(ratios[model, "dsptq"] < ratios[model, "distilled"] for model in models)
        lossier = all(drops[model, "dsptq"] >= drops[model, "sptq"] for model in models if "sptq" in chosen)
        said.append(("dsptq is faster than distilled and loses no less than sptq, as in the study", faster and lossier))
    largest = max((row.drop_pp for row in found if row.operator != "pruned"), default=0.0)
    said.append((f"none but pruned loses more than 4 points (most: {largest:.1f})", largest <= 4))
    # One thread a process; on two cores, two processes share the work.
    said.append((f"all is built by less than 15 minutes of one core ({cpu_s:.0f} s)", cpu_s < 900))
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing, measure, print the table and whether the aims are met."""
    parser = argparse.ArgumentParser(prog="benchmarks/operators.py", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), metavar="A,B")
    parser.add_argument(
        "--operators", default=",".join(OPERATORS), metavar="A,B", help="chains such as 'distilled>qat', too"
    )
    parser.add_argument("--store", type=Path, default=artifacts.default_root(), help="default: the plugin's")
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
    for model in models:
        ready: dict[str, Any] = {operator: made[model, operator] for operator in chosen}
        failures = {operator: one for operator, one in ready.items() if isinstance(one, Failure)}
        for operator, failure in failures.items():
            print(f"{model}-{operator} could not be made: {failure.sentence}", file=sys.stderr)
        if BASELINE not in failures:
            kept = {operator: one for operator, one in ready.items() if operator not in failures}
            found += rows(subjects[model], kept, options.rounds)
    print(table(found))
    steps = {
        json.dumps(step, sort_keys=True): step["cpu_s"]
        for one in made.values()
        if not isinstance(one, Failure)
        for step in one.artifact.entry.provenance["steps"]
    }
    complete = len(found) == len(wanted)
    said = aims(found, sum(steps.values()), chosen) if complete else []
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
