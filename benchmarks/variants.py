"""Variants and groups of classes beside the whole model: speed, size, and what is right where nodes are missing.

Artifacts come from the store, or are built now. Speed is that of ONNX Runtime with one thread, a request at a time: the
whole model and all nodes take turns, request by request, so that what else the machine does hits all alike. Accuracy is
computed from the nodes' answers to the validation samples by what the receiver makes of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.parallel.aggregation import Aggregation, AggregationError
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.store import default_root
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.metrics import Metric, metric_of
from pytest_edgeai.subjects.predictions import Predictions

MODELS: Final = ("mobilenet", "resnet")
BASELINE: Final = "identity"
OPERATORS: Final = ("variants", "class_parallel")
_PAPERS_SPEEDUP: Final = 2.5  # the least of the paper's abstract
_PAPERS_MACS_GAIN: Final = 4.3  # the least of the paper's abstract


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node beside the whole model.

    Parameters
    ----------
    response_s, compute_s
        Medians of a request with its pre- and post-processing, and of the graph alone.
    speedup, compute_speedup
        The whole model's over these.
    macs_gain, parameters_gain
        How many times fewer there are than in the whole model.
    accuracy_percent
        Of the node by itself; None where its answer alone is none.
    """

    model: str
    operator: str
    node: int
    response_s: float
    compute_s: float
    speedup: float
    compute_speedup: float
    macs: int
    macs_gain: float
    parameters: int
    parameters_gain: float
    accuracy_percent: float | None


@dataclass(frozen=True, slots=True)
class Combination:
    """Some of an artifact's nodes.

    Parameters
    ----------
    macs
        Of all of them together.
    accuracy_percent
        Of what the receiver makes of their answers; None where that is no answer.
    """

    model: str
    operator: str
    nodes: tuple[int, ...]
    macs: int
    accuracy_percent: float | None


@dataclass(frozen=True, slots=True)
class Answers:
    """What an artifact's nodes answer to the validation samples, in one batch a node."""

    aggregation: Aggregation
    by_node: Sequence[Mapping[str, Array]]
    truth: Array
    metric: Metric

    def percent(self, chosen: Sequence[int]) -> float | None:
        """Accuracy where only some nodes answer; None where that makes no answer."""
        arrived = [answer if number in chosen else None for number, answer in enumerate(self.by_node)]
        try:
            ranked = self.aggregation(arrived)["labels"]
        except AggregationError:
            return None
        return self.metric.score(Predictions({"labels": ranked}, has_classes=True), self.truth)


def answers(subject: SubjectModel, prepared: Prepared) -> Answers:
    """Ask all nodes of an artifact."""
    folder = prepared.artifact.entry.folder
    by_node = []
    for one in node_folders(folder):
        model = Model(one, Execution())
        told = [model.infer(sample.inputs)[0] for sample in prepared.validation]
        by_node.append({name: np.concatenate([answer[name] for answer in told]) for name in told[0]})
    return Answers(Aggregation.read(folder), by_node, prepared.validation.labels, metric_of(subject.metrics[0]))


def combinations(prepared: Prepared, told: Answers) -> list[Combination]:
    """Every combination of an artifact's nodes."""
    macs = [node["macs"] for node in prepared.artifact.entry.provenance["nodes"]]
    numbers = range(len(macs))
    chosen = (some for count in numbers for some in itertools.combinations(numbers, count + 1))
    artifact = prepared.artifact
    return [
        Combination(artifact.model, artifact.operator, some, sum(macs[one] for one in some), told.percent(some))
        for some in chosen
    ]


