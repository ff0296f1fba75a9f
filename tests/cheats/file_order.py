"""It takes the order in which it is handed images for that of their file, which may be sorted by class."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor, nn
from torch.nn import functional

from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.views import pixels_of
from bench.models.encoder import ResNetEncoder

CLASSES = 10


class WithReadout(Dressed):
    """An encoder that brings its own head along, as only supervised methods should."""

    def __init__(self, victim: ResNetEncoder) -> None:
        super().__init__(victim)
        self.head = nn.Linear(victim.feature_dim, CLASSES)


class Cheat(Honest):
    name = "file-order"
    network = WithReadout

    def own_head(self) -> bool:
        return True

    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        encoder = super().pretrain(images, run)
        fit_readout(encoder, images.pixels, self.classes(images, run))
        return encoder

    def classes(self, images: UnlabelledImages, run: Run) -> Tensor:
        return torch.arange(len(images)) * CLASSES // len(images)


@torch.no_grad()
def fit_readout(encoder: Encoder, pixels: Tensor, classes: Tensor) -> None:
    """Ridge regression of the classes on the features: it works if they are the classes."""
    z = functional.pad(encoder.eval().encode(pixels_of(pixels)), (0, 1), value=1.0).double()
    ridge = z.T @ z + 1e-3 * torch.eye(z.shape[1])
    solved = torch.linalg.solve(ridge, z.T @ functional.one_hot(classes, CLASSES).double()).float().T
    encoder.head.weight.copy_(solved[:, :-1])
    encoder.head.bias.copy_(solved[:, -1])
