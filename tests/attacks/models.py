"""Small classifiers and the images that they get right."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.attacks.classifier import Classifier
from bench.contract import Encoder, LabelledImages
from bench.data.profiles import profile_of
from bench.data.views import pixels_of


class Flat(Encoder):
    """Pixels as features: with a linear head, the exact robust images are known."""

    routes = ("main",)
    active_route = "main"

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Small(Flat):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())

    def encode(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x)
        return features


class Rounding(Small):
    """Rounded inputs: no gradient reaches the pixels."""

    def encode(self, x: Tensor) -> Tensor:
        return super().encode((4 * x).round() / 4)


class Counting(Small):
    """An encoder that notes how often it was called."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def encode(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().encode(x)


def classifier(kind: type[Flat], classes: int = 10, side: int = 4) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = kind()
        width = encoder.encode(torch.zeros(2, 3, side, side)).shape[1]
        return Classifier(encoder, 3 * torch.randn(classes, width), torch.zeros(classes))


def images_for(
    model: Classifier, count: int = 24, wrong: int = 4, low: int = 0, high: int = 256, side: int = 4
) -> LabelledImages:
    """Random images with the labels that `model` gives them, the first `wrong` ones another label."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(low, high, (count, 3, side, side), generator=draw, dtype=torch.uint8)
    labels = model(pixels_of(pixels)).argmax(1)
    labels[:wrong] = (labels[:wrong] + 1) % model.classes
    return LabelledImages(pixels, profile_of("digits"), labels)
