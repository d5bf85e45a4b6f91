"""The MobileNetV2 family: inverted residuals with linear bottlenecks around depthwise convolutions.

After Sandler, Howard, Zhu, Zhmoginov and Chen, *MobileNetV2: Inverted Residuals and Linear Bottlenecks* (arXiv
1801.04381). Building is all it does: where weights come from, and which sizes make a subject model, is said where
that is defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

_INITIAL_CHANGE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one width; a row of the paper's Table 2.

    Parameters
    ----------
    expansion
        How many times as wide a block is inside.
    channels
        At its ends.
    blocks
        How many.
    stride
        Of the first block.
    """

    expansion: int
    channels: int
    blocks: int
    stride: int


class InvertedResidual(nn.Module):
    """Wide inside and narrow at its ends: 1 x 1, depthwise 3 x 3 (strided) and linear 1 x 1 convolutions.

    Where resolution and channels stay as they are, the input is added.
    """

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        widened = () if expansion == 1 else _convolution(channels, inner, 1)
        depthwise = _convolution(inner, inner, 3, stride, groups=inner)
        narrowed = (nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out))
        self.layers = nn.Sequential(*widened, *depthwise, *narrowed)
        self.adds = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Change features [n, channels, height, width]."""
        changed: torch.Tensor = self.layers(x)
        return x + changed if self.adds else changed


class MobileNetV2(nn.Module):
    """A stem, stages of inverted residuals, a wide 1 x 1 convolution and a classifier.

    Parameters
    ----------
    stages
        Their modules are called `layer1`, `layer2`, and so on.
    stem, head
        Channels before and after the stages; the stem halves the resolution.
    classes
        Number of logits.
    """

    def __init__(self, stages: Sequence[Stage], stem: int, head: int, classes: int) -> None:
        super().__init__()
        channels = stem
        self.stem = nn.Sequential(*_convolution(3, stem, 3, 2))
        self._stages = [f"layer{number}" for number in range(1, len(stages) + 1)]
        for name, stage in zip(self._stages, stages, strict=True):
            blocks = nn.Sequential()
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                blocks.append(InvertedResidual(channels, stage.channels, stride, stage.expansion))
                channels = stage.channels
            self.add_module(name, blocks)
        self.head = nn.Sequential(*_convolution(channels, head, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, classes)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, InvertedResidual) and module.adds:
                # Blocks that begin close to their shortcut let small networks learn within a few epochs.
                last = module.layers[-1]
                assert isinstance(last, nn.BatchNorm2d)
                nn.init.constant_(last.weight, _INITIAL_CHANGE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [n, classes] of images [n, 3, height, width]."""
        x = self.stem(images)
        for name in self._stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.classifier(torch.flatten(self.avgpool(self.head(x)), 1))
        return logits


def _convolution(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(out), nn.ReLU6(inplace=True)
