"""Reads a generated sentence back: what it means, by rules of grammar that know nothing of how sentences are made.

Slow and obvious: phrases are cut out of the sentence one by one until subject, verb and objects are left.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

LISTS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "paraphrases.json").read_text(encoding="utf-8")
)
CONVERSES: Final = ("deals", "comparisons")
Read: TypeAlias = tuple[Any, ...]


def read(sentence: str) -> Read:
    """All that a sentence says, in one order and by one word for each thing."""
    text = sentence.removesuffix(".")
    text = text[0].lower() + text[1:] if text.split()[0].rstrip(",") not in _names() else text
    source, text = _cut(r"according to ((?:the )?\w+),?", text)
    wrapper, text = _cut(r"(it is (?:not )?(?:true|false) that)", text)
    negations = sum(word in ("not", "false") for word in wrapper.split())
    told = {}
    for kind in ("frequencies", "places", "times", "causes"):
        wordings = {wording: meaning[0] for meaning in LISTS[kind] for wording in meaning}
        found, text = _cut(rf"\b({_any(wordings)})(?![\w-]),?", text)
        told[kind] = wordings.get(found, "")
    kind, relation, side, before, after = _around_the_verb(text)
    for word in (" never", " not", "never", "not"):
        if before.endswith(word):
            before, negations = before.removesuffix(word).strip(), negations + 1
            break
    before, passive = re.subn(r"\b(was|were)$", "", before)
    roles = _roles(kind, side, before.strip(), after, passive=bool(passive))
    return (
        kind,
        relation,
        negations % 2,
        _person(source)[0],
        tuple(sorted(told.items())),
        tuple(sorted(roles.items(), key=lambda item: item[0])),
    )


def _roles(kind: str, side: int, before: str, after: str, *, passive: bool) -> dict[str, Read]:
    if kind == "comparisons":
        ends = (_person(before), _person(after.removeprefix("than ")))
        return {"more": ends[side], "less": ends[1 - side]}
    if kind == "arrivals":
        earlier, other = re.subn(r"^(before|earlier than) ", "", after)
        later = re.sub(r"^(after|later than) ", "", earlier)
        ends = (_person(before), _person(later))
        return {"first": ends[not other], "second": ends[bool(other)]}
    by, after = _cut(r"\bby (.+?)(?= (?:to|from) |$)", after)
    towards, after = _cut(r"\b(?:to|from) (.+)$", after) if kind == "deals" else ("", after)
    subject, acted_on = (by, before) if passive else (before, after)
    if kind == "deeds":
        return {"actor": _person(subject), "other": _person(acted_on)}
    roles = {"actor": _person(subject), "things": _things(acted_on)}
    if kind == "deals":
        roles |= {"actor": _person(towards), "taker": _person(subject)} if side else {"taker": _person(towards)}
    return roles


def _around_the_verb(text: str) -> tuple[str, str, int, str, str]:
    for kind in ("acts", "deeds", "deals", "comparisons", "arrivals"):
        for meaning in LISTS[kind]:
            for side, wordings in enumerate(meaning if kind in CONVERSES else [meaning]):
                match = re.fullmatch(rf"(.*?) ?\b({_any(wordings)})\b(.*)", text)
                if match:
                    name = meaning[0][0] if kind in CONVERSES else meaning[0]
                    return kind, name, side, match[1].strip(), match[3].strip()
    raise AssertionError(f"no verb in {text!r}")


def _person(text: str) -> Read:
    limits, rest = _cut(r"^(only|nobody but|no one except) ", text)
    word = rest.removeprefix("the ")
    for meaning in LISTS["people"]:
        if rest.startswith("the ") and word in meaning:
            return meaning[0], bool(limits)
    assert word == "" or (word in _names() and not rest.startswith("the ")), text
    return word, bool(limits)


def _things(text: str) -> Read:
    limits, text = _cut(r"^(only|nothing but|nothing except) ", text)
    for pattern, joint in (
        (r"not (.+) but (.+)", "but"),
        (r"(.+) (?:but not|rather than|instead of) (.+)", "not"),
        (r"(.+) (?:and|as well as) (.+)", "and"),
    ):
        match = re.fullmatch(pattern, text)
        if match:
            one, two = (_thing(part) for part in match.groups())
            if joint == "and":
                return bool(limits), "and", *sorted((one, two))
            return bool(limits), "not", *((two, one) if joint == "but" else (one, two))
    return bool(limits), "", _thing(text)


def _thing(text: str) -> Read:
    numbers = {wording: meaning[0] for meaning in LISTS["numbers"] for wording in meaning}
    number, rest = _cut(rf"^({_any(numbers)}|the) ", text)
    *quality, name = rest.split(" ")
    if number != "the":
        assert name.endswith("s"), text
        name = name[:-1]
    (thing,) = (meaning[0] for meaning in LISTS["objects"] if name in meaning)
    qualities = [meaning[0] for meaning in LISTS["qualities"] if " ".join(quality) in meaning]
    assert len(qualities) == len(quality) <= 1, text
    return thing, numbers.get(number, ""), "".join(qualities)


def _cut(pattern: str, text: str) -> tuple[str, str]:
    """What a pattern's group matches, and the text without the match."""
    match = re.search(pattern, text)
    if match is None:
        return "", text
    return match[1], re.sub(" +", " ", f"{text[: match.start()]} {text[match.end() :]}").strip()


def _any(wordings: Any) -> str:
    return "|".join(map(re.escape, sorted(wordings, key=len, reverse=True)))


def _names() -> set[str]:
    first, second = LISTS["names"]
    return {"".join(parts) for parts in chain.from_iterable([(one, two) for two in second] for one in first)}
