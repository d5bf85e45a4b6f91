"""The sentence pairs without a network and with one: F1 of rules, of guesses and of every operator's artifacts.

Rules know all synonyms and no grammar. Artifacts come from the store, or are built now, with each training seed that
is asked for. Choices (how to train, with which parameters) are made by the validation pairs (`--part validation`);
what is reported is measured on the test pairs.
"""

from __future__ import annotations

import argparse
import functools
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from fixtures import paraphrases, words
from fixtures.paraphrases import Pair, Part
from pytest_edgeai.arrays import Array
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.metrics import f1

if TYPE_CHECKING:
    from pytest_edgeai.operators.worker import Progress

MODELS: Final = ("bert", "roberta")
OPERATORS: Final = ("identity", "sptq", "qat", "pruned", "pruned_structured", "distilled", "dsptq")
MOST_BY_RULE: Final = 85
MOST_BY_GUESSING: Final = 70

_BATCH: Final = 250
_ONLY: Final = ("only", "nobody but", "no one except", "nothing but", "nothing except")
_INSTEAD: Final = ("but not", "rather than", "instead of")
_PLAIN: Final = (
    "acts",
    "deeds",
    "arrivals",
    "people",
    "objects",
    "qualities",
    "numbers",
    "frequencies",
    "places",
    "times",
    "causes",
)

Facts: TypeAlias = Counter[str]


def same_words(pair: Pair) -> int:
    """Whether both sentences have the same content words, synonyms counted as one."""
    first, second = (_facts(one.text) for one in (pair.first, pair.second))
    return int(first == second)


def same_facts(pair: Pair) -> int:
    """Likewise, where selling is buying, older is younger, and before is after."""
    first, second = (_without_sides(_facts(one.text)) for one in (pair.first, pair.second))
    return int(first == second)


def mostly_same_facts(pair: Pair) -> int:
    """Whether at least four of five facts are in both sentences."""
    first, second = (_without_sides(_facts(one.text)) for one in (pair.first, pair.second))
    return int((first & second).total() >= 0.8 * (first | second).total())


RULES: Final[Mapping[str, Callable[[Pair], int]]] = {
    "the same content words, by the synonym lists": same_words,
    "the same facts, converses understood": same_facts,
    "four of five facts the same": mostly_same_facts,
}


def by_rule(rule: Callable[[Pair], int], pairs: Sequence[Pair]) -> float:
    """F1 of a rule in percent."""
    return _score([rule(pair) for pair in pairs], pairs)


def by_guessing(pairs: Sequence[Pair]) -> dict[str, float]:
    """F1 in percent of calling everything a paraphrase, and of a coin."""
    coin = Random(0)
    return {
        "everything is a paraphrase": _score([1] * len(pairs), pairs),
        "a coin": _score([coin.randrange(2) for _ in pairs], pairs),
    }


