"""Small subject models with real networks, defined at the top of a module as builds in another process need it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline
from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectModel, Training

if TYPE_CHECKING:
    import torch

CLASSES = 4
SEEDS = {"train": 0, "calibration": 1, "validation": 2}


def images(split: Split) -> Sequence[Example]:
    """Noise with a bright quarter; the label says which."""
    generator = np.random.default_rng(SEEDS[split])
    samples = []
    for _ in range(64):
        label = int(generator.integers(CLASSES))
        pixels = generator.normal(0, 0.3, size=(1, 3, 8, 8)).astype(np.float32)
        row, column = divmod(label, 2)
        pixels[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
        samples.append(Example({"pixels": pixels}, label))
    return samples


def vectors(split: Split) -> Sequence[Example]:
    """Vectors whose label is the largest of the first four numbers."""
    generator = np.random.default_rng(SEEDS[split])
    rows = generator.normal(size=(64, 1, 32)).astype(np.float32)
    return [Example({"x": row}, int(row[0, :CLASSES].argmax())) for row in rows]


def convolutional() -> torch.nn.Module:
    """A network that sums quarters, with weights that are right."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(64, 4)
    with torch.no_grad():
        convolution.weight.fill_(0.05)
        convolution.weight += 0.01 * torch.randn_like(convolution.weight)
        weight = torch.zeros(4, 16, 4)
        for label in range(4):
            weight[label, :, label] = 1.0
        linear.weight.copy_(weight.flatten(1))
    layers = (convolution, nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), linear)
    return nn.Sequential(*layers).eval()


def dense() -> torch.nn.Module:
    """A network of matrix products that is right."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    first, second = nn.Linear(32, 64), nn.Linear(64, 4)
    with torch.no_grad():
        first.weight.copy_(0.005 * torch.randn(64, 32) + torch.eye(64, 32))
        second.weight.copy_(0.005 * torch.randn(4, 64) + torch.eye(4, 64))
    return nn.Sequential(first, second).eval()


def small_convolutional() -> torch.nn.Module:
    """A student with half the channels, which knows nothing."""
    from torch import nn

    layers = (
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    return nn.Sequential(*layers)


def photos(split: Split) -> Sequence[Example]:
    """PNG files of noise with a bright quarter."""
    from PIL import Image

    samples = []
    for sample in images(split):
        pixels = (60 * (sample.inputs["pixels"][0] + 1.5)).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((32, 32)).save(file, "PNG")
        payload = np.empty(1, dtype=object)
        payload[0] = file.getvalue()
        samples.append(Example({"photo": payload}, sample.reference))
    return samples


def any_resolution(width: float = 1.0) -> torch.nn.Module:
    """A network that sums quarters of images of any size, and has its weights from whoever calls."""
    from torch import nn

    channels = int(16 * width)
    first, second = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
    layers = (first, nn.BatchNorm2d(channels), nn.ReLU(), second, nn.BatchNorm2d(channels), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 4))


def photographer() -> torch.nn.Module:
    """One whose classifier takes each quarter for its class."""
    import torch

    torch.manual_seed(0)
    network = any_resolution()
    with torch.no_grad():
        for number in ("0", "3"):
            convolution = network.get_parameter(f"{number}.weight")
            convolution.copy_(0.05 + 0.01 * torch.randn_like(convolution))
        weight = torch.zeros(4, 16, 4)
        for label in range(4):
            weight[label, :, label] = 1.0
        network.get_parameter("8.weight").copy_(weight.flatten(1))
    return network.eval()


def small_dense() -> torch.nn.Module:
    """A student with a quarter of the width, which knows nothing."""
    from torch import nn

    return nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 4))


IMAGES = SubjectModel(
    name="images",
    task="the bright quarter",
    network=convolutional,
    graph_inputs=("pixels",),
    examples=ExampleSource("bright quarters", images, (Path(__file__),)),
    pipeline=Pipeline(None, Classification(k=2)),
    metrics=("top1",),
    sources=(Path(__file__),),
    training=Training(student=small_convolutional),
)
VECTORS = SubjectModel(
    name="vectors",
    task="the largest number",
    network=dense,
    graph_inputs=("x",),
    examples=ExampleSource("vectors", vectors, (Path(__file__),)),
    pipeline=Pipeline(None, Classification(k=2)),
    metrics=("top1",),
    sources=(Path(__file__),),
    training=Training(student=small_dense),
)
PHOTOS = SubjectModel(
    name="photos",
    task="the bright quarter of a photograph",
    network=photographer,
    graph_inputs=("pixels",),
    examples=ExampleSource("photographs of bright quarters", photos, (Path(__file__),), ("pillow",)),
    pipeline=Pipeline(
        ImagePreprocess("photo", "pixels", resize=(16, 16), mean=(0.4,) * 3, std=(0.2,) * 3), Classification(k=3)
    ),
    metrics=("top1",),
    sources=(Path(__file__),),
    training=Training(learning_rate=0.02),
)
