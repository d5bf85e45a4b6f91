"""`resnext` at full size: ResNeXt-101 64x4d, with ResNeXt-50 32x4d as its student; torchvision's weights."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

from models.paper.inputs import Inputs
from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.subjects import SubjectModel, Training
from pytest_edgeai.subjects.weights import ImageNetwork, Weights

URL: Final = "https://download.pytorch.org/models/resnext101_64x4d-173b62eb.pth"
STUDENT_URL: Final = "https://download.pytorch.org/models/resnext50_32x4d-1a0047aa.pth"
_SUBJECTS: Final = Path(inspect.getfile(ImageNetwork)).parent


def student(weights: Weights) -> ImageNetwork:
    """The student's network."""
    return ImageNetwork("resnext50_32x4d", STUDENT_URL, weights)


def subject(weights: Weights, student_weights: Weights, inputs: Inputs) -> SubjectModel:
    """The subject model.

    Parameters
    ----------
    weights, student_weights, inputs
        What the settings choose.
    """
    return SubjectModel(
        name="resnext",
        task="ILSVRC 2012, 1000 classes",
        network=ImageNetwork("resnext101_64x4d", URL, weights),
        graph_inputs=("pixels",),
        examples=inputs.source,
        pipeline=Pipeline(
            # As these weights are meant to be evaluated, and as the study's servers did.
            ImagePreprocess(
                "image", "pixels", resize=232, crop=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
            ),
            Classification(k=5),
        ),
        metrics=("top1", "top5"),
        sources=(Path(__file__), _SUBJECTS / "resnet.py", _SUBJECTS / "weights.py", *weights.sources),
        libraries=("torch", "safetensors"),
        key=f"{weights.origin} {URL}, student {student_weights.origin} {STUDENT_URL}",
        unmeasured=inputs.unmeasured,
        training=Training(learning_rate=1e-4, student=student(student_weights), sources=student_weights.sources),
        missing="\n".join(filter(None, (weights.missing, inputs.missing))),
    )
