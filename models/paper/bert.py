"""`bert` at full size: BERT base fine-tuned on MRPC, with BERT small as its student; the study's models of the hub."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

from models.paper.inputs import Inputs
from pytest_edgeai.serving.pipeline import Classification, Pipeline, TextPreprocess
from pytest_edgeai.subjects import SubjectModel, Training
from pytest_edgeai.subjects.weights import TextNetwork, Tokenizer, Weights

HUB_ID: Final = "Intel/bert-base-uncased-mrpc"
STUDENT_HUB_ID: Final = "lyeonii/bert-small"
_LENGTH: Final = 128
_SUBJECTS: Final = Path(inspect.getfile(TextNetwork)).parent


def student(weights: Weights) -> TextNetwork:
    """The student's network; it has the teacher's vocabulary."""
    small = {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048}
    return TextNetwork("bert", STUDENT_HUB_ID, weights, small)


def subject(weights: Weights, student_weights: Weights, inputs: Inputs, tokenizer: Tokenizer) -> SubjectModel:
    """The subject model.

    Parameters
    ----------
    weights, student_weights, inputs, tokenizer
        What the settings choose.
    """
    return SubjectModel(
        name="bert",
        task="MRPC: whether two sentences say the same",
        network=TextNetwork("bert", HUB_ID, weights, revision=tokenizer.revision),
        graph_inputs=("input_ids", "attention_mask", "token_type_ids"),
        examples=inputs.source,
        pipeline=Pipeline(
            TextPreprocess(
                "text",
                {"ids": "input_ids", "attention_mask": "attention_mask", "type_ids": "token_type_ids"},
                max_length=_LENGTH,
                tokenizer="tokenizer.json" if tokenizer.path is None else tokenizer.path.name,
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
