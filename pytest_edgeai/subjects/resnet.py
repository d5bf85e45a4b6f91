"""The ResNet family with torchvision's parameter names, at any depth, width and number of groups.

torchvision's weights load strictly into what this builds. Building is all it does: where weights come from, and which
sizes make a subject model or its student, is said where those are defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import nn

Stem: TypeAlias = Literal["imagenet", "small"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """What tells the members of the family apart.

    Parameters
    ----------
    layers
        Blocks in each stage.
    groups
        Of the 3 x 3 convolutions.
    width_per_group
        Channels in a group of the first stage, for 64 planes.
    """

    layers: tuple[int, ...]
    groups: int
    width_per_group: int


ARCHITECTURES: Mapping[str, Architecture] = {
    "wide_resnet101_2": Architecture((3, 4, 23, 3), groups=1, width_per_group=128),
    "wide_resnet50_2": Architecture((3, 4, 6, 3), groups=1, width_per_group=128),
    "resnext101_64x4d": Architecture((3, 4, 23, 3), groups=64, width_per_group=4),
    "resnext50_32x4d": Architecture((3, 4, 6, 3), groups=32, width_per_group=4),
}

_INITIAL_CHANGE: Final = 0.2


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (grouped, strided) and 1 x 1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int, groups: int, width_per_group: int) -> None:
        super().__init__()
        width = planes * width_per_group // 64 * groups
        out = planes * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the block's change to its input."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: torch.Tensor = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return out


class ResNet(nn.Module):
    """A residual network of bottleneck blocks.

    Parameters
    ----------
    architecture
        Depth, groups and width.
    planes
        Base channels of each stage; every stage after the first halves the resolution.
    classes
        Number of logits.
    stem
        `imagenet` reduces the resolution four times before the first stage, `small` two times.
    """

    def __init__(
        self,
        architecture: Architecture,
        planes: Sequence[int] = (64, 128, 256, 512),
        classes: int = 1000,
        stem: Stem = "imagenet",
    ) -> None:
        super().__init__()
        if len(planes) != len(architecture.layers):
            raise ValueError(f"{len(architecture.layers)} stages need as many planes, not {list(planes)}")
        channels, kernel = planes[0], 7 if stem == "imagenet" else 3
        self.conv1 = nn.Conv2d(3, channels, kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self._stages = [f"layer{number}" for number in range(1, len(planes) + 1)]
        for name, width, blocks in zip(self._stages, planes, architecture.layers, strict=True):
            stage = nn.Sequential()
            for block in range(blocks):
                stride = 2 if block == 0 and name != "layer1" else 1
                stage.append(Bottleneck(channels, width, stride, architecture.groups, architecture.width_per_group))
                channels = width * Bottleneck.expansion
            self.add_module(name, stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Bottleneck):
                # Blocks that begin close to their shortcut let small networks learn within a few epochs.
                nn.init.constant_(module.bn3.weight, _INITIAL_CHANGE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [n, classes] of images [n, 3, height, width]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for name in self._stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits
