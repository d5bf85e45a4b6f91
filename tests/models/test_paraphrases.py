"""The text samples: pairs that say the same where their label says so, and only there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest

from fixtures import paraphrases
from fixtures.paraphrases import Pair, Sentence

benchmark: Any = import_module("benchmarks.paraphrases")


@pytest.fixture(scope="module")
def validation() -> list[Pair]:
    return paraphrases.pairs("validation")


def _facts(sentence: Sentence) -> Mapping[str, int]:
    return dict(mention.fact for mention in sentence.mentions)


def test_a_paraphrase_states_the_same_facts_and_no_other_pair_does(validation: list[Pair]) -> None:
    for pair in validation:
        assert (_facts(pair.first) == _facts(pair.second)) == bool(pair.label)
        assert set(_facts(pair.first)) == set(_facts(pair.second))


def test_a_mention_is_a_wording_of_its_fact(validation: list[Pair]) -> None:
    words = paraphrases.words()
    kinds = {"agent": "people", "receiver": "people", "quality": "qualities"}
    for sentence in itertools.chain.from_iterable((pair.first, pair.second) for pair in validation):
        for mention in sentence.mentions:
            part, meaning = mention.fact
            wordings = {wording.casefold() for wording in words[kinds.get(part, f"{part}s")][meaning]}
            assert sentence.text[mention.start : mention.end].casefold() in wordings


def test_wordings_mean_one_thing_each() -> None:
    for name, meanings in paraphrases.words().items():
        wordings = list(itertools.chain.from_iterable(meanings))
        assert len(wordings) == len(set(wordings)), name


def test_some_pairs_differ_only_in_who_does_it_for_whom(validation: list[Pair]) -> None:
    swapped = [
        pair
        for pair in validation
        if not pair.label and sorted(_facts(pair.first).values()) == sorted(_facts(pair.second).values())
    ]
    assert swapped


def test_a_rule_without_grammar_is_wrong_where_people_change_places_and_nowhere_else(validation: list[Pair]) -> None:
    for pair in validation:
        facts = [_facts(sentence) for sentence in (pair.first, pair.second)]
        changed = {part for part in facts[0] if facts[0][part] != facts[1][part]}
        swapped = changed == {"agent", "receiver"} and facts[0]["agent"] == facts[1]["receiver"]
        assert benchmark.is_swapped(pair) == swapped
        assert (benchmark.same_facts(pair) != pair.label) == swapped


def test_scores_of_answers_without_a_network(validation: list[Pair]) -> None:
    paraphrases_among = sum(pair.label for pair in validation)
    everything = 200 * paraphrases_among / (len(validation) + paraphrases_among)
    assert benchmark.score([1] * len(validation), validation) == pytest.approx(everything)
    assert benchmark.score([pair.label for pair in validation], validation) == 100


def test_the_larger_class_is_no_good_answer(validation: list[Pair]) -> None:
    share = sum(pair.label for pair in validation) / len(validation)
    assert 0.5 < share < 0.7


def test_no_pair_is_in_two_splits(validation: list[Pair]) -> None:
    texts = {(pair.first.text, pair.second.text) for pair in validation}
    for split in ("train", "calibration"):
        others = {(pair.first.text, pair.second.text) for pair in paraphrases.pairs(split)}
        assert not texts & others


def test_requests_carry_both_sentences_as_utf8(validation: list[Pair]) -> None:
    for sample, pair in zip(paraphrases.generate("validation"), validation, strict=True):
        assert sample.inputs["text"].shape == (1, 2)
        assert [text.decode() for text in sample.inputs["text"][0]] == [pair.first.text, pair.second.text]
        assert sample.reference == pair.label


def test_sentences_are_sentences(validation: list[Pair]) -> None:
    for pair in validation:
        for text in (pair.first.text, pair.second.text):
            assert text[0].isupper()
            assert text.endswith(".")
            assert "  " not in text
            assert " ," not in text
