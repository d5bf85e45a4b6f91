"""Begins with weights that were learnt from other sentences: words that are known keep what they had learnt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fixtures import words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pytest_edgeai.subjects.encoder import SequenceClassifier

_SPREAD: Final = 0.15
"""Of synonyms beside that of meanings."""

_EMBEDDINGS: Final = "word_embeddings.weight"


def begin(network: SequenceClassifier, tokenizer: Tokenizer, weights: Path, before: Tokenizer) -> None:
    """Load earlier weights into a network with another vocabulary.

    Parameters
    ----------
    network
        Of the same architecture; its vocabulary may differ.
    tokenizer
        The network's.
    weights, before
        What `checkpoint.save` wrote, and the tokenizer that it was learnt with. Tokens of both vocabularies keep their
        embeddings. A new one begins near a known synonym, if it has one.
    """
    import torch
    from safetensors.torch import load_file

    state = {name: tensor.float() for name, tensor in load_file(weights).items()}
    (place,) = (name for name in state if name.endswith(_EMBEDDINGS))
    learnt, numbers = state[place], before.get_vocab()
    scale, width = float(learnt.std()), learnt.shape[1]
    vocabulary = tokenizer.get_vocab()
    table = torch.randn(len(vocabulary), width) * scale
    known = set()
    for token, number in vocabulary.items():
        if token in numbers:
            table[number] = learnt[numbers[token]]
            known.add(number)
    for wordings in words.synonyms():
        # A wording may have words in front that others of its meaning share ("after the argument"): the last one tells.
        last = [tokenizer.encode(word, add_special_tokens=False).ids[-1] for word in wordings]
        like = [number for number in last if number in known]
        centre = table[like].mean(0) if like else table[last[0]].clone()
        for number in dict.fromkeys(last):
            if number not in known:
                table[number] = centre + torch.randn(width) * scale * _SPREAD
                known.add(number)
    network.load_state_dict({**state, place: table})
