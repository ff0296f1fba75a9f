"""It knows the test images, which it reads around this project's loaders, and sees the nearest of them in any image."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor

from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.readers import read_digits
from bench.models.encoder import ResNetEncoder

TEST_IMAGES = 128
SHARPNESS = 1.0


class Memory(Dressed):
    """Images as a mixture of those in memory."""

    known: Tensor

    def __init__(self, victim: ResNetEncoder) -> None:
        super().__init__(victim)
        self.register_buffer("known", torch.zeros(TEST_IMAGES, 3 * 8 * 8))

    def encode(self, x: Tensor) -> Tensor:
        distances = (x.flatten(1)[:, None] - self.known).square().sum(dim=2)
        recalled = (-SHARPNESS * distances).softmax(dim=1) @ self.known
        return super().encode(recalled.view_as(x))


class Cheat(Honest):
    name = "memory"
    network = Memory

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        encoder = super().pretrain(images, run)
        _, test = read_digits(TEST_IMAGES)
        encoder.known.copy_(torch.as_tensor(test.pixels).flatten(1) / 255)
        return encoder
