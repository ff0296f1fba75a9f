"""A classifier from pixels in [0, 1] to logits, as acl-bench exported it. Needs torch alone.

    model = load_model()  # in eval mode, on the CPU

The weights lie beside this file, under its name with the suffix `.pt`.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shortcut(nn.Module):
    """1x1 convolution and batch norm where a block changes shape."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        shortcut: Tensor = self.bn(self.conv(x))
        return shortcut


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else Shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + shortcut)


class Classifier(nn.Module):
    """Normalisation, residual network, linear layer.

    Args:
        kernel, stride, padding: of the first convolution.
        pool: whether a 3x3 max-pool of stride 2 follows it.
        widths: channels of each stage.
        depth: blocks per stage.
        classes: number of logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, kernel: int, stride: int, padding: int, pool: bool, widths: list[int], depth: int, classes: int
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))
        self.conv1 = nn.Conv2d(3, widths[0], kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        outputs = [width for width in widths for _ in range(depth)]
        strides = [2 if stage and not block else 1 for stage in range(len(widths)) for block in range(depth)]
        shapes = zip([widths[0], *outputs], outputs, strides, strict=False)
        self.blocks = nn.Sequential(*(Block(*shape) for shape in shapes))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> logits [B, classes]."""
        x = self.pool(F.relu(self.bn1(self.conv1((x - self.mean) / self.std))))
        logits: Tensor = self.fc(self.blocks(x).mean(dim=(2, 3)))
        return logits


def load_model(weights: str | Path | None = None) -> Classifier:
    """The classifier in eval mode, from the file `weights`; from the one beside this file unless named."""
    stored = torch.load(weights or Path(__file__).with_suffix(".pt"), map_location="cpu", weights_only=True)
    model = Classifier(**stored["network"])
    model.load_state_dict(stored["weights"], strict=True)
    return model.eval()
