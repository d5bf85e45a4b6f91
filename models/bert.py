"""`bert`: a small BERT that tells whether two sentences say the same."""

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
STUDENT_LAYERS: Final = 2
_KEPT: Final = ((0, 2),)
VOCABULARY: Final = 453
TOKENIZER: Final = checkpoint.FOLDER / "bert.tokenizer.json"
_HIDDEN: Final = 208
_LENGTH: Final = 128
_WEIGHTS: Final = checkpoint.path_of("bert")
_FAMILY: Final = Path(__file__).parents[1] / "pytest_edgeai" / "subjects" / "encoder.py"


def build(layers: int = LAYERS) -> SequenceClassifier:
    """An untrained network.

    Parameters
    ----------
    layers
        Of the encoder; a student has fewer.
    """
    from transformers import BertConfig, BertForSequenceClassification

    from pytest_edgeai.subjects.encoder import SequenceClassifier

    configuration = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=_HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * _HIDDEN,
        max_position_embeddings=_LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    )
    return SequenceClassifier(BertForSequenceClassification(configuration))


def network() -> SequenceClassifier:
    """The trained network."""
    return checkpoint.load(build(), _WEIGHTS)


def student() -> torch.nn.Module:
    """A network of half as many layers, with what it has of the trained one."""
    return students.inherit(build(STUDENT_LAYERS), network(), _KEPT)


SUBJECT: Final = SubjectModel(
    name="bert",
    task="whether two sentences say the same",
    network=network,
    graph=checkpoint.skeleton_of("bert"),
    graph_inputs=("input_ids", "attention_mask", "token_type_ids"),
    examples=paraphrases.SAMPLES,
    pipeline=Pipeline(
        preprocess=TextPreprocess(
            "text",
            {"ids": "input_ids", "attention_mask": "attention_mask", "type_ids": "token_type_ids"},
            max_length=_LENGTH,
            tokenizer=TOKENIZER.name,
        ),
        postprocess=Classification(k=2),
    ),
    metrics=("f1",),
    assets=(TOKENIZER,),
    sources=(Path(__file__), Path(checkpoint.__file__), _FAMILY, _WEIGHTS),
    libraries=("torch", "transformers", "safetensors"),
    training=Training(learning_rate=0.0005, student=student, sources=(Path(students.__file__),)),
)
