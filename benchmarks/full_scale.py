"""The study's own models at full size, with random weights: sizes, what it takes to build them, and what int8 saves.

Sizes are compared with the study's table; the compute of `identity` and `sptq` is measured in turns, in ONNX Runtime on
one thread; the ratio is the median over turns. How to run it: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from operator import truediv
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # the suite's own definitions are not installed

from models import paper
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.settings_tables import Data

STUDY_MIB: Mapping[str, tuple[int, int]] = {
    "resnet": (484, 123),
    "resnext": (319, 81),
    "bert": (418, 107),
    "roberta": (476, 122),
}
"""Of `identity` and `sptq`, from the study's table (its MB are MiB)."""

SIZE_AIM, COMPUTE_AIM = 0.03, 0.45
_OPERATORS = ("identity", "sptq")


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of an artifact."""

    model: str
    operator: str
    size_mib: float
    study_mib: int
    build_s: float
    peak_memory_gib: float
    compute_s: float
    compute_ratio: float

    @property
    def size_error(self) -> float:
        """Relative to the study's."""
        return self.size_mib / self.study_mib - 1


def main() -> int:
    """Build, measure, print and write; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(STUDY_MIB), metavar="A,B", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=31, metavar="N", help="of each graph (default: %(default)s)")
    parser.add_argument("--store", type=Path, metavar="DIR", help="keep artifacts (3 GB); default: they are dropped")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures to a file, too")
    options = parser.parse_args()
    console = Console()
    console.width = max(console.width, 100)  # the table is never cut
    with tempfile.TemporaryDirectory() as temporary:
        figures = _measure(options.models.split(","), options.repeats, options.store or Path(temporary), console)
    console.print(_table(figures))
    aims = _aims(figures)
    for met, sentence in aims:
        console.print(f"{'met' if met else 'NOT MET'}: {sentence}", style="green" if met else "red", highlight=False)
    if options.json is not None:
        document = {"figures": [asdict(one) for one in figures], "aims": aims}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(met for met, _ in aims) else 1


def _measure(models: list[str], repeats: int, store: Path, console: Console) -> list[Figures]:
    subjects = {one.name: one for one in paper.subjects({"default": "random"}, Data(), Path.cwd())}
    operators = registry.instantiate(registry.merged([]), {})
    plan = Plan(store.absolute(), subjects, operators, this_host())
    figures = []
    for model in models:
        prepared = {}
        for (_, operator), result in prepare_all(plan, [(model, one) for one in _OPERATORS], _teller(console)).items():
            if isinstance(result, Failure):
                raise SystemExit(f"{model}-{operator}: {result.sentence}")
            prepared[operator] = result
        compute_s = _compute_s(prepared, repeats)
        for operator, study_mib in zip(_OPERATORS, STUDY_MIB[model], strict=True):
            entry = prepared[operator].artifact.entry
            figures.append(
                Figures(
                    model,
                    operator,
                    entry.files["model.onnx"] / 2**20,
                    study_mib,
                    entry.provenance["build_s"],
                    entry.provenance["peak_memory_bytes"] / 2**30,
                    statistics.median(compute_s[operator]),
                    statistics.median(map(truediv, compute_s[operator], compute_s["identity"])),
                )
            )
    return figures


def _compute_s(prepared: Mapping[str, Prepared], repeats: int) -> dict[str, list[float]]:
    """Compute spans of each artifact; they take turns, sample by sample, so that what slows the host hits all."""
    models = {name: Model(one.artifact.entry.folder, Execution()) for name, one in prepared.items()}
    spans_s: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(repeats + 1):
        for name, model in models.items():
            samples = prepared[name].validation
            _, spans = model.infer(samples[turn % len(samples)].inputs)
            if turn:  # the first warms up
                spans_s[name] += [span.duration_s for span in spans if span.name == "compute"]
    return spans_s


def _teller(console: Console) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        if progress.done:
            console.print(f"{'-'.join(progress.wanted)}: {progress.stage} after {progress.elapsed_s:.0f} s")

    return tell


def _table(figures: list[Figures]) -> Table:
    table = Table("artifact", "size", "study", "error", "built in", "peak memory", "compute", "ratio")
    for one in figures:
        table.add_row(
            f"{one.model}-{one.operator}",
            f"{one.size_mib:.1f} MiB",
            f"{one.study_mib} MiB",
            f"{one.size_error:+.1%}",
            f"{one.build_s:.0f} s",
            f"{one.peak_memory_gib:.1f} GiB",
            f"{one.compute_s * 1e3:.0f} ms",
            f"{one.compute_ratio:.2f}",
        )
    return table


def _aims(figures: list[Figures]) -> list[tuple[bool, str]]:
    worst = max(figures, key=lambda one: abs(one.size_error))
    ratios = {one.model: one.compute_ratio for one in figures if one.operator == "sptq"}
    slowest = max(ratios, key=lambda model: ratios[model])
    return [
        (
            abs(worst.size_error) <= SIZE_AIM,
            f"sizes within {SIZE_AIM:.0%} of the study's "
            f"(worst: {worst.model}-{worst.operator} {worst.size_error:+.1%})",
        ),
        (
            ratios[slowest] <= COMPUTE_AIM,
            f"sptq computes in at most {COMPUTE_AIM} of identity's time (worst: {slowest} {ratios[slowest]:.2f})",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
