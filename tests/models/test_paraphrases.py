"""The text samples: pairs that say the same where their label says so, which no rule about words can tell."""

from __future__ import annotations

import itertools
from importlib import import_module
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import meanings, paraphrases, sentences, words
from fixtures.paraphrases import Pair, Part
from tests.models.reading import read

benchmark: Any = import_module("benchmarks.paraphrases")
PARTS: tuple[Part, ...] = ("train", "calibration", "validation", "test")
SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def parts() -> dict[Part, list[Pair]]:
    return {part: paraphrases.pairs(part) for part in PARTS}


@pytest.mark.parametrize("part", ["calibration", "validation", "test"])
def test_a_paraphrase_can_be_read_as_the_same_and_no_other_pair_can(parts: dict[Part, list[Pair]], part: Part) -> None:
    for pair in parts[part]:
        assert (read(pair.first.text) == read(pair.second.text)) == bool(pair.label), pair


@settings(max_examples=300)
@given(SEEDS)
def test_all_sentences_of_a_meaning_are_read_alike(seed: int) -> None:
    random = Random(seed)
    meaning = meanings.drawn(random, words.names())
    once, again = (sentences.say(random, meaning).text for _ in range(2))
    assert read(once) == read(again), (once, again)


@settings(max_examples=300)
@given(SEEDS)
def test_no_changed_meaning_is_read_as_the_one_before(seed: int) -> None:
    random = Random(seed)
    meaning = meanings.drawn(random, words.names())
    before = sentences.say(random, meaning).text
    for changed in (*meanings.rearranged(meaning), meanings.substituted(random, meaning, words.names())):
        assert changed != meaning
        after = sentences.say(random, changed).text
        assert read(after) != read(before), (before, after)


@settings(max_examples=300)
@given(SEEDS)
def test_rearranging_changes_no_word(seed: int) -> None:
    meaning = meanings.drawn(Random(seed), words.names())
    for changed in meanings.rearranged(meaning):
        assert _said(changed) == _said(meaning)


def _said(meaning: meanings.Meaning) -> list[str]:
    things = itertools.chain.from_iterable((one.name, one.number, one.quality) for one in meaning.things)
    told = (meaning.relation, meaning.actor, meaning.other, meaning.source, meaning.frequency, *things)
    return sorted([*told, str(meaning.denied), str(bool(meaning.only)), *(one for _, one in meaning.details)])


def test_the_reader_tells_who_from_whom() -> None:
    assert read("The cook sold the boat to Marna.") == read("The vessel was bought by Marna from the chef.")
    assert read("The cook sold the boat to Marna.") != read("Marna sold the boat to the chef.")
    assert read("The cook lent a dozen maps to the judge.") == read(
        "12 charts were borrowed from the chef by the judge."
    )
    assert read("It is false that the cook never warned the judge.") == read("The judge was alerted by the chef.")
    assert read("Nobody but the cook hired the judge.") != read("Only the judge was hired by the chef.")
    assert read("Not the car but the boat was moved by Marna.") == read("Marna shifted the ship rather than the car.")


def test_no_rule_without_a_network_is_good_at_it(parts: dict[Part, list[Pair]]) -> None:
    for name, rule in benchmark.RULES.items():
        assert benchmark.by_rule(rule, parts["test"]) < benchmark.MOST_BY_RULE == 85, name


def test_the_rule_knows_all_synonyms(parts: dict[Part, list[Pair]]) -> None:
    """It fails because of grammar: it recognizes every paraphrase, and whatever differs in a word."""
    for pair in parts["test"]:
        differs_in_a_word = _said(pair.meant[0]) != _said(pair.meant[1])
        assert benchmark.same_facts(pair) == int(not differs_in_a_word), pair


def test_guessing_is_no_good_answer(parts: dict[Part, list[Pair]]) -> None:
    for name, percent in benchmark.by_guessing(parts["test"]).items():
        assert percent < benchmark.MOST_BY_GUESSING == 70, name


def test_the_first_sentence_tells_nothing(parts: dict[Part, list[Pair]]) -> None:
    """Classes have the same shares of each kind of event, of denials and of pairs that could be rearranged."""
    by_label = [[pair.meant[0] for pair in parts["train"] if pair.label == label] for label in (0, 1)]
    for kind in ("acts", "deals", "deeds", "comparisons", "arrivals"):
        first, second = (sum(one.kind == kind for one in told) / len(told) for told in by_label)
        assert abs(first - second) < 0.03, kind
    first, second = (sum(bool(meanings.rearranged(one)) for one in told) / len(told) for told in by_label)
    assert abs(first - second) < 0.03


def test_no_meaning_no_pair_and_no_name_is_in_two_parts(parts: dict[Part, list[Pair]]) -> None:
    names = set(words.names())
    for one, other in itertools.combinations(PARTS, 2):
        meant = [{meaning for pair in parts[part] for meaning in pair.meant} for part in (one, other)]
        assert not meant[0] & meant[1]
        texts = [{(pair.first.text, pair.second.text) for pair in parts[part]} for part in (one, other)]
        assert not texts[0] & texts[1]
        people = [
            {person for meaning in told for person in (meaning.actor, meaning.other, meaning.source)} for told in meant
        ]
        assert people[0] & names
        assert not people[0] & people[1] & names


@pytest.mark.parametrize("part", ["calibration", "test"])
def test_pairs_are_the_same_every_time(parts: dict[Part, list[Pair]], part: Part) -> None:
    assert paraphrases.pairs(part) == parts[part]
    assert len(parts[part]) == paraphrases.COUNTS[part]


def test_a_session_reports_on_the_test_part(parts: dict[Part, list[Pair]]) -> None:
    assert len(parts["test"]) >= 1000
    for example, pair in zip(paraphrases.SAMPLES.generate("validation"), parts["test"], strict=True):
        assert example.inputs["text"].shape == (1, 2)
        assert [text.decode() for text in example.inputs["text"][0]] == [pair.first.text, pair.second.text]
        assert example.reference == pair.label


def test_a_mention_is_where_its_fact_is_said(parts: dict[Part, list[Pair]]) -> None:
    for pair in parts["test"]:
        for sentence in (pair.first, pair.second):
            assert any(mention.part == "relation" for mention in sentence.mentions)
            for mention in sentence.mentions:
                wording = sentence.text[mention.start : mention.end]
                assert wording == wording.strip(" .,")
                assert wording


def test_a_pair_has_the_same_mentions_if_and_only_if_it_is_a_paraphrase(parts: dict[Part, list[Pair]]) -> None:
    for pair in parts["test"]:
        first, second = ({(one.part, one.fact) for one in sentence.mentions} for sentence in (pair.first, pair.second))
        assert (first == second) == bool(pair.label), pair


def test_wordings_mean_one_thing_each() -> None:
    for kind in ("people", "acts", "deeds", "arrivals", "objects", "qualities", "numbers", "frequencies", "times"):
        said = [wording for meaning in words.meanings(kind) for wording in words.wordings(kind, meaning)]
        assert len(said) == len(set(said)), kind
    said = [wording for wordings in words.synonyms() for wording in wordings]
    assert len(said) == len(set(said))


def test_sentences_are_sentences(parts: dict[Part, list[Pair]]) -> None:
    for pair in parts["test"]:
        for text in (pair.first.text, pair.second.text):
            assert text[0].isupper() or text[0].isdigit()
            assert text.endswith(".")
            assert "  " not in text
            assert " ," not in text
            assert text.isprintable()
