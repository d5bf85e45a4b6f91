"""`roberta` at full size: RoBERTa base fine-tuned on MRPC, with RoBERTa tiny as its student; the hub's models."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

from models.paper.inputs import Inputs
from pytest_edgeai.serving.pipeline import Classification, Pipeline, TextPreprocess
from pytest_edgeai.subjects import SubjectModel, Training
from pytest_edgeai.subjects.weights import TextNetwork, Tokenizer, Weights

HUB_ID: Final = "Intel/roberta-base-mrpc"
STUDENT_HUB_ID: Final = "haisongzhang/roberta-tiny-cased"
_LENGTH: Final = 128
_PAD: Final = 1
# RoBERTa's positions begin after the padding token's number.
_OF_THE_TEACHER: Final = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": _PAD,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_SUBJECTS: Final = Path(inspect.getfile(TextNetwork)).parent


def student(weights: Weights) -> TextNetwork:
    """The student's network.

    It has to take the teacher's tokens, so of the hub's weights it cannot use the look-up table of another vocabulary
    (28,996 word pieces in place of 50,265 byte pairs), which makes it 41 MiB larger than the study's.
    """
    tiny = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048}
    return TextNetwork("roberta", STUDENT_HUB_ID, weights, tiny, _OF_THE_TEACHER)


def subject(weights: Weights, student_weights: Weights, inputs: Inputs, tokenizer: Tokenizer) -> SubjectModel:
    """The subject model.

    Parameters
    ----------
    weights, student_weights, inputs, tokenizer
        What the settings choose.
    """
    return SubjectModel(
        name="roberta",
        task="MRPC: whether two sentences say the same",
        network=TextNetwork(
            "roberta", HUB_ID, weights, {**_OF_THE_TEACHER, "layer_norm_eps": 1e-5}, revision=tokenizer.revision
        ),
        graph_inputs=("input_ids", "attention_mask"),
        examples=inputs.source,
        pipeline=Pipeline(
            TextPreprocess(
                "text",
                {"ids": "input_ids", "attention_mask": "attention_mask"},
                max_length=_LENGTH,
                tokenizer="tokenizer.json" if tokenizer.path is None else tokenizer.path.name,
                pad_id=_PAD,
                pad_token="<pad>",
            ),
            Classification(k=2),
        ),
        metrics=("f1",),
        assets=() if tokenizer.path is None else (tokenizer.path,),
        sources=(Path(__file__), _SUBJECTS / "encoder.py", _SUBJECTS / "weights.py", *weights.sources),
        libraries=("torch", "transformers", "safetensors"),
        key=f"{weights.origin} {HUB_ID} {tokenizer.revision or ''}, student {student_weights.origin} {STUDENT_HUB_ID}",
        unmeasured=inputs.unmeasured,
        # The rate is the study's.
        training=Training(learning_rate=1e-4, student=student(student_weights), sources=student_weights.sources),
        missing="\n".join(dict.fromkeys(filter(None, (weights.missing, tokenizer.missing, inputs.missing)))),
    )
