"""Makes the tokenizers of the text models from their training sentences."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from fixtures import paraphrases, words
from models import bert, roberta

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PAIRS: Final = 10000
"""From so many pairs: every word comes up in them."""


def word_pieces() -> Tokenizer:
    """BERT's: lower case, WordPiece, `[CLS] first [SEP] second [SEP]`.

    The pieces are all words and all letters: the library's trainer makes others each time. Names of people are two
    pieces, their syllables, so that a name which was never seen is made of pieces that were.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    sentences = (normalizer.normalize_str(sentence) for sentence in _sentences())
    seen = {word for sentence in sentences for word, _ in splitter.pre_tokenize_str(sentence)}
    letters = set(itertools.chain.from_iterable(seen))
    first, second = words.syllables()
    names = {name.lower() for name in words.names()}
    syllables = {one.lower() for one in first} | {f"##{one}" for one in second}
    pieces = (seen - names) | syllables | letters | {f"##{letter}" for letter in letters}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    numbered = {piece: number for number, piece in enumerate([*special, *sorted(pieces)])}
    assert len(numbered) == bert.VOCABULARY, f"models/bert.py has to say that there are {len(numbered)} pieces"
    tokenizer = Tokenizer(models.WordPiece(numbered, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def byte_pairs() -> Tokenizer:
    """RoBERTa's: bytes, merged pair by pair, `<s> first </s></s> second </s>`.

    Nothing is merged across the syllables of a name, so that a name which was never seen is made of pieces that were.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    first, second = words.syllables()
    between = Regex(rf"(?<=\s({'|'.join(first)}))(?=({'|'.join(second)})\b)")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(between, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=roberta.VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f" {sentence}" for sentence in _sentences()), trainer)
    assert tokenizer.get_vocab_size() == roberta.VOCABULARY, (
        f"models/roberta.py has to say that there are {tokenizer.get_vocab_size()} pieces"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


MAKERS: Final[Mapping[str, Callable[[], Tokenizer]]] = {"bert": word_pieces, "roberta": byte_pairs}


@functools.cache  # both tokenizers are made from them
def _sentences() -> tuple[str, ...]:
    pairs = paraphrases.pairs("train", _PAIRS)
    return tuple(sentence.text for pair in pairs for sentence in (pair.first, pair.second))
