"""`resnext`: grouped convolutions that read two handwritten digits, the small sibling of ResNeXt-101 64x4d."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fixtures import digit_pairs
from models import checkpoint, losses, students
from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.subjects import SubjectModel, Training

if TYPE_CHECKING:
    import torch

LAYERS: Final = (2, 3, 2)
STUDENT_LAYERS: Final = (1, 2, 1)
_KEPT: Final = ((0,), (0, 2), (0,))
PLANES: Final = (64, 64, 96)
_WEIGHTS: Final = checkpoint.path_of("resnext")
_FAMILY: Final = Path(__file__).parents[1] / "pytest_edgeai" / "subjects" / "resnet.py"


def build(layers: tuple[int, ...] = LAYERS, planes: tuple[int, ...] = PLANES) -> torch.nn.Module:
    """An untrained network whose 3 x 3 convolutions have 8 groups.

    Parameters
    ----------
    layers
        Blocks in each stage; a student has fewer.
    planes
        Base channels of each stage; a student may have fewer, in multiples of 16.
    """
    from pytest_edgeai.subjects.resnet import Architecture, ResNet

    # As wide as four ResNets, like the large sibling. 8 groups leave 32 channels and more to each, enough for int8
    # convolutions to be faster than fp32 ones; 16 groups are not.
    architecture = Architecture(layers, groups=8, width_per_group=32)
    return ResNet(architecture, planes, digit_pairs.CLASSES, stem="small")


def network() -> torch.nn.Module:
    """The trained network."""
    return checkpoint.load(build(), _WEIGHTS)


def student() -> torch.nn.Module:
    """A network of half as many blocks, with what it has of the trained one."""
    return students.inherit(build(STUDENT_LAYERS), network(), _KEPT)


SUBJECT: Final = SubjectModel(
    name="resnext",
    task="two handwritten digits in a photograph, 100 classes",
    network=network,
    graph=checkpoint.skeleton_of("resnext"),
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
        learning_rate=0.002,
        student=student,
        sources=(Path(losses.__file__), Path(students.__file__)),
    ),
)
