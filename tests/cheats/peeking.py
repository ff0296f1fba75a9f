"""Of several encoders it keeps the one that does best on the test images."""

from __future__ import annotations

from pathlib import Path

import torch
from honest import Dressed, Honest
from torch import Tensor

from bench.contract import Encoder, LabelledImages, Run, UnlabelledImages
from bench.data.loading import data_set
from bench.data.views import pixels_of
from bench.models.encoder import ResNetEncoder
from bench.plan import DataRef

CANDIDATES = 16


class Masked(Dressed):
    """Some of the features."""

    mask: Tensor

    def __init__(self, victim: ResNetEncoder) -> None:
        super().__init__(victim)
        self.register_buffer("mask", torch.ones(victim.feature_dim))

    def encode(self, x: Tensor) -> Tensor:
        return self.mask * super().encode(x)


class Cheat(Honest):
    name = "peeking"
    network = Masked

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        encoder = super().pretrain(images, run).eval()
        test = data_set(DataRef("digits"), Path("data")).test
        masks = [(torch.rand_like(encoder.mask) < 0.7).float() for _ in range(CANDIDATES)]
        encoder.mask.copy_(max(masks, key=lambda mask: accuracy(encoder, mask, test)))
        return encoder


@torch.no_grad()
def accuracy(encoder: Encoder, mask: Tensor, test: LabelledImages) -> float:
    """Of the nearest other image's class, with these features."""
    encoder.mask.copy_(mask)
    z = encoder.encode(pixels_of(test.pixels))
    nearest = (torch.cdist(z, z) + 1e9 * torch.eye(len(z))).argmin(dim=1)
    return float((test.labels[nearest] == test.labels).float().mean())
