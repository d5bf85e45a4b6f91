"""Every cut of a graph as a strategy of its own: `cut = "all"`.

How many cuts there are depends on the model, so they are counted before strategies are made: once for each graph, in
the process that builds, which makes the graph first where the store lacks it. The store keeps the count, so that
workers of pytest-xdist and later sessions find the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pytest_edgeai.operators import BuildError, Operator, chains
from pytest_edgeai.operators.preparation import Plan
from pytest_edgeai.operators.worker import Failure, Progress, Wanted, prepare_all
from pytest_edgeai.partition.cut_numbers import numbered
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.store import Entry, Recipe
from pytest_edgeai.subjects import examples as example_store
from pytest_edgeai.subjects.examples import Examples


@dataclass(frozen=True, slots=True)
class Expansion:
    """Operators for single cuts in the place of those that take every one.

    Parameters
    ----------
    operators
        All, by name.
    selected
        The names to measure.
    models
        For which models an operator is, where it is not for all.
    """

    operators: Mapping[str, Operator[Any]]
    selected: tuple[str, ...]
    models: Mapping[str, frozenset[str]]


def expand(plan: Plan, models: Sequence[str], selected: Iterable[str], report: Callable[[Progress], None]) -> Expansion:
    """Put an operator for each cut in the place of those that take every one.

    Parameters
    ----------
    plan
        How graphs are made.
    models, selected
        The models and operators of the matrix.
    report
        Is told about progress where cuts have to be counted.

    Returns
    -------
    Expansion
        For a model whose cuts cannot be counted the operator stays what it is: building it fails, and says why.
    """
    operators, names, only = dict(plan.operators), list[str](), dict[str, frozenset[str]]()
    for name in selected:
        if not chains.takes_every_cut(name, plan.operators):
            names.append(name)
            continue
        known = [model for model in models if not plan.subjects[model].missing]
        counted = prepare_all(_Counting(plan), [(model, name) for model in known], report)
        counts = {model: one for (model, _), one in counted.items() if not isinstance(one, Failure) and one}
        only[name] = frozenset(models) - frozenset(counts)
        each = len(chains.tiers_of(name, plan.operators)) - 1
        for numbers in itertools.combinations(range(max(counts.values(), default=0)), each):
            single = numbered(name, numbers)
            operators = chains.with_chains(operators, [single])
            only[single] = frozenset(model for model, count in counts.items() if numbers[-1] < count)
            names.append(single)
        if only[name]:
            names.append(name)
    return Expansion(operators, tuple(names), only)


@dataclass(frozen=True, slots=True)
class _Counting:
    """How cuts are counted: what `prepare_all` asks of a plan."""

    plan: Plan

    @property
    def store_root(self) -> Path:
        """The store's folder."""
        return self.plan.store_root

    @property
    def build_idle_s(self) -> float:
        """How long the process that builds may give no sign of progress."""
        return self.plan.build_idle_s

    def find(self, model: str, operator: str) -> int | None:
        """How many cuts the graph has that an operator cuts, if the store knows."""
        plan, subject = self.plan, self.plan.subjects[model]
        entry = plan.store.find(example_store.recipe(subject.examples, "calibration"))
        if entry is None:
            return None
        *before, last = chains.steps(operator, plan.operators)
        base = plan.find_steps(subject, before, Examples(entry))
        if base is None:
            return None
        found = plan.store.find(self._recipe(model, last, Examples(entry), base))
        return None if found is None else len(found.provenance["cuts"])

    def prepare(self, model: str, operator: str, stage: Callable[[str], None], note: Callable[[str], None]) -> None:
        """Make the graph as far as the store lacks it, and find its cuts.

        Raises
        ------
        BuildError
            The graph cannot be made or read.
        """
        plan, subject = self.plan, self.plan.subjects[model]
        stage("samples")
        calibration = example_store.stored(plan.store, subject.examples, "calibration")
        *before, last = chains.steps(operator, plan.operators)
        base = plan.build_steps(subject, before, calibration, stage, note)
        stage("counting cuts")

        def count(folder: Path) -> Mapping[str, Any]:  # noqa: ARG001  # there are no files
            from pytest_edgeai.partition.graph import PartitionError
            from pytest_edgeai.partition.running import cuts_of

            step = subject.pipeline.preprocess
            tensors = calibration.batch(calibration.largest(1))
            try:
                _, _, cuts = cuts_of(base.folder / GRAPH_NAME, tensors if step is None else step(tensors, base.folder))
            except PartitionError as error:
                raise BuildError(f"{operator}: {error}") from None
            return {"cuts": [asdict(cut) for cut in cuts]}

        plan.store.find_or_build(self._recipe(model, last, calibration, base), count, note)

    def starts_from(self, wanted: Wanted, other: Wanted) -> bool:  # noqa: ARG002  # of a protocol
        """Cuts of one operator are counted without those of another."""
        return False

    def _recipe(self, model: str, partition: Operator[Any], calibration: Examples, base: Entry) -> Recipe:
        """All that decides parts decides cuts, too."""
        return replace(self.plan.recipe(self.plan.subjects[model], partition, calibration, base), kind="cuts")
