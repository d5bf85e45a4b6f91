"""What the subject models learn from: their training samples as tensors, and the losses that make small data enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from fixtures import paraphrases
from fixtures.sentences import PARTS, Mention
from models import checkpoint, losses
from pytest_edgeai.subjects import Example, SubjectModel

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding

    from pytest_edgeai.arrays import Array
    from pytest_edgeai.subjects.encoder import SequenceClassifier

Token: TypeAlias = tuple[int, int, Mention]
"""Sentence (0 or 1), position in the encoded pair, and the mention that the token is a part of."""

_CHUNK: Final = 250
_POOL: Final = 20
"""From how many batches pairs of like length are put together."""

_NO_TAG: Final = -100

_PAIRS: Final = 64000
"""More than operators that train are given: whoever sees fewer pairs more often learns them by heart."""


class Lesson(Protocol):
    """What there is to learn."""

    def __len__(self) -> int:
        """Number of training samples."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What is trained: the network, and whatever is thrown away afterwards."""

    def order(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        """The numbers of all samples in a random order, to be learnt from in batches of a size."""

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

    def order(self, batch: int, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG002  # batches are all alike
        """The numbers of all samples in a random order."""
        import torch

        return torch.randperm(len(self), generator=generator)

    def loss(self, chosen: torch.Tensor) -> torch.Tensor:
        """The mean loss of some samples, given their numbers."""
        logits = self._network(self._images[chosen].contiguous(memory_format=self._layout))
        return losses.both_digits(logits, self._labels[chosen])


class Paraphrases:
    """Cross-entropy of the label, and of two throw-away tags on each token.

    One says which part the token has in the event, at half of the layers; the other, after the last layer, whether the
    other sentence lacks the token's fact: a word in its part. Without them, and from random weights, a network of this
    size is still guessing after as many pairs: it begins with weights that were learnt from simpler ones
    (`models.earlier`).

    Parameters
    ----------
    subject
        Whose tokenizer is read.
    network
        Of it.
    """

    def __init__(self, subject: SubjectModel, network: SequenceClassifier) -> None:
        import torch
        from tokenizers import Tokenizer

        self._network = network
        tokenizer = Tokenizer.from_file(str(subject.assets[0]))
        pairs = paraphrases.pairs("train", _PAIRS)
        encodings = tokenizer.encode_batch([(pair.first.text, pair.second.text) for pair in pairs])
        length = max(len(encoding.ids) for encoding in encodings)
        self._lengths = torch.tensor([len(encoding.ids) for encoding in encodings])
        for encoding in encodings:
            encoding.pad(length, pad_id=network.model.config.pad_token_id)
        fields = ("ids", "attention_mask", "type_ids")[: len(subject.graph_inputs)]
        self._inputs = [torch.tensor([getattr(one, field) for one in encodings]) for field in fields]
        tags, parts = zip(*(_tags(*both, length) for both in zip(pairs, encodings, strict=True)), strict=True)
        self._tags, self._parts = torch.tensor(tags), torch.tensor(parts)
        self._labels = torch.tensor([pair.label for pair in pairs])
        self._tagger = torch.nn.Linear(network.model.config.hidden_size, 2)
        self._parser = torch.nn.Linear(network.model.config.hidden_size, len(PARTS))

    def __len__(self) -> int:
        """Number of training samples."""
        return len(self._labels)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The network's, and those of what is thrown away."""
        for module in (self._network, self._tagger, self._parser):
            yield from module.parameters()

    def order(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        """The numbers of all samples in a random order, pairs of like length in the same batch: padding takes time."""
        import torch

        shuffled = torch.randperm(len(self), generator=generator)
        alike = [some[self._lengths[some].argsort(stable=True)] for some in shuffled.split(batch * _POOL)]
        batches = [one for some in alike for one in some.split(batch)]
        *whole, last = batches
        return torch.cat([*(whole[at] for at in torch.randperm(len(whole), generator=generator)), last])

    def loss(self, chosen: torch.Tensor) -> torch.Tensor:
        """The mean loss of some samples, given their numbers."""
        from torch.nn.functional import cross_entropy

        longest = int(self._lengths[chosen].max())
        logits, hidden = self._network.classify(*(tensor[chosen, :longest] for tensor in self._inputs))
        half = hidden[len(hidden) // 2]
        loss = cross_entropy(logits, self._labels[chosen])
        for head, states, truth in ((self._tagger, hidden[-1], self._tags), (self._parser, half, self._parts)):
            told = head(states).flatten(0, 1)
            loss = loss + cross_entropy(told, truth[chosen, :longest].flatten(), ignore_index=_NO_TAG)
        return loss


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


def _tags(pair: paraphrases.Pair, encoding: Encoding, length: int) -> tuple[list[int], list[int]]:
    """For each token, whether the other sentence lacks its fact, and its part in the event."""
    facts = [{(one.part, one.fact) for one in sentence.mentions} for sentence in (pair.first, pair.second)]
    tags, parts = [_NO_TAG] * length, [_NO_TAG] * length
    for sentence, position, mention in _tokens(pair, encoding):
        tags[position] = int((mention.part, mention.fact) not in facts[1 - sentence])
        parts[position] = PARTS.index(mention.part)
    return tags, parts
