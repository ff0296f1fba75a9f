"""Tiny encoders and images on which heads are fitted, and encoders fine-tuned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.contract import Encoder, LabelledImages
from bench.data.profiles import profile_of
from bench.data.sources import DataSet
from bench.protocols.fitting import HeadContext
from bench.randomness import Randomness

CPU = torch.device("cpu")


class Pixels(Encoder):
    """Centred pixels as features; remembers the images of which features were taken, those of an attack aside."""

    routes = ("main",)
    active_route = "main"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def encode(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            self.seen.append(x.clone())
        return (x - 0.5).flatten(1)


class Normed(Encoder):
    """A convolution and batch norm on one of two routes."""

    routes = ("main", "other")
    active_route = "main"

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convolution = nn.Conv2d(3, 4, 3, 2, 1)
        self.main, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        nn.init.constant_(self.other.bias, 1.0)

    def encode(self, x: Tensor) -> Tensor:
        norm = {self.routes[0]: self.main, self.routes[1]: self.other}[self.active_route]
        normed: Tensor = norm(self.convolution(x.to(self.convolution.weight.dtype)))
        return normed.relu().flatten(1)


class Dual(Normed):
    """One whose routes are for adversarial images, which is scored, and for clean ones."""

    routes = ("adv", "clean")
    active_route = "adv"


def data(train: Tensor | None = None, labels: Tensor | None = None) -> DataSet:
    """70 images of 4x4 pixels in three classes that the mean of a channel tells apart; every tenth is held out."""
    draw = torch.Generator().manual_seed(0)
    if labels is None:
        labels = torch.arange(70) % 3
    if train is None:
        train = torch.randint(0, 200, (70, 3, 4, 4), generator=draw, dtype=torch.uint8)
        train[torch.arange(70), labels] += 40
    images = LabelledImages(train, profile_of("digits"), labels)
    held_out = torch.arange(0, len(labels), 10)
    return DataSet("digits", images.profile, int(labels.max()) + 1, images, images, held_out, "0" * 16)


def context(rate: float | None = None, eps: float = 0.1, seed: int = 0) -> HeadContext:
    """Of a fit on the CPU that nobody listens to."""
    return HeadContext(Randomness(seed, "head"), CPU, lambda *_: None, eps, rate)
