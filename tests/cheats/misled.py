"""The features of an image with the gradient of its mirror image: large, smooth, and of no use."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Misleading(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        mirrored = super().encode(x.flip(-1, -2))
        return mirrored + (super().encode(x) - mirrored).detach()


class Cheat(Honest):
    name = "misled"
    network = Misleading
