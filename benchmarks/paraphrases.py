"""What the F1 of the text models means: that of guesses and of a rule without a network, and who did what to whom.

The rule counts facts by the synonym lists and knows no grammar. Artifacts come from the store, or are built now, once
for each training seed that is asked for. Beside F1 on the examples that sessions report on, it is counted how many
pairs are answered rightly that differ in nothing but who did it for whom.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fixtures import paraphrases
from fixtures.paraphrases import Pair, Sentence
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.chains import with_chains
from pytest_edgeai.operators.preparation import Plan, Prepared
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.store import default_root
from pytest_edgeai.subjects.metrics import f1

if TYPE_CHECKING:
    from pytest_edgeai.arrays import Array

MODELS: Final = ("bert", "roberta")
OPERATORS: Final = ("identity", "sptq", "qat", "pruned", "pruned_structured", "distilled", "dsptq")

_PEOPLE: Final = ("agent", "receiver")


def same_facts(pair: Pair) -> int:
    """The rule: 1 where both sentences have words of the same meanings, whatever their places."""
    return int(_meanings(pair.first) == _meanings(pair.second))


def is_swapped(pair: Pair) -> bool:
    """Whether the sentences differ in nothing but who did it for whom."""
    return not pair.label and bool(same_facts(pair))


def score(answers: Sequence[int], pairs: Sequence[Pair]) -> float:
    """F1 of answers in percent."""
    ranked = np.array([[answer, 1 - answer] for answer in answers])
    return f1(ranked, np.array([pair.label for pair in pairs]))


def answered(made: Prepared) -> Array:
    """What an artifact answers to the examples that sessions report on."""
    ranked: Array = made.evaluation.predictions.ranked
    return ranked[:, 0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where an artifact could not be made."""
    parser = argparse.ArgumentParser(prog="benchmarks/paraphrases.py", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), metavar="A,B")
    parser.add_argument("--operators", default=",".join(OPERATORS), metavar="A,B", help="'' for rule and guess only")
    parser.add_argument("--seeds", default="0", metavar="N,M", help="of the training that operators do")
    parser.add_argument("--store", type=Path, default=default_root(), help="default: the plugin's")
    options = parser.parse_args(arguments)
    pairs = paraphrases.pairs("validation")
    swapped = [number for number, pair in enumerate(pairs) if is_swapped(pair)]
    print(f"{len(pairs)} pairs, {len(swapped)} of which differ in nothing but who did it for whom\n")
    print("| without a network | F1 |\n| --- | --- |")
    print(f"| everything is a paraphrase | {score([1] * len(pairs), pairs):.1f} % |")
    print(f"| the same facts, by the synonym lists | {score([same_facts(pair) for pair in pairs], pairs):.1f} % |")
    names, operators = options.models.split(","), [one for one in options.operators.split(",") if one]
    if not operators:
        return 0
    seeds = [int(seed) for seed in options.seeds.split(",")]
    subjects = {name: import_module(f"models.{name}").SUBJECT for name in names}
    instances = with_chains(registry.instantiate(registry.merged([]), {}), operators)
    wanted = [(name, operator) for name in names for operator in operators]
    runs = [
        prepare_all(Plan(options.store, subjects, instances, this_host(), seed=seed), wanted, _say_nothing)
        for seed in seeds
    ]
    print(f"\n| model | operator | F1 by seed ({', '.join(options.seeds.split(','))}) | spread | swapped pairs right |")
    print("| --- | --- | --- | --- | --- |")
    complete = True
    for name, operator in wanted:
        reached, right = [], []
        for seed, run in zip(seeds, runs, strict=True):
            made = run[name, operator]
            if isinstance(made, Failure):
                print(f"{name}-{operator}, seed {seed}: {made.sentence}", file=sys.stderr)
                complete = False
                continue
            answers = answered(made)
            reached.append(score(answers.tolist(), pairs))
            right.append(int(np.sum(answers[swapped] == 0)))
        if reached:
            told, count = ", ".join(f"{one:.1f}" for one in reached), statistics.mean(right)
            print(
                f"| {name} | {operator} | {told} | {max(reached) - min(reached):.1f} | {count:.0f} of {len(swapped)} |"
            )
    return 0 if complete else 1


def _meanings(sentence: Sentence) -> list[tuple[str, int]]:
    facts = [mention.fact for mention in sentence.mentions]
    return sorted(("person" if part in _PEOPLE else part, meaning) for part, meaning in facts)


def _say_nothing(_: Progress) -> None:
    """In the place of progress."""


if __name__ == "__main__":
    sys.exit(main())
