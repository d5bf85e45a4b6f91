"""Weights that were learnt with another vocabulary: known words keep their embeddings, new ones begin near synonyms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from models import checkpoint, earlier

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def _tokenizer(*vocabulary: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    numbers = {word: number for number, word in enumerate((*SPECIAL, *vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _network(seed: int, words: int) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    from pytest_edgeai.subjects.encoder import SequenceClassifier

    torch.manual_seed(seed)
    configuration = BertConfig(
        vocab_size=len(SPECIAL) + words, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    return SequenceClassifier(BertForSequenceClassification(configuration))


def test_known_words_keep_what_they_learnt_and_new_ones_begin_near_a_synonym(tmp_path: Path) -> None:
    learnt = _network(0, 3)
    checkpoint.save(learnt, tmp_path / "weights.safetensors")
    before = _tokenizer("car", "doctor", "boat")
    now = _tokenizer("physician", "boat", "doctor", "sold")
    network = _network(1, 4)
    earlier.begin(network, now, tmp_path / "weights.safetensors", before)
    old = learnt.model.get_input_embeddings().weight.half().float()
    new = network.model.get_input_embeddings().weight
    for word in ("boat", "doctor", *SPECIAL):
        assert torch.equal(new[now.token_to_id(word)], old[before.token_to_id(word)])
    distances = {
        word: (new[now.token_to_id("physician")] - new[now.token_to_id(word)]).norm() for word in ("doctor", "boat")
    }
    assert 0 < distances["doctor"] < distances["boat"] / 2
    layer = "model.bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(network.state_dict()[layer], learnt.state_dict()[layer].half().float())


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    checkpoint.save(_network(0, 1), tmp_path / "weights.safetensors")
    from transformers import BertConfig, BertForSequenceClassification

    from pytest_edgeai.subjects.encoder import SequenceClassifier

    other = SequenceClassifier(
        BertForSequenceClassification(
            BertConfig(vocab_size=5, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
        )
    )
    with pytest.raises(RuntimeError, match="size mismatch"):
        earlier.begin(other, _tokenizer("car"), tmp_path / "weights.safetensors", _tokenizer("car"))
