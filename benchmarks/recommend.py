"""How good the choices of `edgeai recommend` are, by trials that they did not see.

    python benchmarks/recommend.py REPORT --sets 200

The trials of each strategy of a session are parted at random: by one half a strategy is chosen under random
constraints, by the other the choice is judged. A choice is feasible where the strategy keeps the constraints in the
half that was held back, and its regret is by how much its objective is worse there than that of the best strategy
that keeps them there. A set of constraints under which nothing is chosen and nothing keeps them is drawn anew. A set
under which nothing is chosen because nothing could be proven counts as no choice; how many there are is in the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pytest_edgeai.commands.reports import read_report
from pytest_edgeai.decisions.candidates import Candidate, candidates
from pytest_edgeai.decisions.choosing import decide
from pytest_edgeai.decisions.constraints import Constraints, Objective
from pytest_edgeai.errors import EdgeAIError

_FEASIBLE_AIM, _REGRET_AIM = 0.95, 0.02
_FEWEST_TRIALS: Final = 4
_OBJECTIVES: Final[tuple[Objective, ...]] = ("latency", "size", "accuracy")
_DRAWS_A_SET: Final = 50


class Judged(NamedTuple):
    """What became of one set of constraints: nothing chosen, or whether the choice is feasible and its regret."""

    percentile: float
    objective: Objective
    chosen: str
    possible: bool
    feasible: bool
    regret: float


def main(arguments: Sequence[str]) -> int:
    """Judge; 1 where an aim is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="of a session with at least four trials of each strategy")
    parser.add_argument("--sets", type=int, default=200, metavar="N", help="of constraints (default: %(default)s)")
    parser.add_argument("--percentiles", default="50,90,95", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    _, document = read_report(options.report, Path())
    generator = np.random.default_rng(options.seed)
    judged = [
        _judge(document, [float(one) for one in options.percentiles.split(",")], generator) for _ in range(options.sets)
    ]
    chosen = [one for one in judged if one.chosen]
    print(
        "| percentile | sets | nothing chosen | of these, something was feasible | choices | feasible | median regret |"
    )
    print("|" + " --- |" * 7)
    for percentile in sorted({one.percentile for one in judged}):
        _print_row(f"{percentile:g}", [one for one in judged if one.percentile == percentile])
    _print_row("all", judged)
    if not chosen:
        print("NOT MET: nothing was chosen; measure more trials")
        return 1
    feasible = float(np.mean([one.feasible for one in chosen]))
    regret = _regret(chosen)
    aims = [
        (feasible >= _FEASIBLE_AIM, f"feasible in {feasible:.1%} of {len(chosen)} choices, of {_FEASIBLE_AIM:.0%}"),
        (regret <= _REGRET_AIM, f"median regret {regret:.1%}, of at most {_REGRET_AIM:.0%}"),
    ]
    for is_met, sentence in aims:
        print(f"{'met' if is_met else 'NOT MET'}: {sentence}")
    return 0 if all(is_met for is_met, _ in aims) else 1


def _print_row(name: str, judged: Sequence[Judged]) -> None:
    chosen = [one for one in judged if one.chosen]
    missed = sum(one.possible for one in judged if not one.chosen)
    feasible = f"{np.mean([one.feasible for one in chosen]):.1%}" if chosen else "–"
    regret = f"{_regret(chosen):.1%}" if chosen else "–"
    cells = (name, len(judged), len(judged) - len(chosen), missed, len(chosen), feasible, regret)
    print(f"| {' | '.join(map(str, cells))} |")


def _regret(chosen: Sequence[Judged]) -> float:
    """The median over choices; of a choice that is not feasible it is infinite."""
    return float(np.median([one.regret if one.feasible else math.inf for one in chosen]))


def _judge(document: Mapping[str, Any], percentiles: Sequence[float], generator: np.random.Generator) -> Judged:
    """Draw halves and constraints until something keeps them in either half, and judge the choice."""
    model = str(generator.choice(sorted({one["model"] for one in document["strategies"]})))
    strategies = [one for one in document["strategies"] if one["model"] == model]
    for _ in range(_DRAWS_A_SET):
        seen, held_back = _halves(document, strategies, generator)
        constraints = _draw(held_back, float(generator.choice(percentiles)), generator)
        objective = _OBJECTIVES[generator.integers(len(_OBJECTIVES))]
        (decision,) = decide(seen, constraints, objective)
        feasible = [one for one in held_back if not one.excluded and _keeps(one, constraints)]
        if feasible or decision.choice is not None:
            break
    else:
        raise SystemExit(f"no drawn constraints are kept by any strategy of {model}: the report has too few trials")
    chosen = "" if decision.choice is None else decision.choice.candidate.id
    kept = {one.id: _objective(one, objective, constraints.percentile) for one in feasible}
    regret = math.inf
    if chosen in kept:
        best = min(kept.values())
        regret = kept[chosen] / best - 1 if objective != "accuracy" else (kept[chosen] - best) / 100
    return Judged(constraints.percentile, objective, chosen, bool(kept), chosen in kept, regret)


def _halves(
    document: Mapping[str, Any], strategies: Sequence[Mapping[str, Any]], generator: np.random.Generator
) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    """The same strategies by one half of their trials and by the other."""
    sides: tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]] = ([], [])
    for strategy in strategies:
        key = tuple(strategy[name] for name in ("model", "operator", "tier"))
        ours = [
            one
            for one in document["trials"]
            if (one["model"], one["operator"], one["tier"]) == key and one["status"] == "valid"
        ]
        if len(ours) < _FEWEST_TRIALS:
            continue
        for place, number in enumerate(generator.permutation(len(ours))):
            sides[place % 2].append(ours[number])
    seen, held_back = (candidates(strategies, side) for side in sides)
    return seen, held_back


