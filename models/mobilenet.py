"""`mobilenet`: inverted residuals that read two handwritten digits, a small MobileNetV2.

Not among the study's four: it is what *Variant Parallelism* (Asadi and Goudarzi, arXiv 2210.08376) compares with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fixtures import digit_pairs
from models import checkpoint, losses, students
from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.subjects import SubjectModel, Training

if TYPE_CHECKING:
    import torch

BLOCKS: Final = (1, 2, 3, 4, 3, 1)
STUDENT_BLOCKS: Final = (1, 1, 2, 2, 1, 1)
_KEPT: Final = ((0,), (0,), (0, 2), (0, 2), (0,), (0,))
# As in the paper's Table 2, without its last stage, and with two strides fewer: images are 40 pixels wide, not 224.
_STAGES: Final = ((1, 16, 1), (6, 24, 1), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 1))
_STEM: Final = 32
_HEAD: Final = 640
_WEIGHTS: Final = checkpoint.path_of("mobilenet")
_FAMILY: Final = Path(__file__).parents[1] / "pytest_edgeai" / "subjects" / "mobilenet.py"


def build(blocks: Sequence[int] = BLOCKS) -> torch.nn.Module:
    """An untrained network.

    Parameters
    ----------
    blocks
        In each stage; a student has fewer.
    """
    from pytest_edgeai.subjects.mobilenet import MobileNetV2, Stage

    described = zip(_STAGES, blocks, strict=True)
    stages = [Stage(expansion, channels, count, stride) for (expansion, channels, stride), count in described]
    return MobileNetV2(stages, _STEM, _HEAD, digit_pairs.CLASSES)


def network() -> torch.nn.Module:
    """The trained network."""
    return checkpoint.load(build(), _WEIGHTS)


def student() -> torch.nn.Module:
    """A network of about half as many blocks, with what it has of the trained one."""
    return students.inherit(build(STUDENT_BLOCKS), network(), _KEPT)


SUBJECT: Final = SubjectModel(
    name="mobilenet",
    task="two handwritten digits in a photograph, 100 classes",
    network=network,
    graph=checkpoint.skeleton_of("mobilenet"),
    graph_inputs=("pixels",),
    examples=digit_pairs.SAMPLES,
    pipeline=Pipeline(
        preprocess=ImagePreprocess("image", "pixels", resize=(40, 40), mean=(0.38,) * 3, std=(0.12,) * 3),
        postprocess=Classification(k=5),
    ),
    metrics=("top1", "top5"),
    sources=(Path(__file__), Path(checkpoint.__file__), _FAMILY, _WEIGHTS),
    libraries=("torch", "safetensors"),
    training=Training(
        loss=losses.both_digits,
        learning_rate=0.004,
        student=student,
        sources=(Path(losses.__file__), Path(students.__file__)),
    ),
)
