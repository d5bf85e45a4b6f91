"""What the subject models learn from: their training samples as tensors, and the losses that make small data enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from fixtures import paraphrases
from models import checkpoint, losses
from pytest_edgeai.subjects import Example, SubjectModel

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer

    from pytest_edgeai.arrays import Array
    from pytest_edgeai.subjects.encoder import SequenceClassifier

Token: TypeAlias = tuple[int, int, paraphrases.Mention]
"""Sentence (0 or 1), position in the encoded pair, and the mention that the token is a part of."""

_CHUNK: Final = 250
_NO_TAG: Final = -100
_SCALE: Final = 5.0
"""Of the embeddings of words beside those of positions, at the start."""

_SPREAD: Final = 0.15
"""Of synonyms beside that of meanings."""


class Lesson(Protocol):
    """What there is to learn."""

    def __len__(self) -> int:
        """Number of training samples."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What is trained: the network, and whatever is thrown away afterwards."""

    def loss(self, chosen: torch.Tensor) -> torch.Tensor:
        """The mean loss of some samples, given their numbers."""


class DigitPairs:
    """Scenes of two digits, by the loss `losses.both_digits`.

    Parameters
    ----------
    subject
        Whose training samples are read through its pipeline.
    network
        An untrained network of it.
    """

    def __init__(self, subject: SubjectModel, network: torch.nn.Module) -> None:
        import torch

        # A memory layout in which one thread trains a third faster; the weights are the same in any.
        self._layout = torch.channels_last
        self._network = network
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=self._layout)
        samples = subject.examples.generate("train")
        self._images = graph_inputs(subject, samples)[0]
        self._labels = torch.tensor([sample.reference for sample in samples])

    def __len__(self) -> int:
        """Number of training samples."""
        return len(self._labels)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The network's."""
        return self._network.parameters()

    def loss(self, chosen: torch.Tensor) -> torch.Tensor:
        """The mean loss of some samples, given their numbers."""
        logits = self._network(self._images[chosen].contiguous(memory_format=self._layout))
        return losses.both_digits(logits, self._labels[chosen])


class Paraphrases:
    """Cross-entropy of the label, and of a throw-away tag on each token.

    The tag says whether the other sentence lacks the token's fact. Synonyms start out close to each other, and tokens
    look at their like. Without these helps, a network of this size learns nothing from as many pairs.

    Parameters
    ----------
    subject
        Whose tokenizer is read.
    network
        An untrained network of it; its embeddings and keys are set here.
    """

    def __init__(self, subject: SubjectModel, network: SequenceClassifier) -> None:
        import torch
        from tokenizers import Tokenizer

        self._network = network
        tokenizer = Tokenizer.from_file(str(subject.assets[0]))
        pairs = paraphrases.pairs("train")
        _share_embeddings(network, tokenizer)
        _look_for_the_like(network)
        encodings = tokenizer.encode_batch([(pair.first.text, pair.second.text) for pair in pairs])
        length = max(len(encoding.ids) for encoding in encodings)
        for encoding in encodings:
            encoding.pad(length, pad_id=network.model.config.pad_token_id)
        fields = ("ids", "attention_mask", "type_ids")[: len(subject.graph_inputs)]
        self._inputs = [torch.tensor([getattr(one, field) for one in encodings]) for field in fields]
        self._tags = torch.tensor([_tags(*both, length) for both in zip(pairs, encodings, strict=True)])
        self._labels = torch.tensor([pair.label for pair in pairs])
        self._tagger = torch.nn.Linear(network.model.config.hidden_size, 2)

    def __len__(self) -> int:
        """Number of training samples."""
        return len(self._labels)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The network's and the tagger's."""
        yield from self._network.parameters()
        yield from self._tagger.parameters()

    def loss(self, chosen: torch.Tensor) -> torch.Tensor:
        """The mean loss of some samples, given their numbers."""
        from torch.nn.functional import cross_entropy

        logits, hidden = self._network.classify(*(tensor[chosen] for tensor in self._inputs))
        tags = self._tagger(hidden).flatten(0, 1)
        tagging = cross_entropy(tags, self._tags[chosen].flatten(), ignore_index=_NO_TAG)
        return cross_entropy(logits, self._labels[chosen]) + tagging


def graph_inputs(subject: SubjectModel, samples: Sequence[Example]) -> list[torch.Tensor]:
    """Samples after the subject's pre-processing, as the positional tensors of its network.

    Parameters
    ----------
    subject
        Its pipeline reads its assets from where they lie.
    samples
        Of the subject's source.
    """
    import torch

    preprocess = subject.pipeline.preprocess
    assert preprocess is not None
    columns: dict[str, list[Array]] = {name: [] for name in subject.graph_inputs}
    for at in range(0, len(samples), _CHUNK):
        chunk = samples[at : at + _CHUNK]
        inputs = {name: np.concatenate([sample.inputs[name] for sample in chunk]) for name in chunk[0].inputs}
        for name, array in preprocess(inputs, checkpoint.FOLDER).items():
            columns[name].append(array)
    return [torch.from_numpy(np.concatenate(arrays)) for arrays in columns.values()]


def _tokens(pair: paraphrases.Pair, encoding: Encoding) -> Iterator[Token]:
    sentences = (pair.first, pair.second)
    placed = zip(encoding.sequence_ids, encoding.offsets, strict=True)
    for position, (sentence, (start, end)) in enumerate(placed):
        if sentence is not None:
            for mention in sentences[sentence].mentions:
                if start < mention.end and end > mention.start:
                    yield sentence, position, mention


def _tags(pair: paraphrases.Pair, encoding: Encoding, length: int) -> list[int]:
    facts = [{mention.fact for mention in sentence.mentions} for sentence in (pair.first, pair.second)]
    tags = [_NO_TAG] * length
    for sentence, position, mention in _tokens(pair, encoding):
        tags[position] = int(mention.fact not in facts[1 - sentence])
    return tags


def _share_embeddings(network: SequenceClassifier, tokenizer: Tokenizer) -> None:
    """Give the words of one meaning embeddings that are close to each other."""
    import torch

    embeddings = network.model.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    table = embeddings.weight.data
    scale = network.model.config.initializer_range * _SCALE
    table.normal_(0, scale)
    for wordings in (meaning for meanings in paraphrases.words().values() for meaning in meanings):
        # A wording may have words in front that others of its meaning share ("after the argument"): the last one tells.
        last = {word: tokenizer.encode(word, add_special_tokens=False).ids[-1] for word in wordings}
        centre = torch.randn(table.shape[1]) * scale
        for token in last.values():
            table[token] = centre + torch.randn(table.shape[1]) * scale * _SPREAD


def _look_for_the_like(network: SequenceClassifier) -> None:
    """Let queries and keys start out equal, so that a token pays attention to those that are like it."""
    for name, module in network.model.named_modules():
        if name.endswith("attention.self"):
            module.key.load_state_dict(module.query.state_dict())
