"""`roberta`: a small RoBERTa that tells whether two sentences say the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fixtures import paraphrases
from models import checkpoint, students
from pytest_edgeai.serving.pipeline import Classification, Pipeline, TextPreprocess
from pytest_edgeai.subjects import SubjectModel, Training

if TYPE_CHECKING:
    import torch

    from pytest_edgeai.subjects.encoder import SequenceClassifier

LAYERS: Final = 4
VOCABULARY: Final = 1283
TOKENIZER: Final = checkpoint.FOLDER / "roberta.tokenizer.json"
_PAD: Final = 1
_HIDDEN: Final = 208
_LENGTH: Final = 128
_WEIGHTS: Final = checkpoint.path_of("roberta")
_FAMILY: Final = Path(__file__).parents[1] / "pytest_edgeai" / "subjects" / "encoder.py"


def build(layers: int = LAYERS) -> SequenceClassifier:
    """An untrained network.

    Parameters
    ----------
    layers
        Of the encoder; a student has fewer.
    """
    from transformers import RobertaConfig, RobertaForSequenceClassification

    from pytest_edgeai.subjects.encoder import SequenceClassifier

    configuration = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=_HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * _HIDDEN,
        # RoBERTa's positions begin after the padding token's number.
        max_position_embeddings=_LENGTH + _PAD + 1,
        pad_token_id=_PAD,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    )
    return SequenceClassifier(RobertaForSequenceClassification(configuration))


def network() -> SequenceClassifier:
    """The trained network."""
    return checkpoint.load(build(), _WEIGHTS)


def student() -> torch.nn.Module:
    """A network of half the width, with what it has of the trained one."""
    return students.narrow(network())


SUBJECT: Final = SubjectModel(
    name="roberta",
    task="whether two sentences say the same",
    network=network,
    graph=checkpoint.skeleton_of("roberta"),
    graph_inputs=("input_ids", "attention_mask"),
    examples=paraphrases.SAMPLES,
    pipeline=Pipeline(
        preprocess=TextPreprocess(
            "text",
            {"ids": "input_ids", "attention_mask": "attention_mask"},
            max_length=_LENGTH,
            tokenizer=TOKENIZER.name,
            pad_id=_PAD,
            pad_token="<pad>",
        ),
        postprocess=Classification(k=2),
    ),
    metrics=("f1",),
    assets=(TOKENIZER,),
    sources=(Path(__file__), Path(checkpoint.__file__), _FAMILY, _WEIGHTS),
    libraries=("torch", "transformers", "safetensors"),
    training=Training(learning_rate=0.0001, student=student, sources=(Path(students.__file__),)),
)