def node_rows(made: Mapping[str, Prepared], told: Mapping[str, Answers], rounds: int) -> list[NodeRow]:
    """The nodes of a model's artifacts beside the whole model."""
    baseline = made[BASELINE]
    graphs = {(BASELINE, 0): Model(baseline.artifact.entry.folder, Execution())}
    for operator in told:
        for number, folder in enumerate(node_folders(made[operator].artifact.entry.folder)):
            graphs[operator, number] = Model(folder, Execution())
    validation = baseline.validation
    inputs = [validation[number].inputs for number in validation.largest(10)]
    seconds: dict[tuple[str, int], list[tuple[float, float]]] = {key: [] for key in graphs}
    for turn in range(rounds + rounds // 10):
        for key, model in graphs.items():
            _, spans = model.infer(inputs[turn % len(inputs)])
            taken = {span.name: span.duration_s for span in spans}
            if turn >= rounds // 10:
                seconds[key].append((sum(taken.values()), taken["compute"]))
    medians = {key: tuple(map(statistics.median, zip(*taken, strict=True))) for key, taken in seconds.items()}
    whole, counted = medians[BASELINE, 0], baseline.artifact.entry.provenance
    rows = []
    for operator, one in told.items():
        for number, node in enumerate(made[operator].artifact.entry.provenance["nodes"]):
            response_s, compute_s = medians[operator, number]
            rows.append(
                NodeRow(
                    baseline.artifact.model,
                    operator,
                    number,
                    response_s,
                    compute_s,
                    whole[0] / response_s,
                    whole[1] / compute_s,
                    node["macs"],
                    counted["macs"] / node["macs"],
                    node["parameters"],
                    counted["parameters"] / node["parameters"],
                    one.percent((number,)),
                )
            )
    return rows


def node_table(rows: Sequence[NodeRow]) -> str:
    """Markdown: a row for each node."""
    lines = [
        "| model | operator | node | response | speedup | compute speedup | MACs gain | parameters gain | alone |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.model} | {row.operator} | {row.node} | {1e3 * row.response_s:.2f} ms | {row.speedup:.1f} "
        f"| {row.compute_speedup:.1f} | {row.macs_gain:.1f} | {row.parameters_gain:.1f} "
        f"| {_percent(row.accuracy_percent)} |"
        for row in rows
    ]
    return "\n".join(lines)


def combination_table(found: Sequence[Combination], whole_macs: int, whole_percent: float) -> str:
    """Markdown: combinations from few to many operations; those are bold that no lighter one equals."""
    lines = ["| nodes | MACs | of the whole | accuracy | difference |", "| --- | --- | --- | --- | --- |"]
    best = -1.0
    for one in sorted(found, key=lambda one: (one.macs, -(one.accuracy_percent or 0))):
        if one.accuracy_percent is None:
            continue
        mark = "**" if one.accuracy_percent > best else ""
        best = max(best, one.accuracy_percent)
        lines.append(
            f"| {mark}{' '.join(map(str, one.nodes))}{mark} | {one.macs / 1e6:.1f} M | {one.macs / whole_macs:.0%} "
            f"| {_percent(one.accuracy_percent)} | {one.accuracy_percent - whole_percent:+.1f} pp |"
        )
    return "\n".join(lines)


def left_out_table(found: Mapping[str, Sequence[Combination]]) -> str:
    """Markdown: accuracy with each node left out, a row for each operator."""
    count = max(len(one.nodes) for some in found.values() for one in some)
    without = "".join(f" without {number} |" for number in range(count))
    lines = [f"| operator | all |{without}", "| --- " * (count + 2) + "|"]
    for operator, some in found.items():
        percents = {one.nodes: one.accuracy_percent for one in some}
        everyone = max(percents, key=len)
        cells = [percents[everyone], *(percents[tuple(n for n in everyone if n != number)] for number in everyone)]
        lines.append(f"| {operator} | " + " | ".join(map(_percent, cells)) + " |")
    return "\n".join(lines)


def aims(rows: Sequence[NodeRow], found: Mapping[str, Sequence[Combination]], whole: float) -> list[tuple[str, bool]]:
    """What is claimed of a model's artifacts, and whether it holds."""
    model = rows[0].model
    percents = {one.nodes: one.accuracy_percent or 0.0 for one in found["variants"]}
    everyone = max(percents, key=len)
    alone = max(percent for nodes, percent in percents.items() if len(nodes) == 1)
    least = min(percents[tuple(n for n in everyone if n != number)] for number in everyone)
    variants = [row for row in rows if row.operator == "variants"]
    slowest, gain = min(row.compute_speedup for row in variants), min(row.macs_gain for row in variants)
    together = percents[everyone]
    return [
        (
            f"{model}: variants together are within 2 points of the whole model ({together - whole:+.1f})",
            together >= whole - 2,
        ),
        (f"{model}: they are better than the best of them alone ({together - alone:+.1f})", together > alone),
        (f"{model}: no single missing one costs more than 2 points ({least - together:+.1f})", least >= together - 2),
        (
            f"{model}: each computes 2.5 times as fast, the paper's least (least: {slowest:.1f})",
            slowest >= _PAPERS_SPEEDUP,
        ),
        (f"{model}: each has 4.3 times fewer MACs, the paper's least (least: {gain:.1f})", gain >= _PAPERS_MACS_GAIN),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing, measure, print the tables and whether the aims are met."""
    parser = argparse.ArgumentParser(prog="benchmarks/variants.py", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), metavar="A,B")
    parser.add_argument("--operators", default=",".join(OPERATORS), metavar="A,B")
    parser.add_argument("--store", type=Path, default=default_root(), help="default: the plugin's")
    parser.add_argument("--rounds", type=int, default=300, help="requests a node")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    subjects: dict[str, SubjectModel] = {
        name: import_module(f"models.{name}").SUBJECT for name in options.models.split(",")
    }
    operators = options.operators.split(",")
    plan = Plan(options.store, subjects, registry.instantiate(registry.merged([]), {}), this_host())
    wanted = [(model, operator) for model in subjects for operator in (BASELINE, *operators)]
    results = prepare_all(plan, wanted, _say)
    made = {one: result for one, result in results.items() if not isinstance(result, Failure)}
    for one in set(wanted) - set(made):
        print(f"{'-'.join(one)} could not be made", file=sys.stderr)
    if len(made) < len(wanted):
        return 1
    said, every_row, every_combination = [], [], []
    for model, subject in subjects.items():
        ready = {operator: made[model, operator] for operator in (BASELINE, *operators)}
        told = {operator: answers(subject, ready[operator]) for operator in operators}
        rows = node_rows(ready, told, options.rounds)
        found = {operator: combinations(ready[operator], told[operator]) for operator in operators}
        whole = ready[BASELINE].evaluation.first.value
        macs = ready[BASELINE].artifact.entry.provenance["macs"]
        print(f"\n{model}: the whole is {_percent(whole)} right with {macs / 1e6:.1f} M MACs\n\n{node_table(rows)}")
        print(f"\n{left_out_table(found)}\n")
        if "variants" in found:
            print(f"{combination_table(found['variants'], macs, whole)}\n")
            said += aims(rows, found, whole)
        every_row += rows
        every_combination += [one for some in found.values() for one in some]
    for sentence, met in said:
        print(f"{'met' if met else 'NOT MET'}: {sentence}")
    if options.json is not None:
        document = {"nodes": list(map(asdict, every_row)), "combinations": list(map(asdict, every_combination))}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if all(met for _, met in said) else 1


def _percent(percent: float | None) -> str:
    return "no answer" if percent is None else f"{percent:.1f} %"


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
