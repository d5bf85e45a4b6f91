"""What the subject models learn from: their training samples as tensors, and the losses that make small data enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from fixtures import paraphrases, words
from fixtures.sentences import PARTS, Mention
from models import checkpoint, losses
from pytest_edgeai.subjects import Example, SubjectModel

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer

    from pytest_edgeai.arrays import Array
    from pytest_edgeai.subjects.encoder import SequenceClassifier

Token: TypeAlias = tuple[int, int, Mention]
"""Sentence (0 or 1), position in the encoded pair, and the mention that the token is a part of."""

_CHUNK: Final = 250
_NO_TAG: Final = -100

_PAIRS: Final = 80000
"""More than operators that train are given: whoever sees fewer pairs more often learns them by heart."""

_COURSE: Final = (0.25, 0.25, 0.5, 0.75, 1.0, 1.0)
"""Passes over a share of the pairs, the shortest: what they have in common is learnt from them first, and fastest."""

_COURSE_AGAIN: Final = (1.0, 1.0)
"""The same for a network that is trained already."""

_TOKENS: Final = 25
"""Of a pair, as a batch counts them: one of longer pairs has fewer of these."""

_POOL: Final = 20
"""From how many batches pairs of like length are put together."""

_SPREAD: Final = 0.15
"""Of synonyms beside that of meanings."""


class Lesson(Protocol):
    """What there is to learn."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """What is trained: the network, and whatever is thrown away afterwards."""

    def batches(self, size: int, epochs: int, generator: torch.Generator) -> list[torch.Tensor]:
        """The numbers of the samples of each step, from the first step to the last."""

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

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The network's."""
        return self._network.parameters()

    def batches(self, size: int, epochs: int, generator: torch.Generator) -> list[torch.Tensor]:
        """All samples in a random order, another one in each epoch; what fills no batch is left out."""
        import torch

        count = len(self._labels)
        orders = [torch.randperm(count, generator=generator) for _ in range(epochs)]
        starts = range(0, count - count % size, size)
        return [order[at : at + size] for order in orders for at in starts]

    def loss(self, chosen: torch.Tensor) -> torch.Tensor:
        """The mean loss of some samples, given their numbers."""
        logits = self._network(self._images[chosen].contiguous(memory_format=self._layout))
        return losses.both_digits(logits, self._labels[chosen])


class Paraphrases:
    """Cross-entropy of the label, and of two throw-away tags on each token.

    One says in which sentence the token is and which part it has in the event, at half of the layers; the other, after
    the last layer, whether the other sentence lacks the token's fact: a word in its part. Synonyms start out close to
    each other, heads look for the like of a token, and the shortest pairs come first. Without these helps, a network
    of this size is still guessing after as many pairs.

    Parameters
    ----------
    subject
        Whose tokenizer is read.
    network
        An untrained network of it; its embeddings and keys are set here.
    scale
        Of the embeddings of words beside those of positions, at the start.
    alike
        The share of the heads that look for the like of a token at the start. The others learn the sentence's grammar,
        for which that is a hindrance; but a network that is not told which sentence a token is in has to find pairs of
        like words before anything else.
    again
        Whether the network is trained already, and learns more: nothing is set, and all pairs come at once.
    """

    def __init__(
        self, subject: SubjectModel, network: SequenceClassifier, *, scale: float, alike: float, again: bool = False
    ) -> None:
        import torch
        from tokenizers import Tokenizer

        self._network = network
        tokenizer = Tokenizer.from_file(str(subject.assets[0]))
        if not again:
            _share_embeddings(network, tokenizer, scale)
            _look_for_the_like(network, alike)
        self._course = _COURSE_AGAIN if again else _COURSE
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
        self._parser = torch.nn.Linear(network.model.config.hidden_size, 2 * len(PARTS))

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The network's, and those of what is thrown away."""
        for module in (self._network, self._tagger, self._parser):
            yield from module.parameters()

    def batches(self, size: int, epochs: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Pairs of like length in the same batch, because padding takes time; each epoch is a whole course."""
        import torch

        by_length = self._lengths.argsort(stable=True)
        found = []
        for share in self._course * epochs:
            shortest = by_length[: int(len(by_length) * share)]
            shuffled = shortest[torch.randperm(len(shortest), generator=generator)]
            pools = (shuffled[at : at + size * _POOL] for at in range(0, len(shuffled), size * _POOL))
            alike = [pool[self._lengths[pool].argsort(stable=True)] for pool in pools]
            batches = [batch for some in alike for batch in self._filled(some, size)]
            found += [batches[at] for at in torch.randperm(len(batches), generator=generator)]
        return found

    def _filled(self, ordered: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
        """Batches with about as many tokens each, however long their pairs are."""
        while len(ordered):
            count = max(1, size * _TOKENS // int(self._lengths[ordered[0]]))
            yield ordered[:count]
            ordered = ordered[count:]

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
    """For each token, whether the other sentence lacks its fact, and its sentence and part in the event."""
    facts = [{(one.part, one.fact) for one in sentence.mentions} for sentence in (pair.first, pair.second)]
    tags, parts = [_NO_TAG] * length, [_NO_TAG] * length
    for sentence, position, mention in _tokens(pair, encoding):
        tags[position] = int((mention.part, mention.fact) not in facts[1 - sentence])
        parts[position] = PARTS.index(mention.part) + sentence * len(PARTS)
    return tags, parts


def _share_embeddings(network: SequenceClassifier, tokenizer: Tokenizer, factor: float) -> None:
    """Give the words of one meaning embeddings that are close to each other."""
    import torch

    embeddings = network.model.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    table = embeddings.weight.data
    scale = network.model.config.initializer_range * factor
    table.normal_(0, scale)
    for wordings in words.synonyms():
        # A wording may have words in front that others of its meaning share ("after the argument"): the last one tells.
        last = {word: tokenizer.encode(word, add_special_tokens=False).ids[-1] for word in wordings}
        centre = torch.randn(table.shape[1]) * scale
        for token in last.values():
            table[token] = centre + torch.randn(table.shape[1]) * scale * _SPREAD


def _look_for_the_like(network: SequenceClassifier, share: float) -> None:
    """Let queries and keys start out equal in a share of the heads, which then pay attention to tokens that are alike.

    Parameters
    ----------
    network
        Untrained.
    share
        Of the heads of each layer.
    """
    for name, module in network.model.named_modules():
        if name.endswith("attention.self"):
            rows = int(module.num_attention_heads * share) * module.attention_head_size
            module.key.weight.data[:rows] = module.query.weight.data[:rows]
            module.key.bias.data[:rows] = module.query.bias.data[:rows]