def by_artifacts(
    names: Sequence[str], operators: Sequence[str], seed: int, part: Part, store: Path
) -> dict[tuple[str, str], float]:
    """F1 in percent of artifacts by model and operator; where one could not be made, its reason is printed."""
    from pytest_edgeai.measure.host import this_host
    from pytest_edgeai.operators import registry
    from pytest_edgeai.operators.chains import with_chains
    from pytest_edgeai.operators.preparation import Plan
    from pytest_edgeai.operators.worker import Failure, prepare_all
    from pytest_edgeai.serving.repository import GRAPH_NAME

    subjects: dict[str, SubjectModel] = {name: import_module(f"models.{name}").SUBJECT for name in names}
    instances = with_chains(registry.instantiate(registry.merged([]), {}), operators)
    plan = Plan(store, subjects, instances, this_host(), seed=seed)
    wanted = [(name, operator) for name in names for operator in operators]
    found = {}
    for (name, operator), made in prepare_all(plan, wanted, _say_nothing).items():
        if isinstance(made, Failure):
            print(f"{name}-{operator}, seed {seed}: {made.sentence}", file=sys.stderr)
        else:
            found[name, operator] = _answered(subjects[name], made.artifact.entry.folder / GRAPH_NAME, part)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a rule or a guess is too good, or an artifact could not be made."""
    from pytest_edgeai.store import default_root

    parser = argparse.ArgumentParser(prog="benchmarks/paraphrases.py", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), metavar="A,B")
    parser.add_argument("--operators", default=",".join(OPERATORS), metavar="A,B", help="'' for rules and guesses only")
    parser.add_argument("--seeds", default="0", metavar="N,M", help="of the training that operators do")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--store", type=Path, default=default_root(), help="default: the plugin's")
    options = parser.parse_args(arguments)
    pairs = paraphrases.pairs(options.part)
    print(f"{len(pairs)} {options.part} pairs, {sum(pair.label for pair in pairs)} of them paraphrases\n")
    print("| without a network | F1 |\n| --- | --- |")
    guesses, rules = by_guessing(pairs), {name: by_rule(rule, pairs) for name, rule in RULES.items()}
    for name, percent in (*guesses.items(), *rules.items()):
        print(f"| {name} | {percent:.1f} % |")
    good = max(guesses.values()) < MOST_BY_GUESSING and max(rules.values()) < MOST_BY_RULE
    names, operators = options.models.split(","), [one for one in options.operators.split(",") if one]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if not operators:
        return 0 if good else 1
    runs = [by_artifacts(names, operators, seed, options.part, options.store) for seed in seeds]
    print(f"\n| model | operator | F1 by seed ({', '.join(map(str, seeds))}) | mean | spread |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        for operator in operators:
            reached = [run[name, operator] for run in runs if (name, operator) in run]
            if reached:
                told = ", ".join(f"{percent:.1f}" for percent in reached)
                print(
                    f"| {name} | {operator} | {told} | {statistics.mean(reached):.1f} "
                    f"| {max(reached) - min(reached):.1f} |"
                )
    complete = all(len(run) == len(names) * len(operators) for run in runs)
    return 0 if good and complete else 1


def _say_nothing(_: Progress) -> None:
    """In the place of progress."""


def _score(answers: Sequence[int], pairs: Sequence[Pair]) -> float:
    ranked = np.array([[answer, 1 - answer] for answer in answers])
    return f1(ranked, np.array([pair.label for pair in pairs]))


def _answered(subject: SubjectModel, graph: Path, part: Part) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    step = subject.pipeline.preprocess
    assert step is not None
    pairs = paraphrases.pairs(part)
    texts = np.array([[one.text.encode() for one in (pair.first, pair.second)] for pair in pairs], dtype=object)
    answers: list[Array] = []
    for at in range(0, len(pairs), _BATCH):
        (logits,) = session.run(None, dict(step({"text": texts[at : at + _BATCH]}, graph.parent)))
        answers.append(logits.argmax(1))
    return _score(np.concatenate(answers).tolist(), pairs)


@functools.lru_cache(maxsize=1)
def _phrases() -> tuple[re.Pattern[str], Mapping[str, str]]:
    """All wordings, the longest first, and what each of them means."""
    known = {name.lower(): name for name in words.names()}
    for kind in _PLAIN:
        for meaning in words.meanings(kind):
            for wording in words.wordings(kind, meaning):
                known[wording.lower()] = f"{kind} {meaning}"
                if kind == "objects":
                    known[f"{wording.lower()}s"] = f"{kind} {meaning}"
    for kind in words.CONVERSES:
        for meaning in words.meanings(kind):
            for number, side in enumerate(words.sides(kind, meaning)):
                known |= dict.fromkeys(side, f"{number} {kind} {meaning}")
    known |= dict.fromkeys(("before", "earlier than"), "0 order") | dict.fromkeys(("after", "later than"), "1 order")
    known |= dict.fromkeys(_ONLY, "only") | dict.fromkeys(_INSTEAD, "instead")
    known |= dict.fromkeys(("not", "never", "false"), "not") | {"but": "but", "according to": "source"}
    longest_first = sorted(known, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b"), known


def _facts(sentence: str) -> Facts:
    pattern, known = _phrases()
    facts = Counter(known[found] for found in pattern.findall(sentence.lower()))
    for _ in range(facts.pop("but", 0)):  # "not the car but the boat"
        facts["not"] -= 1
        facts["instead"] += 1
    return +facts


def _without_sides(facts: Facts) -> Facts:
    merged: Facts = Counter()
    for fact, count in facts.items():
        merged[fact.removeprefix("0 ").removeprefix("1 ")] += count
    return merged


if __name__ == "__main__":
    sys.exit(main())
