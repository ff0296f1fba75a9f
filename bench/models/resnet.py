"""Residual networks of basic blocks whose batch norms have named routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.routes import RoutedBatchNorm2d


class Architecture(StrEnum):
    """The published networks, and a small one for 8x8 images.

    Padding 1 and padding 2 have the same parameters and load into each other without an error, yet they are different
    functions: their features differ by more than their size.
    """

    RESNET18_PADDING1 = "resnet18-padding1"
    """RoCL, ACL, DynACL, AdvCL, AMOC on CIFAR: 3x3 stem, 32x32 maps (ACL models/resnet_multi_bn.py:248-260)."""
    RESNET18_PADDING2 = "resnet18-padding2"
    """solo-learn, DeACL, NCP-ACL on CIFAR: 3x3 stem, 34x34 maps (solo-learn solo/methods/base.py:198-203)."""
    RESNET18_IMAGENET = "resnet18-imagenet"
    """STL-10 at 96 pixels: 7x7 stem of stride 2, then a max-pool (DynACL models/resnet_multi_bn_stl.py:267-272)."""
    SMALL = "small"
    """Three blocks of widths 16, 32, 64 for digits (chosen: a pre-training fits into a minute on one core)."""


class Init(StrEnum):
    """How convolutions start. Batch norms start at weight 1 and bias 0, linear layers as torch leaves them."""

    TORCH = "torch"
    """torch's default, uniform in fan-in (RoCL)."""
    KAIMING_FAN_OUT = "kaiming-fan-out"
    """Normal, variance 2 / fan-out (ACL models/resnet_multi_bn.py:262-265; AMOC)."""
    SOLO = "solo-learn"
    """KAIMING_FAN_OUT, but a 3x3 stem, put in later, keeps torch's default (solo-learn solo/methods/base.py:198)."""


@dataclass(frozen=True)
class Stem:
    """The first convolution.

    Attributes:
        kernel, stride, padding: of the convolution, in pixels.
        pool: whether a 3x3 max-pool of stride 2 follows.
    """

    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: bool = False


@dataclass(frozen=True)
class Layout:
    """A residual network as data.

    Attributes:
        stem: the first convolution; its width is that of the first stage.
        widths: channels of each stage; every stage but the first halves the resolution.
        depth: basic blocks per stage.
    """

    stem: Stem
    widths: tuple[int, ...] = (64, 128, 256, 512)
    depth: int = 2


LAYOUTS: Mapping[Architecture, Layout] = {
    Architecture.RESNET18_PADDING1: Layout(Stem(padding=1)),
    Architecture.RESNET18_PADDING2: Layout(Stem(padding=2)),
    Architecture.RESNET18_IMAGENET: Layout(Stem(kernel=7, stride=2, padding=3, pool=True)),
    Architecture.SMALL: Layout(Stem(), widths=(16, 32, 64), depth=1),
}


class Downsample(nn.Module):
    """The shortcut of a block that changes shape: 1x1 convolution, batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int, routes: Sequence[str]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.bn = RoutedBatchNorm2d(outputs, routes)

    def forward(self, x: Tensor, route: str) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        shortcut: Tensor = self.bn(self.conv(x), route)
        return shortcut


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Fig. 5 left)."""

    def __init__(self, inputs: int, outputs: int, stride: int, routes: Sequence[str]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = RoutedBatchNorm2d(outputs, routes)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = RoutedBatchNorm2d(outputs, routes)
        same_shape = stride == 1 and inputs == outputs
        self.downsample = None if same_shape else Downsample(inputs, outputs, stride, routes)

    def forward(self, x: Tensor, route: str) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x, route)
        y = F.relu(self.bn1(self.conv1(x), route), inplace=True)
        y = self.bn2(self.conv2(y), route)
        return F.relu(y + shortcut, inplace=True)


class ResNet(nn.Module):
    """Stem, stages of basic blocks, global average pool. No normalisation, no classifier.

    Attributes:
        layout: what it was built from.
        feature_dim: width of the features it returns.
    """

    def __init__(self, layout: Layout, routes: Sequence[str]) -> None:
        super().__init__()
        self.layout = layout
        stem, widths = layout.stem, layout.widths
        self.conv1 = nn.Conv2d(3, widths[0], stem.kernel, stem.stride, stem.padding, bias=False)
        self.bn1 = RoutedBatchNorm2d(widths[0], routes)
        self.pool = nn.MaxPool2d(3, 2, 1) if stem.pool else nn.Identity()
        self.blocks = nn.ModuleList(basic_blocks(layout, routes))
        self.feature_dim = widths[-1]

    def forward(self, x: Tensor, route: str) -> Tensor:
        """Normalised images [B, 3, H, W] -> features [B, feature_dim], all batch norms on `route`."""
        x = self.pool(F.relu(self.bn1(self.conv1(x), route), inplace=True))
        for block in self.blocks:
            x = block(x, route)
        return x.mean(dim=(2, 3), dtype=torch.promote_types(x.dtype, torch.float32))  # else bfloat16 would round it


def basic_blocks(layout: Layout, routes: Sequence[str]) -> Iterator[BasicBlock]:
    """All blocks in order: the first of a stage sets its width and, but for the first stage, halves the resolution."""
    inputs = layout.widths[0]
    for index, width in enumerate(layout.widths):
        for depth in range(layout.depth):
            stride = 2 if index > 0 and depth == 0 else 1
            yield BasicBlock(inputs, width, stride, routes)
            inputs = width


def resnet(architecture: Architecture, routes: Sequence[str], init: Init = Init.TORCH) -> ResNet:
    """A new network of `architecture`, initialised from torch's global generator."""
    layout = LAYOUTS[architecture]
    net = ResNet(layout, routes)
    if init is not Init.TORCH:
        keeps_default = init is Init.SOLO and layout.stem.kernel == 3
        kaiming_fan_out(net, skip=net.conv1 if keeps_default else None)
    return net


def kaiming_fan_out(net: nn.Module, skip: nn.Module | None = None) -> None:
    """Draw every convolution of `net` but `skip` from a normal distribution of variance 2 / fan-out."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module is not skip:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