def _draw(held_back: Sequence[Candidate], percentile: float, generator: np.random.Generator) -> Constraints:
    """Random limits around the figures of random strategies; each limit is there in two of three sets."""
    known = [one for one in held_back if not one.excluded]

    def near(values: Sequence[float]) -> float | None:
        if not values or generator.random() < 1 / 3:
            return None
        return float(generator.choice(values)) * math.exp(generator.uniform(-0.2, 0.7))

    constraints = Constraints(
        max_latency_s=near([_objective(one, "latency", percentile) for one in known]),
        percentile=percentile,
        max_drop=None if generator.random() < 1 / 3 else float(generator.choice([0.25, 0.5, 1.0, 2.0, 5.0])),
        max_size_bytes=near([float(one.size_bytes) for one in known if one.size_bytes is not None]),
        max_memory_bytes=near([float(one.memory_bytes) for one in known if one.memory_bytes is not None]),
    )
    return constraints if constraints.limits() else dataclasses.replace(constraints, max_drop=1.0)


def _keeps(one: Candidate, constraints: Constraints) -> bool:
    """Whether a strategy keeps all constraints, by its figures as they are."""
    limits = (constraints.max_drop, constraints.max_size_bytes, constraints.max_memory_bytes)
    values = (None if one.drop is None else one.drop.estimate, one.size_bytes, one.memory_bytes)
    for value, limit in zip(values, limits, strict=True):
        if limit is not None and (value is None or value > limit):
            return False
    latency_s = _objective(one, "latency", constraints.percentile)
    return constraints.max_latency_s is None or latency_s <= constraints.max_latency_s


def _objective(one: Candidate, objective: Objective, percentile: float) -> float:
    if objective == "latency":
        return float(np.percentile(np.concatenate(one.trials), percentile))
    if objective == "size":
        return math.inf if one.size_bytes is None else float(one.size_bytes)
    return math.inf if one.drop is None else one.drop.estimate


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except EdgeAIError as error:
        sys.exit(f"error: {error}")
